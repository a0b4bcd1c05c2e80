/** The caller's transaction and settings, while we work in them: what we need of it, and how we leave it as it was. */
import { SqlState, TviewsError } from '../errors/errors.ts';
import type { SqlExecutor } from './executor.ts';

/** Runs work under settings local to the transaction, and puts back what was. After an error the transaction is over anyway. */
export async function withSettings<T>(
  executor: SqlExecutor,
  settings: Readonly<Record<string, string>>,
  work: () => Promise<T>,
): Promise<T> {
  // A value is looked at before it is set: the outer query sets what the inner one has read.
  const before = await executor.query<{ name: string; value: string }>(
    `WITH before AS MATERIALIZED (
       SELECT n.name, pg_catalog.current_setting(n.name) AS value, n.value AS wanted
       FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS n (name, value)
     )
     SELECT b.name, b.value, pg_catalog.set_config(b.name, b.wanted, true) FROM before AS b`,
    [Object.keys(settings), Object.values(settings)],
  );
  const result = await work();
  await setLocally(
    executor,
    before.map(({ name, value }) => [name, value]),
  );
  return result;
}

/** To the end of the transaction. */
export async function setLocally(
  executor: SqlExecutor,
  settings: readonly (readonly [string, string])[],
): Promise<void> {
  await executor.query(
    `SELECT pg_catalog.set_config(n.name, n.value, true)
     FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS n (name, value)`,
    [settings.map(([name]) => name), settings.map(([, value]) => value)],
  );
}

/** Runs work in a READ COMMITTED transaction of its own, for callers that are in none yet. */
export const inTransaction = <T>(executor: SqlExecutor, work: () => Promise<T>): Promise<T> =>
  between(executor, 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE', work, 'COMMIT');

/** The same, and nothing of it stays. */
export const rolledBack = <T>(
  executor: SqlExecutor,
  access: 'READ ONLY' | 'READ WRITE',
  work: () => Promise<T>,
): Promise<T> => between(executor, `BEGIN ISOLATION LEVEL READ COMMITTED ${access}`, work, 'ROLLBACK');

/**
 * Inside of a transaction, which has nothing of it afterwards, not its locks either: who goes on to lock tables against writers must
 * not have them in hand, or a writer who truncates one, or changes it, and we would wait for each other.
 */
export async function undone<T>(executor: SqlExecutor, work: () => Promise<T>): Promise<T> {
  await executor.query('SAVEPOINT tviews_undone');
  const result = await work();
  await executor.query('ROLLBACK TO SAVEPOINT tviews_undone; RELEASE SAVEPOINT tviews_undone');
  return result;
}

async function between<T>(
  executor: SqlExecutor,
  begin: string,
  work: () => Promise<T>,
  end: string,
): Promise<T> {
  await executor.query(begin);
  let result: T;
  try {
    result = await work();
  } catch (error) {
    // The error that matters is the first; a connection that is gone rolls back by itself.
    await executor.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
  await executor.query(end);
  return result;
}

/**
 * Installing reads the sources in a statement that must see everything committed before its locks were granted: a
 * transaction, so that the locks last, and READ COMMITTED, so that the snapshot is younger than they are.
 */
export async function requireTransaction(executor: SqlExecutor, command: string): Promise<void> {
  await executor.query(`SELECT pg_catalog.set_config('tviews.in_transaction', 'on', true)`);
  const [row] = await executor.query<{ inside: boolean; isolation: string }>(
    `SELECT pg_catalog.current_setting('tviews.in_transaction', true) = 'on' AS inside,
       pg_catalog.current_setting('transaction_isolation') AS isolation`,
  );
  if (row?.inside !== true) {
    throw new TviewsError('25P01', `${command} must run inside a transaction`);
  }
  if (row.isolation === 'repeatable read' || row.isolation === 'serializable') {
    throw new TviewsError(
      SqlState.featureNotSupported,
      `${command} cannot run under ${row.isolation.toUpperCase()}`,
      {
        detail:
          'The snapshot of the transaction may be older than what writers have committed by the time they are locked out.',
        hint: 'Use a READ COMMITTED transaction.',
      },
    );
  }
}

/** What settings that are times are set to, in milliseconds; 0: none. */
export async function durations<Name extends string>(
  executor: SqlExecutor,
  ...names: readonly Name[]
): Promise<Record<Name, number>> {
  const rows = await executor.query<{ name: Name; milliseconds: string }>(
    `SELECT n.name, extract(epoch FROM pg_catalog.current_setting(n.name)::interval) * 1000 AS milliseconds
     FROM pg_catalog.unnest($1::text[]) AS n (name)`,
    [names],
  );
  return Object.fromEntries(rows.map(({ name, milliseconds }) => [name, Number(milliseconds)])) as Record<
    Name,
    number
  >;
}

/** Where what is created without a schema goes; null where the search_path has none that is there. */
export async function currentSchema(executor: SqlExecutor): Promise<string | null> {
  const [row] = await executor.query<{ schema: string | null }>(
    'SELECT pg_catalog.current_schema() AS schema',
  );
  return row!.schema;
}

/** The SQLSTATE of an error of the server's or ours. */
export function sqlStateOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
