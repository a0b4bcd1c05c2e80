/** What the walk over a definition (resolve.ts) knows of columns and joins without walking: names, origins, which side is there. */
import { columnsIn } from './expression.ts';
import { type Node, type SelectStmt, strings } from './grammar.ts';
import { columnKey, type NamedOrigin, type Origin, type OriginName, originKey } from './resolved.ts';

/** By their indexes. */
export type Occurrences = readonly number[];

/** By kind: for what the join's condition is necessary, and what is there in every row of it. */
export const joinKinds: Readonly<
  Record<
    string,
    (
      left: Occurrences,
      right: Occurrences,
      both: Occurrences,
    ) => { readonly owners: Occurrences; readonly always: Occurrences }
  >
> = {
  JOIN_INNER: (_left, _right, both) => ({ owners: both, always: both }),
  JOIN_LEFT: (left, right) => ({ owners: right, always: left }),
  JOIN_RIGHT: (left, right) => ({ owners: left, always: right }),
  JOIN_FULL: () => ({ owners: [], always: [] }),
};

/** Whether a query names a table without its schema: a WITH query that names itself is recursive. */
export function namesTable(node: unknown, name: string): boolean {
  if (Array.isArray(node)) return node.some((element) => namesTable(element, name));
  if (typeof node !== 'object' || node === null) return false;
  const part = node as Node;
  if ('RangeVar' in part) return part.RangeVar.schemaname === undefined && part.RangeVar.relname === name;
  return Object.values(node).some((value) => namesTable(value, name));
}

/** The columns of a query by the names its first SELECT gives them. */
export function firstNames(select: SelectStmt): readonly string[] {
  if (select.larg !== undefined) return firstNames(select.larg);
  return select.valuesLists === undefined
    ? (select.targetList ?? []).map(outputName)
    : valuesNames(select.valuesLists);
}

export function valuesNames(lists: readonly Node[]): readonly string[] {
  const [first] = lists;
  const width = first !== undefined && 'List' in first ? (first.List.items?.length ?? 0) : 0;
  return Array.from({ length: width }, (_, place) => `column${place + 1}`);
}

/** Of what is read from rows: the same column, or the same computed from the same. */
export function isSameOrigin(one: OriginName, other: OriginName): boolean {
  const key = originKey(one);
  return key !== null && key === originKey(other);
}

/**
 * What GROUP BY leaves of the columns. An expression that is no group itself is computed from groups, and of what is equal only
 * one is there to compute it from.
 */
export function ofGroups(
  columns: readonly NamedOrigin[],
  grouping: readonly Origin[] | null,
): readonly NamedOrigin[] {
  if (grouping === null) return columns;
  const areExact = grouping.every(
    (group) => group.kind === 'column' || (group.kind === 'expression' && group.isExact),
  );
  return columns.map(({ name, origin }) => {
    if (origin.kind !== 'expression' || grouping.some((group) => isSameOrigin(group, origin)))
      return { name, origin };
    return { name, origin: origin.isExact && areExact ? origin : computed(origin.how) };
  });
}

/** Of GROUPING SETS, ROLLUP and CUBE, one in another or not, what is grouped by in some of them. */
export function groupsOf(node: Node): readonly Node[] {
  if ('GroupingSet' in node) return (node.GroupingSet.content ?? []).flatMap(groupsOf);
  if ('RowExpr' in node) return (node.RowExpr.args ?? []).flatMap(groupsOf);
  return [node];
}

/** By columnKey, what a value is read or computed from. */
export function readBy(origin: Origin): readonly string[] {
  if (origin.kind === 'column' || origin.kind === 'element')
    return [columnKey(origin.occurrence, origin.column)];
  if (origin.kind !== 'expression') return [];
  return columnsIn(origin.pieces).map((column) => columnKey(origin.occurrence, column));
}

export function computed(how: string): Origin {
  return { kind: 'computed', how };
}

export function outputName(target: Node): string {
  if (!('ResTarget' in target)) return '?column?';
  const { name, val } = target.ResTarget;
  if (name !== undefined) return name;
  return (
    (val !== undefined && 'ColumnRef' in val ? strings(val.ColumnRef.fields).at(-1) : undefined) ?? '?column?'
  );
}

/** Column aliases, by place; columns beyond them keep their names. */
export function renamed(columns: readonly NamedOrigin[], names: readonly string[]): readonly NamedOrigin[] {
  return columns.map((column, place) => ({ ...column, name: names[place] ?? column.name }));
}
