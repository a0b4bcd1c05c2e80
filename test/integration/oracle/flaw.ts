/** How flush locks in a trial, and what is taken away from the product there to prove that the oracle sees what is missing. */
import type pg from 'pg';
import { type LockPart, type LockProtocol, lockWith } from '../isolation/locking.ts';

export interface Conditions {
  readonly protocol: LockProtocol;
  readonly omitted: readonly LockPart[];
  /** A flaw that needs no second session: updates of the tables that are not captured. */
  readonly blindTo?: 'updates';
}

export const sound = (protocol: LockProtocol): Conditions => ({ protocol, omitted: [] });

/** By the owner, when every tview is there. */
export async function impose(
  owner: pg.Client,
  tables: readonly string[],
  { protocol, omitted, blindTo }: Conditions,
): Promise<void> {
  await lockWith(owner, { protocol, omitted });
  if (blindTo === undefined) return;
  for (const table of tables) {
    // Only those that a tview reads have the trigger.
    const { rows } = await owner.query(
      `SELECT FROM pg_trigger WHERE tgrelid = $1::regclass AND tgname = 'tviews_capture_update'`,
      [table],
    );
    if (rows.length > 0) await owner.query(`ALTER TABLE ${table} DISABLE TRIGGER tviews_capture_update`);
  }
}
