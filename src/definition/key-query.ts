/**
 * Writes the key query of a path: from the images of changed rows through the path's tables to the key. Link predicates
 * only: a filter or a join off the path could hide a key from a change that removes what the filter reads (§3.3, §3.5 R2).
 */
import { quoteIdentifier, quoteQualified } from '../database/identifier.ts';
import { columnsOf, type KeyPart, type OccurrencePath } from './derive.ts';
import { render, shownExpression } from './expression.ts';
import type { KeyColumn } from './key.ts';
import { columnLookup, type Link, linkCondition } from './links.ts';
import type { Occurrence, QualifiedName } from './plan.ts';
import {
  type Operand,
  type ResolvedDefinition,
  shownOccurrence,
  shownOperand,
  withCasts,
} from './resolved.ts';

export interface KeyQuery {
  readonly occurrence: Occurrence;
  /** Columns it reads from `changed`. */
  readonly reads: readonly string[];
}

export function writeKeyQuery(
  definition: ResolvedDefinition,
  key: readonly KeyColumn[],
  path: OccurrencePath,
): KeyQuery {
  const columnOf = columnLookup(definition);
  const aliases = chooseAliases(definition, path);
  const reads = new Set<string>();
  const probes: { table: QualifiedName; columns: readonly string[] }[] = [];

  const column = (occurrence: number, name: string): string => {
    if (occurrence !== path.occurrence)
      return `${quoteIdentifier(aliases.get(occurrence)!)}.${quoteIdentifier(name)}`;
    reads.add(name);
    return `changed.${quoteIdentifier(name)}`;
  };
  // A link compares under the collation that its column has.
  const operand = (side: Operand): string => {
    const { occurrence, column: name } = side;
    const { collation } = columnOf(occurrence, name);
    const collate = occurrence === path.occurrence && collation !== null ? ` COLLATE ${collation}` : '';
    return withCasts(`${column(occurrence, name)}${collate}`, side);
  };

  const joins = path.hops.map(({ to, links }) => {
    const { relation } = definition.occurrences[to]!;
    probes.push({ table: relation.name, columns: [...new Set(links.map((link) => link.to.column))] });
    const conditions = links.map((link) =>
      linkCondition(link, columnOf, operand(link.from), operand(link.to)),
    );
    return `JOIN ${quoteQualified(relation.name)} AS ${quoteIdentifier(aliases.get(to)!)} ON ${conditions.join(' AND ')}`;
  });
  const last = path.hops.at(-1)?.to ?? path.occurrence;
  const partSql = (part: KeyPart): string => {
    if (part.kind === 'constant') return part.sql;
    if (part.kind === 'column') return column(last, part.column);
    return `(${render(part.pieces, { column: (name) => column(last, name) })})`;
  };
  const outputs = key.map(({ output }, place) => {
    const part = path.keyParts[place]!;
    return `${partSql(part)}::${output.type} AS ${quoteIdentifier(output.name)}`;
  });
  // A key is never null; a row whose link is null belongs to no key.
  const own = columnsOf(path.keyParts);
  const nullable = [
    ...own.filter((name) => !columnOf(last, name).notNull).map((name) => column(last, name)),
    ...path.keyParts.filter(({ kind }) => kind === 'expression').map(partSql),
  ].map((value) => `${value} IS NOT NULL`);
  const keyQuery = [
    `SELECT ${outputs.join(', ')}`,
    'FROM changed',
    ...joins,
    ...(nullable.length === 0 ? [] : [`WHERE ${nullable.join(' AND ')}`]),
  ].join('\n');

  const { index, alias } = definition.occurrences[path.occurrence]!;
  return {
    occurrence: {
      index,
      alias,
      mapping: path.hops.length === 0 ? 'local' : 'mapped',
      keyColumns: path.hops.length === 0 && own.length === key.length ? own : null,
      path: describePath(definition, key, path),
      keyQuery,
      probes,
    },
    reads: [...reads],
  };
}

/** Of an occurrence of which a change may reach any key. */
export function everyKey(definition: ResolvedDefinition, index: number): KeyQuery {
  return {
    occurrence: {
      index,
      alias: definition.occurrences[index]!.alias,
      mapping: 'everything',
      keyColumns: null,
      path: `${shownOccurrence(definition, index)} → every row`,
      keyQuery: null,
      probes: [],
    },
    reads: [],
  };
}

/** The definition's aliases, made distinct: subqueries beside each other may use one twice. */
function chooseAliases(definition: ResolvedDefinition, path: OccurrencePath): ReadonlyMap<number, string> {
  const taken = new Set(['changed']);
  const aliases = new Map<number, string>();
  for (const { to } of path.hops) {
    const { alias } = definition.occurrences[to]!;
    let name = alias;
    for (let number = 2; taken.has(name); number += 1) name = numbered(alias, number);
    taken.add(name);
    aliases.set(to, name);
  }
  return aliases;
}

/** The server cuts names to 63 bytes, and with them the number that tells two apart. */
function numbered(alias: string, number: number): string {
  const suffix = `_${number}`;
  const characters = [...alias];
  while (Buffer.byteLength(characters.join('') + suffix) > 63) characters.pop();
  return characters.join('') + suffix;
}

/** `category c → product p (p.fk_category = c.pk_category)`; where there is no hop, which columns are the key. */
function describePath(
  definition: ResolvedDefinition,
  key: readonly KeyColumn[],
  path: OccurrencePath,
): string {
  const name = (occurrence: number): string => shownOccurrence(definition, occurrence);
  const hops = path.hops.map(
    ({ to, links }) => ` → ${name(to)} (${shownLinks(definition, links).join(' and ')})`,
  );
  if (hops.length > 0) return `${name(path.occurrence)}${hops.join('')}`;
  return `${name(path.occurrence)} (${shownKey(definition, key, path).join(', ')})`;
}

/** For people, from the key's side: `p.fk_category = c.pk_category`. */
export const shownLinks = (definition: ResolvedDefinition, links: readonly Link[]): string[] =>
  links.map(({ from, to }) => {
    const [far, near] = [from, to].map((side) => shownOperand(definition, side));
    if (to.isElement) return `${far} = ANY (${near})`;
    return from.isElement ? `${near} = ANY (${far})` : `${near} = ${far}`;
  });

/** For people: the columns of a row that has the key itself, `p.pk_product` or `r.fk_product = pk_product`. */
export function shownKey(
  { occurrences }: ResolvedDefinition,
  key: readonly KeyColumn[],
  path: OccurrencePath,
): string[] {
  const { alias } = occurrences[path.occurrence]!;
  return path.keyParts.map((part, place) => {
    const { output, ...whole } = key[place]!;
    if (part.kind === 'constant') return `${output.name} = ${part.sql}`;
    if (part.kind === 'expression') return shownExpression(part.pieces, alias);
    const isItself = whole.kind === 'column' && whole.occurrence === path.occurrence;
    return isItself ? `${alias}.${part.column}` : `${alias}.${part.column} = ${output.name}`;
  });
}
