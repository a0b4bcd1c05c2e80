/**
 * Gives every occurrence its path to the key: the root-path rule (keys-and-locks §3.4 c, Theorem 2).
 *
 * The paths form one fixed tree per definition. At its root stand the occurrences that have the *whole* key in their own
 * row; every other one has a parent nearer to them. The theorem's proof takes, among the rows of a path that one
 * transaction changed, the one nearest to the root: its ancestors are unchanged, so that its key query finds the key. A key
 * spread over two occurrences, neither of which has all of it, has no nearest one: when both rows go in one transaction
 * each key query looks for the other row and finds it gone. So it is refused.
 */

import { RefusedDefinition } from '../errors/errors.ts';
import type { Computed, KeyColumn, ReadingKey } from './key.ts';
import {
  type ColumnLookup,
  castsSafely,
  closeLinks,
  columnLookup,
  isTransparent,
  type Link,
} from './links.ts';
import { display, refusal } from './refuse.ts';
import type { ResolvedDefinition, ResolvedOccurrence } from './resolved.ts';

/** One hop: the parent, and the equalities by which it is found. */
export interface Hop {
  readonly to: number;
  readonly links: readonly Link[];
}

export interface OccurrencePath {
  readonly occurrence: number;
  /** From the occurrence to one that has the key; empty where it has the key itself. */
  readonly hops: readonly Hop[];
  /** For each key column, what it is in the last occurrence of the path. */
  readonly keyParts: readonly KeyPart[];
}

export type KeyPart =
  | { readonly kind: 'column'; readonly column: string }
  | ({ readonly kind: 'expression' } & Computed)
  | { readonly kind: 'constant'; readonly sql: string };

/** The columns among the parts. */
export const columnsOf = (parts: readonly KeyPart[]): readonly string[] =>
  parts.flatMap((part) => (part.kind === 'column' ? [part.column] : []));

export interface DerivedPaths {
  readonly bounded: readonly OccurrencePath[];
  /** Occurrences of which a change may reach any key, and why. */
  readonly unbounded: ReadonlyMap<number, RefusedDefinition>;
}

/** @param keys for each reading; where one is a refusal, there is nothing for its paths to lead to */
export function derivePaths(definition: ResolvedDefinition, keys: readonly ReadingKey[]): DerivedPaths {
  const { occurrences } = definition;
  const columnOf = columnLookup(definition);
  const links = closeLinks(definition, columnOf);
  const paths = new Map<number, OccurrencePath>();
  for (const { index, unbounded, reading } of occurrences) {
    const key = keys[reading]!;
    if (unbounded !== null || key instanceof RefusedDefinition) continue;
    const keyParts = ownKey(index, key, links, columnOf);
    if (keyParts !== null) paths.set(index, { occurrence: index, hops: [], keyParts });
  }
  const rooted = new Set([...paths.keys()].map((index) => occurrences[index]!.reading));
  const hops = new Hops(links);
  // Level by level away from the roots, so that each path is a shortest one and ends with its parent's. A parent that
  // shares fewer columns comes last: in a schema where every table has a tenant, the tenant alone is a link, and a bad one.
  const grow = (isWide: (from: number, to: number) => boolean, atMost: number): boolean => {
    const level = [...paths.keys()].sort((a, b) => a - b);
    let grown = 0;
    for (const { index } of occurrences) {
      if (paths.has(index) || grown >= atMost) continue;
      const parent = level.find((to) => hops.links(index, to).length > 0 && isWide(index, to));
      if (parent === undefined) continue;
      const { hops: rest, keyParts } = paths.get(parent)!;
      const hop = { to: parent, links: hops.links(index, parent) };
      paths.set(index, { occurrence: index, hops: [hop, ...rest], keyParts });
      grown += 1;
    }
    return grown > 0;
  };
  while (grow((from, to) => hops.isWidest(from, to), Number.POSITIVE_INFINITY) || grow(() => true, 1));
  const reasonFor = (occurrence: ResolvedOccurrence): RefusedDefinition => {
    const key = keys[occurrence.reading]!;
    if (occurrence.unbounded !== null) return occurrence.unbounded;
    if (key instanceof RefusedDefinition) return key;
    if (!rooted.has(occurrence.reading)) return spreadKey(definition, key);
    return occurrence.peering ?? unlinked(definition, occurrence);
  };
  return {
    bounded: occurrences.flatMap(({ index }) => paths.get(index) ?? []),
    unbounded: new Map(
      occurrences.flatMap((occurrence) =>
        paths.has(occurrence.index) ? [] : [[occurrence.index, reasonFor(occurrence)]],
      ),
    ),
  };
}

