/**
 * Which locks flush takes in a trial: those of the product, or fewer, to prove that the oracle sees what they prevent.
 * The one place that knows how locks are left out.
 */
import type pg from 'pg';

/** `tview`: the one lock per tview that flushes of it take, exclusive. */
export type OmittableLock = 'tview';

export interface Locks {
  readonly omitted: ReadonlySet<OmittableLock>;
}

export const productLocks: Locks = { omitted: new Set() };

/** By the owner, after every tview is there: generating flush anew would bring the locks back. */
export async function useLocks(owner: pg.Client, { omitted }: Locks): Promise<void> {
  if (omitted.size === 0) return;
  const { rows } = await owner.query<{ flush: string }>(
    `SELECT pg_get_functiondef('tviews.flush(jsonb, boolean)'::regprocedure) AS flush`,
  );
  const flush = rows[0]!.flush;
  const without = flush.replaceAll(/pg_advisory_xact_lock\(\d+, \d+\) IS NOT NULL/g, 'true');
  if (without === flush) throw new Error('flush takes no lock that could be left out');
  await owner.query(without);
}
