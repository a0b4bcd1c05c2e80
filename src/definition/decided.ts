/**
 * Of the columns a query is grouped by, those that tell its groups apart. People group by what they show: by a primary key, and by the
 * name beside it, which the key decides. Such a name is no part of the key that nobody has named.
 */
import { closeLinks, columnLookup, isTransparent, type Link } from './links.ts';
import { columnKey, type Origin, type ResolvedDefinition } from './resolved.ts';

/** The columns of `grouping` by which the others are decided, in order. All of it where that is not sure. */
export function decidedBy(definition: ResolvedDefinition, grouping: readonly Origin[]): readonly Origin[] {
  // In another reading the columns are others.
  if (definition.readings.length > 1) return grouping;
  const columnOf = columnLookup(definition);
  const links = closeLinks(definition, columnOf).filter((link) => isTransparent(link, columnOf));
  // From the end: what stands first is what the query is about.
  return grouping.reduceRight<readonly Origin[]>((kept, origin) => {
    const others = kept.filter((one) => one !== origin);
    return decides(definition, links, others, origin) ? others : kept;
  }, grouping);
}

function decides(
  definition: ResolvedDefinition,
  links: readonly Link[],
  known: readonly Origin[],
  wanted: Origin,
): boolean {
  if (wanted.kind !== 'column' && wanted.kind !== 'expression') return false;
  const columns = new Set(
    known.flatMap((origin) =>
      origin.kind === 'column' ? [columnKey(origin.occurrence, origin.column)] : [],
    ),
  );
  const rows = new Set<number>();
  const isKnown = (occurrence: number, column: string): boolean =>
    rows.has(occurrence) || columns.has(columnKey(occurrence, column));
  // One row at a time: by its primary key, whose columns are known or equal such as are.
  const next = () =>
    definition.occurrences.find(
      ({ index, relation: { primaryKey } }) =>
        !rows.has(index) &&
        primaryKey !== null &&
        primaryKey.every(
          (column) =>
            isKnown(index, column) ||
            // A row that is not always there may be missing although its key is known.
            (definition.always.has(index) &&
              links.some(
                ({ from, to }) =>
                  from.occurrence === index && from.column === column && isKnown(to.occurrence, to.column),
              )),
        ),
    );
  for (let found = next(); found !== undefined; found = next()) rows.add(found.index);
  return rows.has(wanted.occurrence);
}
