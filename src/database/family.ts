/** Families of sources in the database: which tables carry a capture, which were there when it was generated, what to lock. */
import type { QualifiedName } from '../definition/plan.ts';
import { type CapturedSource, maximumImages } from './capture.ts';
import type { SqlExecutor } from './executor.ts';
import { sqlFile } from './files.ts';
import { quoteQualified } from './identifier.ts';
import { imageExpression } from './image.ts';
import { withSettings } from './session.ts';
import { computeSettings } from './settings.ts';

const familySql = sqlFile('family.sql');
const topmostSql = sqlFile('topmost.sql');
const changedSql = sqlFile('changed-families.sql');

/** A table whose statements can write rows of a source. */
export interface Member extends QualifiedName {
  readonly oid: number;
  readonly isPartitioned: boolean;
  /** A partition of the source, at whatever level. */
  readonly isPartitionOfIt: boolean;
  /** Not a foreign or temporary table, which was refused, and has come since. */
  readonly isWatched: boolean;
  readonly isReadable: boolean;
  /** Whether we are, or are a member of, its owner. */
  readonly isOurs: boolean;
}

/** By the oid of the source; from the topmost down, as writers lock them. */
export async function membersOf(
  executor: SqlExecutor,
  oids: readonly number[],
): Promise<ReadonlyMap<number, readonly Member[]>> {
  const rows = await executor.query<Omit<Member, 'oid'> & { source: string; oid: string }>(familySql(), [
    oids,
  ]);
  const members = new Map<number, Member[]>(oids.map((oid) => [oid, []]));
  for (const { source, oid, ...member } of rows)
    members.get(Number(source))!.push({ ...member, oid: Number(oid) });
  return members;
}

/** Remembers who carries a source's capture. */
export async function recordMembers(
  executor: SqlExecutor,
  carried: readonly { readonly id: number; readonly members: readonly Member[] }[],
): Promise<void> {
  if (carried.length === 0) return;
  const pairs = carried.flatMap(({ id, members }) => members.map(({ oid }) => ({ id, oid })));
  await executor.query(
    `UPDATE tviews.source AS s SET members = m.members
     FROM (
       SELECT c.id, pg_catalog.array_agg(c.oid::pg_catalog.regclass ORDER BY c.place) AS members
       FROM ROWS FROM (pg_catalog.unnest($1::integer[]), pg_catalog.unnest($2::oid[])) WITH ORDINALITY AS c (id, oid, place)
       GROUP BY c.id
     ) AS m
     WHERE s.id = m.id`,
    [pairs.map(({ id }) => id), pairs.map(({ oid }) => oid)],
  );
}

/**
 * Leaves what came and went with members of a source, and fired no trigger, to be looked at when this has committed: by a proxy, or
 * by `verify --repair`. Where there are only partitions more, the rows they have now: what was changed in them since they came was
 * captured. Of one that has gone nobody knows what it had. After the triggers are in place, in a statement that sees what was
 * written before.
 */
export async function leaveForRepair(
  executor: SqlExecutor,
  { id, linkColumns }: Pick<CapturedSource, 'id' | 'linkColumns'>,
  change: ChangedFamily,
  members: readonly Member[],
): Promise<void> {
  const came = members.filter(({ oid }) => change.comeOids.includes(oid));
  const isKnown =
    change.gone.length === 0 &&
    came.length === change.comeOids.length &&
    came.every((member) => member.isPartitionOfIt && member.isWatched && member.isReadable);
  if (!isKnown) {
    await recordRepair(executor, { s: id, all: true });
    return;
  }
  const images = came
    .filter(({ isPartitioned }) => !isPartitioned)
    .map(
      (member) => `SELECT ${imageExpression('r', linkColumns)} AS image FROM ${quoteQualified(member)} AS r`,
    );
  if (images.length === 0) return;
  const [found] = await withSettings(executor, computeSettings, () =>
    executor.query<{ images: unknown }>(
      `SELECT CASE WHEN count(*) > ${maximumImages} THEN 'true' ELSE jsonb_agg(i.image) END AS images
       FROM (${images.join(' UNION ')} LIMIT ${maximumImages + 1}) AS i`,
    ),
  );
  if (found!.images === true) await recordRepair(executor, { s: id, all: true });
  else if (found!.images !== null) await recordRepair(executor, { s: id, r: found!.images });
}

/** Leaves a change to be looked at when this has committed. */
export async function recordRepair(
  executor: SqlExecutor,
  change: Readonly<Record<string, unknown>>,
): Promise<void> {
  await executor.query('INSERT INTO tviews.repair (changes) VALUES ($1::text::jsonb)', [
    JSON.stringify([change]),
  ]);
}

/** A source whose family has changed since its capture was generated. */
export interface ChangedFamily extends QualifiedName {
  readonly source: number;
  /** Members it did not have then, or has lost and got back since, and those it has no more. */
  readonly come: readonly string[];
  readonly comeOids: readonly number[];
  readonly gone: readonly string[];
  readonly isPartitioned: boolean;
  /** Nothing was recorded of it so far. */
  readonly isFirst: boolean;
}

/** Of all sources, or of some. */
export async function changedFamilies(
  executor: SqlExecutor,
  sources: readonly number[] | null = null,
): Promise<ChangedFamily[]> {
  if (sources?.length === 0) return [];
  // Most tables have no family, never had one, and planning the query about those that have takes ten times as long.
  const related = await executor.query<{ id: number }>(
    `SELECT s.id FROM tviews.source AS s
     WHERE s.kind = 'table' AND ($1::integer[] IS NULL OR s.id = ANY ($1))
       AND (
         COALESCE(s.members, ARRAY[s.relation]) <> ARRAY[s.relation]
         OR EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = s.relation OR i.inhparent = s.relation)
       )`,
    [sources],
  );
  if (related.length === 0) return [];
  return await executor.query<ChangedFamily>(changedSql(), [related.map(({ id }) => id)]);
}

/** For people: what has changed, and what to do. */
export function describeChange({ schema, name, come, gone, isPartitioned }: ChangedFamily): string {
  const parts = [
    ...(come.length === 0 ? [] : [`${come.join(', ')} came`]),
    ...(gone.length === 0 ? [] : [`${gone.join(', ')} went`]),
  ];
  return `${isPartitioned ? 'partitions' : 'family'} of ${schema}.${name} changed: ${parts.join('; ')}: run "tviews init", then "tviews verify --repair"`;
}

export interface TableLock {
  readonly oid: number;
  readonly table: QualifiedName;
  readonly mode: 'SHARE ROW EXCLUSIVE' | 'ACCESS EXCLUSIVE';
}

/**
 * Locks on tables with all of their families, in one order: by the oid of the topmost, from there down, as writers lock them
 * too. Each at once in the strongest mode it is wanted in.
 */
export async function familyLocks(
  executor: SqlExecutor,
  wanted: readonly TableLock[],
): Promise<readonly TableLock[]> {
  const rows = await executor.query<{ below: string; oid: string; schema: string; name: string }>(
    topmostSql(),
    [wanted.map(({ oid }) => oid)],
  );
  const strongest = new Map<number, TableLock>();
  for (const { below, oid, schema, name } of rows) {
    const { mode } = wanted.find((lock) => lock.oid === Number(below))!;
    if (strongest.get(Number(oid))?.mode === 'ACCESS EXCLUSIVE') continue;
    strongest.set(Number(oid), { oid: Number(oid), table: { schema, name }, mode });
  }
  return [...strongest.values()].toSorted((a, b) => a.oid - b.oid);
}
