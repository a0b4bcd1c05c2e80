/** Looks again at what transactions that kept their snapshot have changed (decision 009). */
import type { SqlExecutor } from './executor.ts';

/**
 * Until nothing is left, one record in a transaction of its own each. Others may do so at the same time: what was
 * recorded by the time of the call is done when it ends.
 * @param executor the owner's, in no transaction, whose default isolation level is READ COMMITTED
 * @returns how many records it found
 * @throws what a refresh fails with; what is left stays recorded
 */
export async function repairPending(executor: SqlExecutor): Promise<number> {
  for (let found = 0; ; found += 1) {
    const [row] = await executor.query<{ pending: string }>('SELECT tviews.repair() AS pending');
    if (Number(row!.pending) === 0) return found;
  }
}
