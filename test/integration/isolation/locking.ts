/** The one place that knows how the locks of a flush are chosen and, for these tests, left out. */
import type pg from 'pg';
import { generateEverything } from '../../../src/database/generate.ts';
import type { LockPart, LockProtocol } from '../../../src/database/locks.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { loadRegistry } from '../../../src/database/registry.ts';
import { inTransaction } from '../../../src/database/session.ts';

export type { LockPart, LockProtocol };

export interface Locking {
  readonly protocol: LockProtocol;
  readonly omitted: readonly LockPart[];
}

/** The default first: it is tested most. */
export const protocols: readonly LockProtocol[] = ['value', 'tview'];

export const nameOf = ({ protocol, omitted }: Locking): string =>
  omitted.length === 0 ? `${protocol} locks` : `${protocol} locks without ${omitted.join(' and ')}`;

/** Generates all functions anew, with these locks. */
export async function lockWith(owner: pg.Client, { protocol, omitted }: Locking): Promise<void> {
  const executor = executorOf(owner);
  await inTransaction(executor, async () => {
    // What CREATE TVIEW generates in the middle of a test follows the setting.
    await executor.query(`UPDATE tviews.setting SET value = $1 WHERE name = 'lock_protocol'`, [protocol]);
    const registry = await loadRegistry(executor);
    const settings = { ...registry.settings, lockProtocol: protocol, omittedLocks: new Set(omitted) };
    await generateEverything(executor, { ...registry, settings });
  });
}
