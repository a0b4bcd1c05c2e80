/**
 * Gives every occurrence its path to the key: the root-path rule (keys-and-locks §3.4 c, Theorem 2).
 *
 * The paths form one fixed tree per definition. At its root stand the occurrences that have the *whole* key in their own
 * row; every other one has a parent nearer to them. The theorem's proof takes, among the rows of a path that one
 * transaction changed, the one nearest to the root: its ancestors are unchanged, so that its key query finds the key. A key
 * spread over two occurrences, neither of which has all of it, has no nearest one: when both rows go in one transaction
 * each key query looks for the other row and finds it gone. So it is refused.
 */

import type { KeyColumn } from './key.ts';
import {
  type ColumnLookup,
  castsSafely,
  closeLinks,
  columnLookup,
  isTransparent,
  type Link,
} from './links.ts';
import { display, refuse } from './refuse.ts';
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

export function derivePaths(
  definition: ResolvedDefinition,
  key: readonly KeyColumn[],
): readonly OccurrencePath[] {
  const columnOf = columnLookup(definition);
  const links = closeLinks(definition, columnOf);
  const paths = new Map<number, OccurrencePath>();
  for (const { index } of definition.occurrences) {
    const keyColumns = ownKey(index, key, links, columnOf);
    if (keyColumns !== null) paths.set(index, { occurrence: index, hops: [], keyColumns });
  }
  if (paths.size === 0) refuseSpreadKey(definition, key);
  const hops = new Hops(links, definition.occurrences.length);
  // Level by level away from the roots, so that each path is a shortest one and ends with its parent's. A parent that
  // shares fewer columns comes last: in a schema where every table has a tenant, the tenant alone is a link, and a bad one.
  const grow = (isWide: (from: number, to: number) => boolean, atMost: number): boolean => {
    const level = [...paths.keys()].sort((a, b) => a - b);
    let grown = 0;
    for (const { index } of definition.occurrences) {
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
  return definition.occurrences.map((occurrence) => {
    const path = paths.get(occurrence.index);
    return path ?? refuseUnlinked(definition, occurrence);
  });
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

function refuseSpreadKey(definition: ResolvedDefinition, key: readonly KeyColumn[]): never {
  const tables = [...new Set(key.map(({ occurrence }) => definition.occurrences[occurrence]!))];
  const names = tables.map(({ relation, alias }) => `${display(relation.name)} (${alias})`).join(' and ');
  return refuse(
    `the key (${key.map(({ output }) => output.name).join(', ')}) is spread over ${names}`,
    'No row of any table has the whole key, so that a transaction that changes a row of each could miss a key.',
    'Choose a key one table has, or whose columns one table refers to: the table that links the two, for example.',
  );
}

function refuseUnlinked(definition: ResolvedDefinition, occurrence: ResolvedOccurrence): never {
  const { relation, alias, index } = occurrence;
  const miss = definition.nearMisses.get(index);
  return refuse(
    `table ${display(relation.name)} (${alias}) is not linked to the key`,
    miss === undefined
      ? 'No equality between its columns and those of a table that leads to the key must hold: a change of one of its rows could affect every row of the tview.'
      : `A condition on it compares ${miss}; only an equality of plain columns, which must hold for the row to count, is a link.`,
    'Join or correlate it by an equality of columns (a.x = b.y), in ON, in WHERE or inside the subquery.',
  );
}
