/** Families of sources in the database: which tables carry a capture, which were there when it was generated, what to lock. */
import type { QualifiedName } from '../definition/plan.ts';
import type { SqlExecutor } from './executor.ts';
import { sqlFile } from './files.ts';
import { quoteQualified } from './identifier.ts';

const familySql = sqlFile('family.sql');
const topmostSql = sqlFile('topmost.sql');
const changedSql = sqlFile('changed-families.sql');

/** A table whose statements can write rows of a source. */
export interface Member extends QualifiedName {
  readonly oid: number;
  readonly isPartitioned: boolean;
  /** A partition of the source, at whatever level. */
  readonly isPartitionOfIt: boolean;
}

export async function membersOf(executor: SqlExecutor, oid: number): Promise<Member[]> {
  const rows = await executor.query<Omit<Member, 'oid'> & { oid: string }>(familySql(), [oid]);
  return rows.map((row) => ({ ...row, oid: Number(row.oid) }));
}

/**
 * Remembers who carries a source's capture. Where others did before, rows have come or gone that fired no trigger: all of it is
 * looked at again when this has committed, by the proxy or by `verify --repair`.
 */
export async function recordMembers(
  executor: SqlExecutor,
  sourceId: number,
  members: readonly Member[],
): Promise<void> {
  await executor.query(
    `WITH given AS (
       SELECT pg_catalog.array_agg(g.oid ORDER BY g.oid) AS members FROM pg_catalog.unnest($2::oid[]) AS g (oid)
     ), before AS (
       SELECT s.id, (
         SELECT pg_catalog.array_agg(m.oid::oid ORDER BY m.oid::oid)
         FROM pg_catalog.unnest(COALESCE(s.members, ARRAY[s.relation])) AS m (oid)
       ) AS members, s.members IS NULL AS is_new
       FROM tviews.source AS s
       WHERE s.id = $1
     ), noted AS (
       UPDATE tviews.source AS s SET members = given.members::pg_catalog.regclass[]
       FROM given
       WHERE s.id = $1
     )
     INSERT INTO tviews.repair (changes)
     SELECT pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('s', before.id, 'all', true))
     FROM before
     CROSS JOIN given
     WHERE NOT before.is_new AND before.members <> given.members`,
    [sourceId, members.map(({ oid }) => oid)],
  );
}

/** A source whose family has changed since its capture was generated. */
export interface ChangedFamily extends QualifiedName {
  /** Members it did not have then, and those it has no more. */
  readonly come: readonly string[];
  readonly gone: readonly string[];
}

export async function changedFamilies(executor: SqlExecutor): Promise<ChangedFamily[]> {
  return await executor.query<ChangedFamily>(changedSql());
}

export function describeChange({ schema, name, come, gone }: ChangedFamily): string {
  const parts = [
    ...(come.length === 0 ? [] : [`${come.join(', ')} came`]),
    ...(gone.length === 0 ? [] : [`${gone.join(', ')} went`]),
  ];
  return `of ${schema}.${name} have changed: ${parts.join('; ')}`;
}

export interface TableLock {
  readonly oid: number;
  readonly table: QualifiedName;
  readonly mode: 'SHARE ROW EXCLUSIVE' | 'ACCESS EXCLUSIVE';
}

/**
 * Locks tables with all of their families, in one order, by the oid of the topmost: from there down, as writers lock them too.
 * Each at once in the strongest mode it is wanted in.
 */
export async function lockFamilies(executor: SqlExecutor, locks: readonly TableLock[]): Promise<void> {
  const rows = await executor.query<{ below: string; oid: string; schema: string; name: string }>(
    topmostSql(),
    [locks.map(({ oid }) => oid)],
  );
  const strongest = new Map<number, TableLock>();
  for (const { below, oid, schema, name } of rows) {
    const { mode } = locks.find((lock) => lock.oid === Number(below))!;
    if (strongest.get(Number(oid))?.mode === 'ACCESS EXCLUSIVE') continue;
    strongest.set(Number(oid), { oid: Number(oid), table: { schema, name }, mode });
  }
  for (const { table, mode } of [...strongest.values()].toSorted((a, b) => a.oid - b.oid)) {
    await executor.query(`LOCK TABLE ${quoteQualified(table)} IN ${mode} MODE`);
  }
}
