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
import type { KeyColumn } from './key.ts';
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
  /** For each key column, the column that has it in the last occurrence of the path. */
  readonly keyColumns: readonly string[];
}

export interface DerivedPaths {
  readonly bounded: readonly OccurrencePath[];
  /** Occurrences of which a change may reach any key, and why. */
  readonly unbounded: ReadonlyMap<number, RefusedDefinition>;
}

/** @param key where it is a refusal, there is nothing for a path to lead to. */
export function derivePaths(
  definition: ResolvedDefinition,
  key: readonly KeyColumn[] | RefusedDefinition,
): DerivedPaths {
  const { occurrences } = definition;
  const all = (reason: RefusedDefinition): DerivedPaths => ({
    bounded: [],
    unbounded: new Map(occurrences.map(({ index, unbounded }) => [index, unbounded ?? reason])),
  });
  if (key instanceof RefusedDefinition) return all(key);
  const columnOf = columnLookup(definition);
  const links = closeLinks(definition, columnOf);
  const paths = new Map<number, OccurrencePath>();
  for (const { index, unbounded } of occurrences) {
    if (unbounded !== null) continue;
    const keyColumns = ownKey(index, key, links, columnOf);
    if (keyColumns !== null) paths.set(index, { occurrence: index, hops: [], keyColumns });
  }
  if (paths.size === 0) return all(spreadKey(definition, key));
  const hops = new Hops(links, occurrences.length);
  // Level by level away from the roots, so that each path is a shortest one and ends with its parent's. A parent that
  // shares fewer columns comes last: in a schema where every table has a tenant, the tenant alone is a link, and a bad one.
  const grow = (isWide: (from: number, to: number) => boolean, atMost: number): boolean => {
    const level = [...paths.keys()].sort((a, b) => a - b);
    let grown = 0;
    for (const { index } of occurrences) {
      if (paths.has(index) || grown >= atMost) continue;
      const parent = level.find((to) => hops.links(index, to).length > 0 && isWide(index, to));
      if (parent === undefined) continue;
      const { hops: rest, keyColumns } = paths.get(parent)!;
      const hop = { to: parent, links: hops.links(index, parent) };
      paths.set(index, { occurrence: index, hops: [hop, ...rest], keyColumns });
      grown += 1;
    }
    return grown > 0;
  };
  while (grow((from, to) => hops.isWidest(from, to), Number.POSITIVE_INFINITY) || grow(() => true, 1));
  return {
    bounded: occurrences.flatMap(({ index }) => paths.get(index) ?? []),
    unbounded: new Map(
      occurrences.flatMap((occurrence) =>
        paths.has(occurrence.index)
          ? []
          : [[occurrence.index, occurrence.unbounded ?? unlinked(definition, occurrence)]],
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
): readonly string[] | null {
  const columns: string[] = [];
  for (const wanted of key) {
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
    columns.push(found);
  }
  return columns;
}

/** Which occurrences can be whose parents. */
class Hops {
  private readonly all: readonly Link[];
  private readonly widest: readonly number[];

  constructor(links: readonly Link[], occurrences: number) {
    this.all = links;
    const numbers = Array.from({ length: occurrences }, (_, index) => index);
    this.widest = numbers.map((from) => Math.max(...numbers.map((to) => this.width(from, to))));
  }

  /** Every equality between the two that the definition states, and those it implies of other columns. */
  links(from: number, to: number): readonly Link[] {
    const between = this.all.filter((link) => link.from.occurrence === from && link.to.occurrence === to);
    const stated = between.filter((link) => link.stated);
    const covered = new Set(stated.map((link) => link.from.column));
    return [...stated, ...between.filter((link) => !link.stated && !covered.has(link.from.column))];
  }

  isWidest(from: number, to: number): boolean {
    return this.width(from, to) === this.widest[from];
  }

  private width(from: number, to: number): number {
    return new Set(this.links(from, to).map((link) => link.from.column)).size;
  }
}

function spreadKey(definition: ResolvedDefinition, key: readonly KeyColumn[]): RefusedDefinition {
  const tables = [...new Set(key.map(({ occurrence }) => definition.occurrences[occurrence]!))];
  const names = tables.map(({ relation, alias }) => `${display(relation.name)} (${alias})`).join(' and ');
  return refusal(
    `the key (${key.map(({ output }) => output.name).join(', ')}) is spread over ${names}`,
    'No row of any table has the whole key, so that a transaction that changes a row of each could miss a key.',
    'Choose a key one table has, or whose columns one table refers to: the table that links the two, for example.',
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
