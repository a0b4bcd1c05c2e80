/** The one place that knows how the locks of a flush are chosen and, for these tests, left out. */
import type pg from 'pg';
import type { SqlExecutor } from '../../../src/database/executor.ts';
import { generateEverything } from '../../../src/database/generate.ts';
import { inTransaction } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { loadRegistry } from '../../../src/database/registry.ts';

/** `tview`: one lock per tview. `value`: locks on join values and keys. */
export type LockProtocol = 'tview' | 'value';
export type LockKind = 'near' | 'far' | 'path' | 'key' | 'tview';

export interface Locking {
  readonly protocol: LockProtocol;
  readonly omitted: readonly LockKind[];
}

/** Those there are. */
export const protocols: readonly LockProtocol[] = ['tview'];

export const nameOf = ({ protocol, omitted }: Locking): string =>
  omitted.length === 0 ? `${protocol} locks` : `${protocol} locks without ${omitted.join(' and ')}`;

/** Generates all functions anew, with these locks. */
export async function lockWith(owner: pg.Client, locking: Locking): Promise<void> {
  const executor = executorOf(owner);
  await inTransaction(executor, async () => {
    // What CREATE TVIEW generates in the middle of a test follows the setting.
    await executor.query(`UPDATE tviews.setting SET value = $1 WHERE name = 'lock_protocol'`, [
      locking.protocol,
    ]);
    await generateEverything(leavingOut(executor, locking), await loadRegistry(executor));
  });
}

/** The generator cannot leave a lock out, so the text it has made is edited. */
function leavingOut(executor: SqlExecutor, { omitted }: Locking): SqlExecutor {
  if (!omitted.includes('tview')) return executor;
  return {
    query: (text, values) =>
      executor.query(text.replaceAll(/pg_advisory_xact_lock\(\d+, \d+\)/g, 'pg_backend_pid()'), values),
  };
}
