/**
 * PostgreSQL's own grammar (libpg_query, as WebAssembly), loaded when the first definition is read and not before, and
 * the few helpers that make its syntax trees pleasant to look at.
 */
import type { ColumnRef, Node, SelectStmt, TypeName } from '@pgsql/types';
import { SqlState, TviewsError } from '../errors/errors.ts';

export type { ColumnRef, Node, SelectStmt, TypeName };

let library: Promise<typeof import('libpg-query')> | undefined;

async function load(): Promise<typeof import('libpg-query')> {
  library ??= import('libpg-query').then(async (module) => {
    await module.loadModule();
    return module;
  });
  return library;
}

/** The statements of a text, as raw parse trees. Rejects with 42601 and a `position` in characters from 1. */
export async function parseSql(text: string): Promise<Node[]> {
  const { parseSync, hasSqlDetails } = await load();
  try {
    return (parseSync(text).stmts ?? []).flatMap(({ stmt }) => (stmt === undefined ? [] : [stmt]));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // The library counts characters from 0; -1 or nothing means that it does not know.
    const at = hasSqlDetails(error) ? (error.sqlDetails?.cursorPosition ?? -1) : -1;
    throw new TviewsError(SqlState.syntaxError, error.message, {
      position: at >= 0 ? at + 1 : undefined,
      cause: error,
    });
  }
}

/** The one SELECT of a text: what pg_get_viewdef gave. */
export async function parseSelect(text: string): Promise<SelectStmt> {
  const [statement] = await parseSql(text);
  if (statement === undefined || !('SelectStmt' in statement)) {
    throw new TviewsError(SqlState.internalError, 'the definition is not a SELECT');
  }
  return statement.SelectStmt;
}

/** The strings of a list of String nodes: a dotted name, an operator, column aliases. */
export function strings(nodes: readonly Node[] | undefined): string[] {
  return (nodes ?? []).flatMap((node) => ('String' in node ? [node.String.sval ?? ''] : []));
}

/** What a JSON_TABLE or an XMLTABLE in FROM is called, and the columns it gives; null of anything else. */
export function tableExpression(
  item: Node,
): { readonly alias: string; readonly columns: readonly string[] } | null {
  const expression =
    'JsonTable' in item ? item.JsonTable : 'RangeTableFunc' in item ? item.RangeTableFunc : null;
  if (expression === null) return null;
  const named = strings(expression.alias?.colnames);
  const columns = definedColumns(expression.columns).map((name, place) => named[place] ?? name);
  return { alias: expression.alias?.aliasname ?? '', columns };
}

/** Those of a NESTED PATH stand where it stands. */
function definedColumns(nodes: readonly Node[] | undefined): string[] {
  return (nodes ?? []).flatMap((node) => {
    if ('RangeTableFuncCol' in node) return [node.RangeTableFuncCol.colname ?? ''];
    if (!('JsonTableColumn' in node)) return [];
    const { coltype, name, columns } = node.JsonTableColumn;
    return coltype === 'JTC_NESTED' ? definedColumns(columns) : [name ?? ''];
  });
}

export interface ColumnName {
  /** The relation's alias; null where the column stands alone. */
  readonly relation: string | null;
  /** Null: the whole row (`p.*`). */
  readonly column: string | null;
}

/** A deparsed column reference has at most an alias and a column; anything longer is null. */
export function columnName(reference: ColumnRef): ColumnName | null {
  const fields = reference.fields ?? [];
  const names = strings(fields);
  const star = fields.some((field) => 'A_Star' in field);
  const [first, second] = names;
  if (star) return names.length === 1 && first !== undefined ? { relation: first, column: null } : null;
  if (names.length === 1 && first !== undefined) return { relation: null, column: first };
  if (names.length === 2 && first !== undefined && second !== undefined) {
    return { relation: first, column: second };
  }
  return null;
}

/** The conjuncts of a condition, nested ANDs flattened. */
export function conjuncts(condition: Node | undefined): Node[] {
  if (condition === undefined) return [];
  if ('BoolExpr' in condition && condition.BoolExpr.boolop === 'AND_EXPR') {
    return (condition.BoolExpr.args ?? []).flatMap((part) => conjuncts(part));
  }
  return [condition];
}

/** Whether an operator is PostgreSQL's own `=`: under an empty search_path any other one is deparsed with its schema. */
export function isEquality(operator: readonly Node[] | undefined): boolean {
  const name = strings(operator);
  return name.at(-1) === '=' && (name.length === 1 || (name.length === 2 && name[0] === 'pg_catalog'));
}
