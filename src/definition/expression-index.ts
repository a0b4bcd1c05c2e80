/** The indexes that have expressions, in the form in which a key that is one can be found among them. */
import type { SqlExecutor } from '../database/executor.ts';
import { withSettings } from '../database/session.ts';
import { deparseSettings } from '../database/settings.ts';
import type { CatalogIndex, CatalogRelation } from './catalog.ts';
import { expressionKey, expressionOf } from './expression.ts';
import { parseSelect } from './grammar.ts';

/** By the relation's oid. Among the columns of an index are expressions by their expressionKey. */
export type ExpressionIndexes = ReadonlyMap<number, readonly CatalogIndex[]>;

const indexesQuery = `
  SELECT index.indrelid::int8 AS relation,
         class.relname AS name,
         method.amname AS method,
         ARRAY (
           SELECT pg_catalog.pg_get_indexdef(index.indexrelid, place, false)
           FROM pg_catalog.generate_series(1, index.indnkeyatts::int) AS place
           ORDER BY place
         ) AS columns
  FROM pg_catalog.pg_index AS index
  JOIN pg_catalog.pg_class AS class ON class.oid = index.indexrelid
  JOIN pg_catalog.pg_am AS method ON method.oid = class.relam AND method.amname IN ('btree', 'hash')
  WHERE index.indrelid = ANY ($1::oid[]) AND index.indexprs IS NOT NULL AND index.indisvalid AND index.indpred IS NULL
  ORDER BY index.indexrelid`;

interface ExpressionIndexRow {
  readonly relation: string;
  readonly name: string;
  readonly method: 'btree' | 'hash';
  readonly columns: readonly string[];
}

/** Under an empty search_path, as all that is read of a definition. */
export async function loadExpressionIndexes(
  executor: SqlExecutor,
  relations: readonly CatalogRelation[],
): Promise<ExpressionIndexes> {
  const found = new Map<number, CatalogIndex[]>();
  if (relations.length === 0) return found;
  const rows = await withSettings(executor, deparseSettings, () =>
    executor.query<ExpressionIndexRow>(indexesQuery, [relations.map(({ oid }) => oid)]),
  );
  for (const { relation: oid, name, method, columns } of rows) {
    const relation = relations.find((one) => one.oid === Number(oid))!;
    const names = await Promise.all(columns.map((text) => columnOf(text, relation)));
    found.set(relation.oid, [
      ...(found.get(relation.oid) ?? []),
      { name, method, columns: names, isUnique: false },
    ]);
  }
  return found;
}

async function columnOf(text: string, { columns }: CatalogRelation): Promise<string | null> {
  const { targetList = [] } = await parseSelect(`SELECT ${text}`);
  const [target] = targetList;
  const value = target !== undefined && 'ResTarget' in target ? target.ResTarget.val : undefined;
  if (value === undefined) return null;
  const find = ({ column: name }: { readonly column: string | null }) => {
    const column = columns.find((one) => one.name === name);
    return column === undefined ? null : { occurrence: 0, column };
  };
  const expression = expressionOf(value, find);
  if (expression === null) return null;
  const [piece] = expression.pieces;
  const isColumn = expression.pieces.length === 1 && typeof piece === 'object' && 'column' in piece;
  return isColumn ? piece.column : expressionKey(expression.pieces);
}
