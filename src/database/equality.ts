/** How values of a table's columns are compared where one row is to be found by another's key. */
import type { SqlExecutor } from './executor.ts';
import { sqlFile } from './files.ts';

const keyOperatorsSql = sqlFile('key-operators.sql');

/** The equality operator of each column's default index, as written between two operands: `=` or `OPERATOR(schema.=)`. */
export async function equalityOperators(
  executor: SqlExecutor,
  relation: number | string,
  columns: readonly string[],
): Promise<string[]> {
  const rows = await executor.query<{ operator: string }>(keyOperatorsSql(), [relation, columns]);
  return rows.map(({ operator }) => operator);
}
