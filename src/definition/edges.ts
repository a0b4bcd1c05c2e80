/**
 * The edges of the tree of paths: where two transactions can miss each other, one changing what a row refers to, the
 * other the row that refers to it. From the same paths as the key queries, so that what is locked is what is walked.
 */
import { quoteIdentifier, quoteQualified } from '../database/identifier.ts';
import type { CatalogColumn, CatalogRelation } from './catalog.ts';
import type { OccurrencePath } from './derive.ts';
import { shownLinks } from './key-query.ts';
import { type ColumnLookup, columnLookup, isTransparent, type Link } from './links.ts';
import type { Edge, EdgeLink, ValueLocks } from './plan.ts';
import { type Operand, type ResolvedDefinition, shownOccurrence, withCasts } from './resolved.ts';

/** An edge while the tree is being walked: by occurrences. */
interface Hop {
  readonly far: number;
  readonly near: number;
  readonly links: readonly Link[];
  readonly depth: number;
}

export interface DerivedEdges {
  readonly locks: ValueLocks | null;
  /** Columns, by occurrence, that the images have to carry so that the edges' values can be read from them. */
  readonly reads: ReadonlyMap<number, ReadonlySet<string>>;
}

/** `relations`: the plan's sources, in their order. */
export function deriveEdges(
  definition: ResolvedDefinition,
  key: readonly CatalogColumn[],
  paths: readonly OccurrencePath[],
  relations: readonly CatalogRelation[],
): DerivedEdges {
  const columnOf = columnLookup(definition);
  const hops = distinctHops(definition, paths);
  const reads = new Map<number, Set<string>>();
  const read = ({ occurrence, column }: Operand): void => {
    const columns = reads.get(occurrence) ?? new Set();
    reads.set(occurrence, columns.add(column));
  };
  for (const { links } of hops) {
    for (const { from, to } of links) {
      read(from);
      read(to);
    }
  }
  // An array has many values to lock.
  const hasElements = hops.some(({ links }) => links.some(({ from, to }) => from.isElement ?? to.isElement));
  // An array of arrays is no array of values.
  const carries = (hop: Hop): boolean => hops.some(({ far }) => far === hop.near);
  const cannotCarry = hops.some(
    (hop) => carries(hop) && hop.links.some(({ from }) => columnOf(from.occurrence, from.column).isArray),
  );
  // A virtual column has no value in a trigger's transition table.
  const isUnseen = [...reads].some(([occurrence, columns]) =>
    [...columns].some((column) => columnOf(occurrence, column).generated === 'virtual'),
  );
  if (hasElements || cannotCarry || isUnseen) return { locks: null, reads: new Map() };

  const place = (occurrence: number): number =>
    relations.indexOf(definition.occurrences[occurrence]!.relation);
  const edges = hops.map(
    (hop): Edge => ({
      farSource: place(hop.far),
      nearSource: place(hop.near),
      links: hop.links.map((link) => edgeLink(link, columnOf)),
      types: hop.links.map(({ from }) => columnOf(from.occurrence, from.column).type),
      exclusive: isUnique(definition, hop.near, hop.links) ? 'near' : 'far',
      hops: hops.flatMap((below, edge) =>
        below.near === hop.far ? [{ edge, query: hopQuery(definition, columnOf, below, hop) }] : [],
      ),
      path: describe(definition, hop),
    }),
  );
  const keyIsHashed = key.every(hasOneHash);
  return { locks: { edges, keyIsHashed }, reads };
}

/** Subqueries that read one table in one way are one edge: more of them would only lock the same values again. */
function distinctHops(definition: ResolvedDefinition, paths: readonly OccurrencePath[]): readonly Hop[] {
  const same = new Map<string, number>();
  const representative = new Map<number, number>();
  const found: Hop[] = [];
  const byDepth = paths.toSorted((a, b) => a.hops.length - b.hops.length || a.occurrence - b.occurrence);
  for (const { occurrence, hops, keyParts } of byDepth) {
    const { relation } = definition.occurrences[occurrence]!;
    const [hop] = hops;
    const near = hop === undefined ? null : representative.get(hop.to)!;
    const way =
      hop === undefined
        ? keyParts
        : hop.links.map(({ from, to }) => [from.column, from.casts, to.column, to.casts]);
    const name = JSON.stringify([relation.oid, near, way]);
    const known = same.get(name);
    representative.set(occurrence, known ?? occurrence);
    if (known !== undefined) continue;
    same.set(name, occurrence);
    if (hop !== undefined) found.push({ far: occurrence, near: near!, links: hop.links, depth: hops.length });
  }
  return found.toSorted((a, b) => b.depth - a.depth || a.far - b.far);
}

function edgeLink(link: Link, columnOf: ColumnLookup): EdgeLink {
  const columns = [link.from, link.to].map(({ occurrence, column }) => columnOf(occurrence, column));
  const isHashed = isTransparent(link, columnOf) && columns.every(hasOneHash);
  return { far: link.from.column, near: link.to.column, isHashed };
}

/**
 * The hash is taken under the collation of the type: for strings, the default one, in which those that are equal in this
 * column are too. Not that of a domain, which may have one of its own.
 */
const hasOneHash = ({ isHashable, isDeterministic, isDomain, collationOid }: CatalogColumn): boolean =>
  isHashable && isDeterministic && !(isDomain && collationOid !== 0);

/** Whether the links' columns of this occurrence say which row it is. */
function isUnique({ occurrences }: ResolvedDefinition, occurrence: number, links: readonly Link[]): boolean {
  const columns = new Set<string | null>(links.map(({ to }) => to.column));
  return occurrences[occurrence]!.relation.indexes.some(
    (index) => index.isUnique && index.columns.every((column) => columns.has(column)),
  );
}

/** From the values locked on the edge below, through the rows that have them, to the values of this edge. */
function hopQuery(definition: ResolvedDefinition, columnOf: ColumnLookup, below: Hop, hop: Hop): string {
  const conditions = below.links.map(({ from, to }, i) => {
    const { collation } = columnOf(from.occurrence, from.column);
    const value = `below.v${i + 1}${collation === null ? '' : ` COLLATE ${collation}`}`;
    return `${withCasts(`t.${quoteIdentifier(to.column)}`, to)} OPERATOR(pg_catalog.=) ${withCasts(value, from)}`;
  });
  const columns = hop.links.map(({ from }) => `t.${quoteIdentifier(from.column)}`);
  const { relation } = definition.occurrences[hop.far]!;
  return `SELECT DISTINCT ${columns.join(', ')}
FROM below
JOIN ${quoteQualified(relation.name)} AS t ON ${conditions.join(' AND ')}`;
}

function describe(definition: ResolvedDefinition, { far, near, links }: Hop): string {
  const equalities = shownLinks(definition, links).join(' and ');
  return `${shownOccurrence(definition, far)} → ${shownOccurrence(definition, near)} (${equalities})`;
}
