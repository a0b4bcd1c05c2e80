/**
 * Keeps writers out while what they call is made anew: the locks of an apply, a drop, a suspend, a resume.
 *
 * Taken all at once or not at all, and at first not waited for as long as PostgreSQL takes to look for a deadlock. A writer that has
 * written one of the tables may still want another, to write it or, in its flush, to read it; waiting for the one with the
 * other in hand would make a circle, and as often as not it is the writer whom PostgreSQL ends.
 */
import { setTimeout } from 'node:timers/promises';
import type { QualifiedName } from '../definition/plan.ts';
import { SqlState } from '../errors/errors.ts';
import type { SqlExecutor } from './executor.ts';
import { familyLocks } from './family.ts';
import { quoteQualified } from './identifier.ts';
import { gateNumber } from './locks.ts';
import { durations, sqlStateOf, withSettings } from './session.ts';

export interface Exclusion {
  /** Sources, whose writers have to be over before we go on, with their partitions and heirs. */
  readonly tables: readonly { readonly oid: number; readonly table: QualifiedName }[];
  /** Those of them that lose their triggers: their readers are kept out, too, as by DROP TRIGGER. */
  readonly losing?: readonly { readonly oid: number }[];
  /** Ids of tviews nobody else may flush. */
  readonly gates?: { readonly lockSpace: number; readonly tviews: readonly number[] };
}

/** Of the time after which PostgreSQL looks for a deadlock, or of its usual second, so much is waited for at the most. */
const shareOfDeadlockTimeout = 0.6;
const usualDeadlockTimeoutMs = 1_000;
/** Between two attempts others go on for as long as they were kept waiting by one. */
const restFactor = 1;
/** Where writers follow each other so closely that there is no moment without one, we wait as any DDL does after so long. */
const patienceMs = 5_000;

/**
 * Whoever was killed would still wait, and all who want the table behind him. Until the transaction ends the server looks whether its
 * client is there; not all of its platforms can.
 */
const watchClient = `DO $$
BEGIN
  PERFORM pg_catalog.set_config('client_connection_check_interval', '1s', true);
EXCEPTION
  WHEN invalid_parameter_value THEN
    RAISE DEBUG 'a lost client is noticed late: %', SQLERRM;
END
$$`;

/**
 * Until the caller's transaction ends.
 * @throws 55P03 where lock_timeout is set, and has passed; 40P01
 */
export async function exclude(executor: SqlExecutor, exclusion: Exclusion): Promise<void> {
  const { deadlock_timeout: deadlock, lock_timeout: limit } = await durations(
    executor,
    'deadlock_timeout',
    'lock_timeout',
  );
  const usual = Math.max(1, Math.round(Math.min(deadlock, usualDeadlockTimeoutMs) * shareOfDeadlockTimeout));
  const begun = performance.now();
  const patience = limit === 0 ? patienceMs : Math.min(limit, patienceMs);
  while (performance.now() - begun < patience) {
    try {
      return await attempt(executor, exclusion, Math.min(usual, patience));
    } catch (error) {
      if (sqlStateOf(error) !== SqlState.lockNotAvailable) throw error;
    }
    await setTimeout(restFactor * usual);
  }
  await executor.query(watchClient);
  const left = limit === 0 ? null : Math.max(1, Math.round(limit - (performance.now() - begun)));
  await attempt(executor, exclusion, left);
}

async function attempt(
  executor: SqlExecutor,
  { tables, losing = [], gates }: Exclusion,
  timeoutMs: number | null,
): Promise<void> {
  const locks = await familyLocks(
    executor,
    tables.map((source) => {
      const loses = losing.some(({ oid }) => source.oid === oid);
      return { ...source, mode: loses ? 'ACCESS EXCLUSIVE' : 'SHARE ROW EXCLUSIVE' };
    }),
  );
  const begun = performance.now();
  // Of the whole attempt: those we keep waiting from the first lock on do so until the last.
  const take = async (lock: string): Promise<void> => {
    const left = timeoutMs === null ? 0 : Math.max(1, Math.round(timeoutMs - (performance.now() - begun)));
    await executor.query(`SET LOCAL lock_timeout = ${left}; ${lock}`);
  };
  await executor.query('SAVEPOINT tviews_exclusion');
  try {
    await withSettings(executor, { lock_timeout: '0' }, async () => {
      for (const { table, mode } of locks) await take(`LOCK TABLE ${quoteQualified(table)} IN ${mode} MODE`);
      for (const tview of gates?.tviews ?? []) {
        await take(`SELECT pg_catalog.pg_advisory_xact_lock(${gates!.lockSpace}, ${gateNumber(tview)})`);
      }
    });
  } catch (error) {
    // Gives back what it has got. A connection that is gone has nothing to give back.
    await executor.query('ROLLBACK TO SAVEPOINT tviews_exclusion').catch(() => undefined);
    throw error;
  }
  await executor.query('RELEASE SAVEPOINT tviews_exclusion');
}
