/**
 * Advice on indexes. A refresh looks rows up in both directions of a link: from a changed row towards the key (the key
 * query's probes), and from a key down to the rows it is computed from. Either without an index reads the whole table.
 */
import { quoteIdentifier, quoteQualified } from '../database/identifier.ts';
import type { CatalogIndex, CatalogRelation } from './catalog.ts';
import { columnsOf, type OccurrencePath } from './derive.ts';
import type { Advice, QualifiedName } from './plan.ts';
import { display } from './refuse.ts';
import type { ResolvedDefinition } from './resolved.ts';

/** A lookup a refresh makes, and the index that serves it. */
export interface WantedIndex {
  readonly table: QualifiedName;
  readonly columns: readonly string[];
  /** What is done by it, the first one where there are several: "changes are mapped to keys", "rows are recomputed". */
  readonly purpose: string;
  /** Its name; null where none serves. */
  readonly index: string | null;
  /** The statement that creates one. */
  readonly create: string;
}

export function wantedIndexes(
  definition: ResolvedDefinition,
  paths: readonly OccurrencePath[],
): readonly WantedIndex[] {
  const found = new Map<string, WantedIndex>();
  const want = (occurrence: number, columns: readonly string[], purpose: string): void => {
    const { relation } = definition.occurrences[occurrence]!;
    const wanted = [...new Set(columns)];
    if (wanted.length === 0) return;
    const create = `CREATE INDEX ON ${quoteQualified(relation.name)} (${wanted.map(quoteIdentifier).join(', ')});`;
    if (found.has(create)) return;
    const index = indexFor(relation, wanted)?.name ?? null;
    found.set(create, { table: relation.name, columns: wanted, purpose, index, create });
  };
  for (const { hops } of paths) {
    for (const { to, links } of hops) {
      want(
        to,
        links.map((link) => link.to.column),
        'changes are mapped to keys',
      );
    }
  }
  for (const { occurrence, hops, keyParts } of paths) {
    const [first] = hops;
    const columns = first === undefined ? columnsOf(keyParts) : first.links.map(({ from }) => from.column);
    want(occurrence, columns, 'rows are recomputed');
  }
  return [...found.values()];
}

export function indexAdvice(
  definition: ResolvedDefinition,
  paths: readonly OccurrencePath[],
): readonly Advice[] {
  return wantedIndexes(definition, paths)
    .filter(({ index }) => index === null)
    .map(({ table, columns, purpose, create }) => ({
      kind: 'missing-index',
      message: `table ${display(table)} has no index on (${columns.join(', ')}), by which ${purpose}`,
      hint: create,
    }));
}

/** One with which a lookup by all these columns can start an index scan that reads little more than it returns. */
function indexFor({ indexes }: CatalogRelation, columns: readonly string[]): CatalogIndex | undefined {
  return indexes.find((index) => {
    const leading = index.columns.slice(0, columns.length);
    const covers =
      leading.length === columns.length && leading.every((name) => name !== null && columns.includes(name));
    const findsOne = index.isUnique && index.columns.every((name) => name !== null && columns.includes(name));
    return covers || findsOne;
  });
}
