/**
 * Transactions that may still look with a snapshot from before: to those, rows that were committed since are not there. A
 * table that takes another's place must not be read by them; so they are waited for, as CREATE INDEX CONCURRENTLY does.
 */
import { setTimeout } from 'node:timers/promises';
import type { SqlExecutor } from './executor.ts';

interface Older {
  readonly pid: number;
  readonly transaction: string;
}

/**
 * By the locks that every transaction holds on itself. Which snapshot it has, only its own role and monitoring roles may know;
 * of others it is waited for until they are over. One without a snapshot, at READ COMMITTED between two statements, takes a new one.
 * At the other isolation levels xmin stays; so it does while a statement runs.
 */
const running = `
  SELECT l.pid, l.virtualxid AS transaction
  FROM pg_catalog.pg_locks AS l
  JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
  WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted
    AND a.datname = pg_catalog.current_database() AND a.usesysid IS NOT NULL
    AND l.pid <> pg_catalog.pg_backend_pid()
    AND (a.query = '<insufficient privilege>' OR a.backend_xmin IS NOT NULL)`;

const pauseMs = 50;

/** Resolves when all have a snapshot from after the call, or none. @param waiting told, again and again, whom we wait for */
export async function waitForOlderSnapshots(
  executor: SqlExecutor,
  options: { readonly signal?: AbortSignal; waiting?(pids: readonly number[]): void } = {},
): Promise<void> {
  let older = await executor.query<Older>(running);
  while (older.length > 0) {
    options.signal?.throwIfAborted();
    options.waiting?.(older.map(({ pid }) => pid));
    await setTimeout(pauseMs);
    const now = await executor.query<Older>(running);
    older = older.filter(({ pid, transaction }) =>
      now.some((one) => one.pid === pid && one.transaction === transaction),
    );
  }
}