/** The key in the row itself: its columns, or columns that equal them by links. */
function ownKey(
  occurrence: number,
  key: readonly KeyColumn[],
  links: readonly Link[],
  columnOf: ColumnLookup,
): readonly KeyPart[] | null {
  const parts: KeyPart[] = [];
  for (const wanted of key) {
    if (wanted.kind === 'constant') {
      parts.push({ kind: 'constant', sql: wanted.sql });
      continue;
    }
    if (wanted.kind === 'expression') {
      if (wanted.occurrence !== occurrence) return null;
      const { pieces, immutableSince } = wanted;
      parts.push({ kind: 'expression', pieces, immutableSince });
      continue;
    }
    const candidates =
      wanted.occurrence === occurrence
        ? [wanted.column]
        : links
            .filter(
              (link) =>
                link.from.occurrence === occurrence &&
                link.to.occurrence === wanted.occurrence &&
                link.to.column === wanted.column &&
                isTransparent(link, columnOf),
            )
            .map(({ from }) => from.column);
    const found = candidates.find((column) => {
      const candidate = columnOf(occurrence, column);
      return candidate.generated !== 'virtual' && castsSafely(candidate, wanted.output);
    });
    if (found === undefined) return null;
    parts.push({ kind: 'column', column: found });
  }
  return parts;
}

/** Which occurrences can be whose parents. */
class Hops {
  /** From an occurrence, to another. */
  private readonly between: ReadonlyMap<number, ReadonlyMap<number, readonly Link[]>>;

  constructor(links: readonly Link[]) {
    const grouped = Map.groupBy(links, ({ from }) => from.occurrence);
    this.between = new Map(
      [...grouped].map(([from, own]) => {
        const groups = Map.groupBy(own, ({ to }) => to.occurrence);
        return [from, new Map([...groups].map(([to, both]) => [to, notImpliedTwice(both)]))];
      }),
    );
  }

  /** Every equality between the two that the definition states, and those it implies of other columns. */
  links(from: number, to: number): readonly Link[] {
    return this.between.get(from)?.get(to) ?? [];
  }

  /** Whether no other one shares more columns. */
  isWidest(from: number, to: number): boolean {
    const own = width(this.links(from, to));
    return [...(this.between.get(from)?.values() ?? [])].every((links) => width(links) <= own);
  }
}

function notImpliedTwice(links: readonly Link[]): readonly Link[] {
  const stated = links.filter((link) => link.stated);
  const covered = new Set(stated.map((link) => link.from.column));
  return [...stated, ...links.filter((link) => !link.stated && !covered.has(link.from.column))];
}

const width = (links: readonly Link[]): number => new Set(links.map((link) => link.from.column)).size;

function spreadKey(definition: ResolvedDefinition, key: readonly KeyColumn[]): RefusedDefinition {
  const places = key.flatMap((column) => (column.kind === 'constant' ? [] : [column.occurrence]));
  const tables = [...new Set(places)].map((occurrence) => definition.occurrences[occurrence]!);
  const names = tables.map(({ relation, alias }) => `${display(relation.name)} (${alias})`).join(' and ');
  return refusal(
    `the key (${key.map(({ output }) => output.name).join(', ')}) is spread over ${names}`,
    'No row of any table has the whole key, so that a transaction that changes a row of each could miss a key.',
    "Choose a key one table has, or whose columns one table refers to (the table that links the two, for example): WITH (key = 'column, …').",
  );
}

function unlinked(definition: ResolvedDefinition, occurrence: ResolvedOccurrence): RefusedDefinition {
  const { relation, alias, index } = occurrence;
  const miss = definition.nearMisses.get(index);
  return refusal(
    `table ${display(relation.name)} (${alias}) is not linked to the key`,
    miss === undefined
      ? 'No equality between its columns and those of a table that leads to the key must hold: a change of one of its rows could affect every row of the tview.'
      : `A condition on it compares ${miss}; only an equality of plain columns, which must hold for the row to count, is a link.`,
    'Join or correlate it by an equality of columns (a.x = b.y), in ON, in WHERE or inside the subquery.',
  );
}
