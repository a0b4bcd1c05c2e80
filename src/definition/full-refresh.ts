/**
 * `WITH (full_refresh = …)`: what is told of the tables of which a change may reach any key, and who agrees to it. Such a
 * change makes every row be computed anew, alone: exact, and as slow as the whole view.
 */
import { writtenName } from '../database/identifier.ts';
import { RefusedDefinition } from '../errors/errors.ts';
import type { CatalogRelation } from './catalog.ts';
import type { ChosenKey } from './key.ts';
import { display, refusal, refuse } from './refuse.ts';
import type { ResolvedDefinition } from './resolved.ts';

/** All tables, or these by their oids; none. */
export type FullRefresh = '*' | readonly number[];

/** Refuses, with the first reason, unless every table that needs it is listed. */
export function coverUnbounded(
  definition: ResolvedDefinition,
  key: ChosenKey,
  unbounded: ReadonlyMap<number, RefusedDefinition>,
  listed: FullRefresh,
): void {
  refuseUnread(definition, listed);
  const occurrences = definition.occurrences.filter(({ index }) => unbounded.has(index));
  const isListed = ({ oid }: CatalogRelation): boolean => listed === '*' || listed.includes(oid);
  const open = occurrences.filter(({ relation }) => !isListed(relation));
  // What a construct hides is no longer looked into for links, so it is the first to tell.
  const [first] = [...open.filter((occurrence) => occurrence.unbounded !== null), ...open];
  if (first !== undefined) {
    const { message, detail, hint } = unbounded.get(first.index)!;
    const names = [...new Set(occurrences.map(({ relation }) => writtenName(relation.name)))].join(', ');
    throw refusal(
      message,
      detail ?? '',
      `${hint} Or accept that each transaction that changes what stands there computes every row, alone: WITH (full_refresh = '${names.replaceAll("'", "''")}').`,
    );
  }
  const [noKey] = key.readings;
  if (key.outputs.length === 0 && noKey instanceof RefusedDefinition) throw noKey;
}

/** A table that is misspelt, or read no more, would be listed in vain. */
function refuseUnread({ occurrences }: ResolvedDefinition, listed: FullRefresh): void {
  if (listed === '*') return;
  if (listed.every((oid) => occurrences.some(({ relation }) => relation.oid === oid))) return;
  const tables = [...new Set(occurrences.map(({ relation }) => display(relation.name)))];
  refuse(
    'option "full_refresh" names a table that the definition does not read',
    `It reads ${tables.join(', ')}.`,
    'Name tables, not views over them.',
  );
}
