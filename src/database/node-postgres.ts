/** The SqlExecutor over a node-postgres client: the command line's, the proxy's own connections', the tests'. */
import type pg from 'pg';
import type { SqlExecutor } from './executor.ts';

/** An executor over a client that somebody else opened. */
export function executorOf(client: pg.Client): SqlExecutor {
  return { query: (text, values) => runQuery(client, text, values) };
}

async function runQuery<Row extends object>(
  client: pg.Client,
  text: string,
  values?: readonly unknown[],
): Promise<Row[]> {
  // Without values node-postgres sends a simple query, which may be several statements; the last one's rows count.
  const result = values === undefined ? await client.query(text) : await client.query(text, [...values]);
  const last = (Array.isArray(result) ? result.at(-1) : result) as pg.QueryResult<Row> | undefined;
  return last?.rows ?? [];
}
