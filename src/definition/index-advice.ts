/**
 * Advice on indexes. A refresh looks rows up in both directions of a link: from a changed row towards the key (the key
 * query's probes), and from a key down to the rows it is computed from. Either without an index reads the whole table.
 */
import { quoteIdentifier, quoteQualified } from '../database/identifier.ts';
import type { CatalogIndex } from './catalog.ts';
import type { AnalysedDefinition } from './compile.ts';
import type { KeyPart } from './derive.ts';
import { expressionKey, render } from './expression.ts';
import type { Computed } from './key.ts';
import { columnLookup, isContained } from './links.ts';
import type { Advice, QualifiedName } from './plan.ts';
import { display } from './refuse.ts';
import type { Operand } from './resolved.ts';

/** A lookup a refresh makes, and the index that serves it. */
export interface WantedIndex {
  readonly table: QualifiedName;
  /** For people, where it is by an expression. */
  readonly columns: readonly string[];
  /** What is done by it, the first one where there are several: "changes are mapped to keys", "rows are recomputed". */
  readonly purpose: string;
  /** Its name; null where none serves. */
  readonly index: string | null;
  /** The statement that creates one; null where PostgreSQL has none. */
  readonly create: string | null;
  /** That, or what else to do. */
  readonly hint: string;
}

/** What an index can be by. */
interface Part {
  /** As an index has it among its columns. */
  readonly name: string;
  readonly shown: string;
  readonly sql: string;
  /** What is not immutable is in no index. */
  readonly isIndexable: boolean;
}

const ofColumn = (name: string): Part => ({
  name,
  shown: name,
  sql: quoteIdentifier(name),
  isIndexable: true,
});

const ofExpression = ({ pieces, immutableSince }: Computed, serverVersion: number): Part => ({
  name: expressionKey(pieces),
  shown: render(pieces, { column: (name) => name, isShown: true }),
  sql: `(${render(pieces, { column: quoteIdentifier, isShown: true })})`,
  isIndexable: serverVersion >= immutableSince,
});

function partsOf(keyParts: readonly KeyPart[], serverVersion: number): Part[] {
  return keyParts.flatMap((part) => {
    if (part.kind === 'constant') return [];
    return [part.kind === 'column' ? ofColumn(part.column) : ofExpression(part, serverVersion)];
  });
}

const noIndex =
  "PostgreSQL has no index on what depends on a setting: write date_trunc('day', t AT TIME ZONE 'UTC'), a || b for concat(a, b), or store the value in a column.";

export type Indexed = Pick<AnalysedDefinition, 'catalog' | 'definition' | 'bounded' | 'expressionIndexes'>;

/** Both sides of a link as far as one index can serve them together: what is in an array has one of its own. */
const plain = (sides: readonly Operand[]): Part[] =>
  sides.flatMap(({ column, isElement }) => (isElement ? [] : [ofColumn(column)]));

export function wantedIndexes({
  catalog,
  definition,
  bounded,
  expressionIndexes,
}: Indexed): readonly WantedIndex[] {
  const columnOf = columnLookup(definition);
  const found = new Map<string, WantedIndex>();
  const want = (occurrence: number, parts: readonly Part[], purpose: string): void => {
    const { relation } = definition.occurrences[occurrence]!;
    const wanted = [...new Map(parts.map((part) => [part.name, part])).values()];
    if (wanted.length === 0) return;
    const lookup = JSON.stringify([relation.oid, wanted.map(({ name }) => name)]);
    if (found.has(lookup)) return;
    // One on the others is better than none.
    const indexed = wanted.filter(({ isIndexable }) => isIndexable);
    const list = indexed.map(({ sql }) => sql).join(', ');
    const create = list === '' ? null : `CREATE INDEX ON ${quoteQualified(relation.name)} (${list});`;
    const indexes = [...relation.indexes, ...(expressionIndexes.get(relation.oid) ?? [])];
    const names = indexed.map(({ name }) => name);
    const index = create === null ? null : (indexFor(indexes, names)?.name ?? null);
    const columns = (create === null ? wanted : indexed).map(({ shown }) => shown);
    found.set(lookup, { table: relation.name, columns, purpose, index, create, hint: create ?? noIndex });
  };
  const wantElements = (occurrence: number, column: string, purpose: string): void => {
    const { relation } = definition.occurrences[occurrence]!;
    const create = `CREATE INDEX ON ${quoteQualified(relation.name)} USING gin (${quoteIdentifier(column)});`;
    const index = relation.indexes.find(
      ({ method, columns }) => method === 'gin' && columns.includes(column),
    );
    found.set(create, {
      table: relation.name,
      columns: [column],
      purpose,
      index: index?.name ?? null,
      create,
      hint: create,
    });
  };
  for (const { hops } of bounded) {
    for (const { to, links } of hops) {
      const purpose = 'changes are mapped to keys';
      want(to, plain(links.map((link) => link.to)), purpose);
      for (const link of links) if (isContained(link, columnOf)) wantElements(to, link.to.column, purpose);
    }
  }
  for (const { occurrence, hops, keyParts } of bounded) {
    const [first] = hops;
    const parts =
      first === undefined
        ? partsOf(keyParts, catalog.serverVersion)
        : plain(first.links.map(({ from }) => from));
    want(occurrence, parts, 'rows are recomputed');
  }
  return [...found.values()];
}

export function indexAdvice(analysed: Indexed): readonly Advice[] {
  return wantedIndexes(analysed)
    .filter(({ index }) => index === null)
    .map(({ table, columns, purpose, hint }) => ({
      kind: 'missing-index',
      message: `table ${display(table)} has no index on (${columns.join(', ')}), by which ${purpose}`,
      hint,
    }));
}

/** One with which a lookup by all these columns can start an index scan that reads little more than it returns. */
function indexFor(indexes: readonly CatalogIndex[], columns: readonly string[]): CatalogIndex | undefined {
  return indexes.find((index) => {
    if (index.method === 'gin') return false;
    const leading = index.columns.slice(0, columns.length);
    const covers =
      leading.length === columns.length && leading.every((name) => name !== null && columns.includes(name));
    const findsOne = index.isUnique && index.columns.every((name) => name !== null && columns.includes(name));
    return covers || findsOne;
  });
}
