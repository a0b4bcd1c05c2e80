/** How values of a table's columns are compared where one row is to be found by another's key. */
import { firstMadeType } from '../definition/kinds.ts';
import type { SqlExecutor } from './executor.ts';
import { sqlFile } from './files.ts';

const keyOperatorsSql = sqlFile('key-operators.sql');

/** `relation`: the oid of its table. */
interface ColumnOf {
  readonly relation: number;
  readonly name: string;
}

/** The equality operator of each column's default index, as written between two operands: `=` or `OPERATOR(schema.=)`. */
export async function equalityOperators(
  executor: SqlExecutor,
  columns: readonly ColumnOf[],
): Promise<string[]> {
  const asked = [columns.map(({ relation }) => relation), columns.map(({ name }) => name)];
  // What comes with PostgreSQL is compared by its own =, and planning the query takes ten times as long as running it.
  const [types] = await executor.query<{ areBuiltIn: boolean }>(
    `SELECT NOT EXISTS (
       SELECT FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::text[])) AS wanted (relation, name)
       JOIN pg_catalog.pg_attribute AS a ON a.attrelid = wanted.relation AND a.attname = wanted.name
       WHERE a.atttypid >= ${firstMadeType}
     ) AS "areBuiltIn"`,
    asked,
  );
  if (types!.areBuiltIn) return columns.map(() => '=');
  const rows = await executor.query<{ operator: string }>(keyOperatorsSql(), asked);
  return rows.map(({ operator }) => operator);
}
