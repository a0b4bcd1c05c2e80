/**
 * Looks again at what transactions that kept their snapshot have changed (decision 009). Each call in a READ COMMITTED
 * transaction of its own, of a member of the role that owns schema tviews.
 */
import type { SqlExecutor } from './executor.ts';
import type { FlushReport } from './flush-function.ts';
import { quoteLiteral } from './identifier.ts';
import { inTransaction } from './session.ts';

/** @throws 40001, 40P01, 55P03: to be tried again; what else fails is kept with the record */
export async function repairRecord(executor: SqlExecutor, record: string): Promise<void> {
  await executor.query('SELECT tviews.repair_record($1::uuid)', [record]);
}

/**
 * Flushes changes that are no writer's, in a transaction of its own or the caller's. A writer's locks on the sources keep those
 * out who make tviews; of such a flush only its own lock tells them. Another table is read in between, at which the server hears
 * of a flush that was made anew while we waited. One message: a connection that others use is never left inside a transaction.
 */
export async function flushForNoWriter(executor: SqlExecutor, changes: string): Promise<FlushReport[]> {
  const [row] = await executor.query<{ report: FlushReport[] }>(`
    SELECT tviews.exclude_registry_changes();
    SELECT tviews.flush(${quoteLiteral(changes)}::jsonb, false) AS report
    FROM (SELECT pg_catalog.count(*) FROM tviews.tview) AS heard`);
  return row!.report;
}

/** Whether there is anything to do: asked often, and mostly answered no. */
export async function hasRepairs(executor: SqlExecutor): Promise<boolean> {
  const [row] = await executor.query<{ found: boolean }>(
    'SELECT EXISTS (SELECT FROM tviews.repair) AS found',
  );
  return row!.found;
}

/** Any one. @returns false when there was none to try */
export async function repairOne(executor: SqlExecutor): Promise<boolean> {
  const [row] = await executor.query<{ pending: string }>('SELECT tviews.repair() AS pending');
  return Number(row!.pending) > 0;
}

/** Why records are still there that have been tried: the messages, each once. */
export async function repairFailures(executor: SqlExecutor): Promise<string[]> {
  const rows = await executor.query<{ failure: string }>(
    'SELECT DISTINCT r.failure FROM tviews.repair AS r WHERE r.failure IS NOT NULL ORDER BY 1',
  );
  return rows.map(({ failure }) => failure);
}

/**
 * All of them, those too that have failed a moment ago.
 * @param executor in no transaction
 * @returns how many were tried, and why some are still there
 */
export async function repairPending(
  executor: SqlExecutor,
): Promise<{ readonly tried: number; readonly failures: readonly string[] }> {
  await executor.query('UPDATE tviews.repair SET failed_at = NULL');
  let tried = 0;
  while (await inTransaction(executor, () => repairOne(executor))) tried += 1;
  return { tried, failures: tried === 0 ? [] : await repairFailures(executor) };
}
