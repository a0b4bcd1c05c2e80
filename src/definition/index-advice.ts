/**
 * Advice on indexes. A refresh looks rows up in both directions of a link: from a changed row towards the key (the key
 * query's probes), and from a key down to the rows it is computed from. Either without an index reads the whole table.
 */
import { quoteIdentifier, quoteQualified } from '../database/identifier.ts';
import type { CatalogRelation } from './catalog.ts';
import { columnsOf, type OccurrencePath } from './derive.ts';
import type { Advice } from './plan.ts';
import { display } from './refuse.ts';
import type { ResolvedDefinition } from './resolved.ts';

export function indexAdvice(
  definition: ResolvedDefinition,
  paths: readonly OccurrencePath[],
): readonly Advice[] {
  const advice = new Map<string, Advice>();
  const want = (occurrence: number, columns: readonly string[], purpose: string): void => {
    const { relation } = definition.occurrences[occurrence]!;
    const wanted = [...new Set(columns)];
    if (wanted.length === 0) return;
    if (hasIndex(relation, wanted)) return;
    const hint = `CREATE INDEX ON ${quoteQualified(relation.name)} (${wanted.map(quoteIdentifier).join(', ')});`;
    if (advice.has(hint)) return;
    const list = wanted.join(', ');
    advice.set(hint, {
      kind: 'missing-index',
      message: `table ${display(relation.name)} has no index on (${list}), by which ${purpose}`,
      hint,
    });
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
  return [...advice.values()];
}

/** Whether a lookup by all these columns can start an index scan that reads little more than it returns. */
function hasIndex({ indexes }: CatalogRelation, columns: readonly string[]): boolean {
  return indexes.some((index) => {
    const leading = index.columns.slice(0, columns.length);
    const covers =
      leading.length === columns.length && leading.every((name) => name !== null && columns.includes(name));
    const findsOne = index.isUnique && index.columns.every((name) => name !== null && columns.includes(name));
    return covers || findsOne;
  });
}
