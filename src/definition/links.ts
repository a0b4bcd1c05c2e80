/**
 * From equalities to links, and from links to their transitive closure. A link says: a row of `from` can matter only
 * together with a row of `to` that has the same value (keys-and-locks §3.1). Chains of links over one value are links too,
 * and spare the key query the tables in the middle.
 */
import type { CatalogColumn } from './catalog.ts';
import { columnKey, type Operand, type ResolvedDefinition } from './resolved.ts';

export interface Link {
  readonly from: Operand;
  readonly to: Operand;
  /** False where it follows from others: the definition itself does not state it. */
  readonly stated: boolean;
}

export type ColumnLookup = (occurrence: number, column: string) => CatalogColumn;

export function columnLookup({ occurrences }: ResolvedDefinition): ColumnLookup {
  return (occurrence, column) => {
    const found = occurrences[occurrence]?.relation.columns.find(({ name }) => name === column);
    if (found === undefined) throw new Error(`occurrence ${occurrence} has no column ${column}`);
    return found;
  };
}

/** Every link the definition states or implies, stated ones first. */
export function closeLinks(definition: ResolvedDefinition, columnOf: ColumnLookup): readonly Link[] {
  const links: Link[] = definition.equalities.flatMap(({ left, right, owners }) => [
    ...(owners.has(left.occurrence) ? [{ from: left, to: right, stated: true }] : []),
    ...(owners.has(right.occurrence) ? [{ from: right, to: left, stated: true }] : []),
  ]);
  // from.x = to.y holds for what matters of `from`, and to.y = next.z for what matters of `to`: so from.x = next.z holds for
  // `from`. Transitive closure by Warshall's scheme: each column in turn as the one in the middle.
  const seen = new Set(links.map(linkKey));
  const middles = new Map(links.map(({ from }) => [columnKey(from.occurrence, from.column), from]));
  for (const middle of middles.values()) {
    const arriving = links.filter((link) => isSame(link.to, middle) && isTransparent(link, columnOf));
    const leaving = links.filter((link) => isSame(link.from, middle) && isTransparent(link, columnOf));
    for (const { from } of arriving) {
      for (const { to } of leaving) {
        if (from.occurrence === to.occurrence) continue;
        const implied: Link = { from: { ...from, casts: [] }, to: { ...to, casts: [] }, stated: false };
        if (seen.has(linkKey(implied))) continue;
        seen.add(linkKey(implied));
        links.push(implied);
      }
    }
  }
  return links;
}

function isSame(one: Operand, other: Operand): boolean {
  return sideKey(one) === sideKey(other);
}

const sideKey = ({ occurrence, column, isElement }: Operand): string =>
  `${isElement ? '∈ ' : ''}${columnKey(occurrence, column)}`;

const linkKey = ({ from, to }: Link): string => `${sideKey(from)} = ${sideKey(to)}`;

/** The link as a condition, of its sides as SQL. Of an array that has the other side's type, in the form that an index serves. */
export function linkCondition(
  { from, to }: Link,
  columnOf: ColumnLookup,
  fromSql: string,
  toSql: string,
): string {
  if (from.isElement) return `${toSql} OPERATOR(pg_catalog.=) ANY (${fromSql})`;
  if (!to.isElement) return `${toSql} OPERATOR(pg_catalog.=) ${fromSql}`;
  return isContained({ from, to }, columnOf)
    ? `${toSql} OPERATOR(pg_catalog.@>) ARRAY[${fromSql}]`
    : `${fromSql} OPERATOR(pg_catalog.=) ANY (${toSql})`;
}

/** Whether an index on the array finds what has an element. */
export function isContained({ from, to }: Pick<Link, 'from' | 'to'>, columnOf: ColumnLookup): boolean {
  if (!to.isElement || from.casts.length > 0 || to.casts.length > 0) return false;
  const [element, array] = [from, to].map(({ occurrence, column }) => columnOf(occurrence, column));
  return !element!.isDomain && !array!.isDomain && array!.type === `${element!.type}[]`;
}

/** int2, int4, int8 compare with each other by value, text and varchar by their characters. */
const integers: ReadonlyMap<number, number> = new Map([
  [21, 2],
  [23, 4],
  [20, 8],
]);
const texts: ReadonlySet<number> = new Set([25, 1043]);
const familyOfType: ReadonlyMap<string, string> = new Map([
  ['int2', 'integer'],
  ['int4', 'integer'],
  ['int8', 'integer'],
  ['text', 'text'],
  ['varchar', 'text'],
]);

/** Columns of one family that are equal have the same value, apart from its width. */
function family({ baseType, collationOid, isDeterministic }: CatalogColumn): string | null {
  if (!isDeterministic) return null;
  if (integers.has(baseType)) return 'integer';
  return `${texts.has(baseType) ? 'text' : baseType} ${collationOid}`;
}

/** Whether a link means that both columns have the same value: no cast that loses something, no collation that does. */
export function isTransparent(link: Link, columnOf: ColumnLookup): boolean {
  if (link.from.isElement || link.to.isElement) return false;
  const [from, to] = [link.from, link.to].map(({ occurrence, column, casts }) => {
    const own = family(columnOf(occurrence, column));
    const kept = casts.every((cast) => {
      const name = /^"pg_catalog"\."(\w+)"$/.exec(cast)?.[1] ?? '';
      return own !== null && own.split(' ')[0] === familyOfType.get(name);
    });
    return kept ? own : null;
  });
  return from !== null && from === to;
}

/**
 * Whether casting the column's values to the key's type can neither fail nor lose one: a bigint that refers to an integer
 * key may hold a value no key has, and casting it would fail the writer's transaction.
 */
export function castsSafely(column: CatalogColumn, key: CatalogColumn): boolean {
  if (column.type === key.type) return true;
  if (key.isDomain) return false;
  const [from, to] = [integers.get(column.baseType), integers.get(key.baseType)];
  if (from !== undefined && to !== undefined) return from <= to;
  // An explicit cast to varchar(n) truncates: what is cut off was no key.
  if (texts.has(column.baseType) && texts.has(key.baseType)) return true;
  return column.baseType === key.baseType && !key.hasModifier;
}
