/** Reads the registry: for people (list, status) and for the proxy. */
import type { Advice, QualifiedName } from '../definition/plan.ts';
import { display } from '../definition/refuse.ts';
import type { SqlExecutor } from './executor.ts';
import { type ChangedFamily, changedFamilies } from './family.ts';
import { readMigrations, sqlFile } from './files.ts';
import { foresee } from './follow.ts';
import {
  type Construction,
  isBeside,
  loadRegistry,
  type Moved,
  movedOf,
  type Problem,
  type Registry,
  requireCurrent,
  requireInstalled,
} from './registry.ts';
import { rolledBack } from './session.ts';

const listSql = sqlFile('list.sql');
const blindSql = sqlFile('blind-sources.sql');
const proxyRegistrySql = sqlFile('proxy-registry.sql');

export interface NamedObject {
  readonly id: number;
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
}

export interface ListedTview {
  readonly id: number;
  readonly schema: string;
  readonly name: string;
  readonly key: readonly string[];
  readonly definition: string;
  readonly createdAt: Date;
  readonly changedAt: Date;
  /** Since when it goes stale; null where it is kept in step. */
  readonly suspendedAt: Date | null;
  /** As the planner has it; null where nobody has counted yet. */
  readonly estimatedRows: number | null;
  /** With indexes and long values. */
  readonly bytes: number;
  readonly sources: readonly {
    readonly id: number;
    readonly kind: 'table' | 'tview';
    readonly schema: string;
    readonly name: string;
    /** Whether each change of it computes every row (`WITH (full_refresh = …)`). */
    readonly fullRefresh: boolean;
  }[];
  readonly advice: readonly Advice[];
  /** Where "tviews apply" has not filled all of it yet. */
  readonly construction: Construction | null;
}

export async function listTviews(executor: SqlExecutor): Promise<ListedTview[]> {
  await requireInstalled(executor);
  await requireCurrent(executor);
  const rows = await executor.query<{
    id: number;
    schema: string;
    name: string;
    key: string[];
    definition: string;
    created_at: Date;
    changed_at: Date;
    suspended_at: Date | null;
    estimated_rows: string;
    bytes: string;
    sources: ListedTview['sources'] | null;
    advice: Advice[];
    construction: Construction | null;
  }>(listSql());
  return rows.map((row) => ({
    id: row.id,
    schema: row.schema,
    name: row.name,
    key: row.key,
    definition: row.definition,
    createdAt: row.created_at,
    changedAt: row.changed_at,
    suspendedAt: row.suspended_at,
    estimatedRows: Number(row.estimated_rows) < 0 ? null : Number(row.estimated_rows),
    bytes: Number(row.bytes),
    sources: row.sources ?? [],
    advice: row.advice,
    construction: row.construction,
  }));
}

export interface Status {
  readonly installed: boolean;
  /** Numbers of migrations this program has and the database has not run: `tviews init` is due. */
  readonly pendingMigrations: readonly number[];
  readonly tviews: number;
  readonly sources: number;
  /** Changes in the queue that the asking session can see: always 0, unless it owes them itself. */
  readonly queued: number;
  /** Transactions that kept their snapshot, and that nobody has looked at again for longer than a proxy takes. */
  readonly toRepair: number;
  /** Tables whose writes go unseen, with the kinds of statement: every tview that reads them may be stale. */
  readonly blindTables: readonly {
    readonly schema: string;
    readonly name: string;
    readonly events: readonly string[];
  }[];
  /** Sources that have got or lost partitions or children since their capture was generated. */
  readonly changedFamilies: readonly ChangedFamily[];
  /** Tviews that "tviews apply" has begun to build, or to give columns, and not finished. */
  readonly building: readonly (QualifiedName & { readonly construction: Construction })[];
  /** Tviews that are stale because somebody wants it so. */
  readonly suspended: readonly (QualifiedName & { readonly since: Date })[];
  /** What tviews read by a name it has no more: renamed, replaced by another table of its name, or dropped. */
  readonly moved: readonly Moved[];
  readonly definitions: readonly ChangedDefinition[];
}

/** A tview of which the catalog says something else than when its plan was made. */
export interface ChangedDefinition {
  readonly tview: QualifiedName;
  /** Why it cannot be followed; null where it can. */
  readonly problem: Problem | null;
}

/** For people: what is to be done. */
export function describeDefinition({ tview, problem }: ChangedDefinition): string {
  const name = display(tview);
  if (problem === null)
    return `what tview ${name} reads was changed: run "tviews init", then "tviews verify --repair"`;
  const { message, detail, hint } = problem;
  const why = [detail, hint].filter((part) => part !== null).join(' ');
  return `tview ${name} cannot follow a change of the schema: ${message}${why === '' ? '' : `. ${why}`}`;
}

/** `executor` must not be inside a transaction. */
export async function changedDefinitions(
  executor: SqlExecutor,
  registry: Registry,
): Promise<ChangedDefinition[]> {
  return await rolledBack(executor, 'READ ONLY', async () => {
    const found = await foresee(executor, registry);
    return found.filter(({ outcome }) => outcome !== 'noted');
  });
}

export async function status(executor: SqlExecutor): Promise<Status> {
  const migrations = readMigrations().map(({ number }) => number);
  const [exists] = await executor.query<{ installed: boolean }>(
    `SELECT pg_catalog.to_regclass('tviews.migration') IS NOT NULL AS installed`,
  );
  if (!exists!.installed) {
    return {
      installed: false,
      pendingMigrations: migrations,
      tviews: 0,
      sources: 0,
      queued: 0,
      toRepair: 0,
      blindTables: [],
      changedFamilies: [],
      building: [],
      suspended: [],
      moved: [],
      definitions: [],
    };
  }
  const [row] = await executor.query<{ done: number[]; tviews: string; sources: string; queued: string }>(
    `SELECT
       ARRAY(SELECT m.number FROM tviews.migration AS m) AS done,
       (SELECT pg_catalog.count(*) FROM tviews.tview) AS tviews,
       (SELECT pg_catalog.count(*) FROM tviews.source) AS sources,
       (SELECT pg_catalog.count(*) FROM tviews.queue) AS queued`,
  );
  const pendingMigrations = migrations.filter((number) => !row!.done.includes(number));
  const isCurrent = pendingMigrations.length === 0;
  const registry = isCurrent ? await loadRegistry(executor) : null;
  return {
    installed: true,
    pendingMigrations,
    tviews: Number(row!.tviews) - (registry?.tviews.filter(isBeside).length ?? 0),
    sources: Number(row!.sources),
    queued: Number(row!.queued),
    toRepair: isCurrent ? await countToRepair(executor) : 0,
    // What these ask for, an older schema does not have.
    blindTables: isCurrent ? await executor.query<Status['blindTables'][number]>(blindSql()) : [],
    changedFamilies: isCurrent ? await changedFamilies(executor) : [],
    building:
      registry?.tviews.flatMap(({ schema, name, construction }) =>
        construction === null ? [] : [{ schema, name, construction }],
      ) ?? [],
    suspended: isCurrent ? await executor.query<Status['suspended'][number]>(suspendedTviews) : [],
    moved: registry?.tviews.flatMap((tview) => movedOf(registry, tview)) ?? [],
    definitions: registry === null ? [] : await changedDefinitions(executor, registry),
  };
}

const suspendedTviews = `
  SELECT t.schema, t.name, t.suspended_at AS since
  FROM tviews.tview AS t
  WHERE t.suspended_at IS NOT NULL
  ORDER BY t.schema, t.name`;

async function countToRepair(executor: SqlExecutor): Promise<number> {
  const [row] = await executor.query<{ count: string }>(
    `SELECT pg_catalog.count(*) FROM tviews.repair WHERE recorded_at < pg_catalog.now() - interval '10 seconds'`,
  );
  return Number(row!.count);
}

/** What the proxy knows of a database. */
export interface ProxyRegistry {
  readonly sources: readonly (NamedObject & {
    readonly kind: 'table' | 'tview';
    /** Other tables whose statements can write rows of it: partitions, children, what it is a partition of. */
    readonly members: readonly string[];
  })[];
  readonly tviews: readonly (NamedObject & {
    readonly isSuspended: boolean;
    /** What it is to be; null where it is whole. */
    readonly becomes: string | null;
  })[];
  /** Views that read tviews, directly or through other views, with the ids of those tviews. */
  readonly views: readonly {
    readonly oid: number;
    readonly schema: string;
    readonly name: string;
    readonly tviews: readonly number[];
  }[];
  readonly secret: Buffer;
  /** Oids for the FunctionCall message; they stay the same while the schema is installed. */
  readonly functions: { readonly claim: number; readonly flush: number };
}

/** Only for the owner of schema tviews, who alone may read the secret. Null where tviews is not installed. */
export async function readRegistry(executor: SqlExecutor): Promise<ProxyRegistry | null> {
  const [exists] = await executor.query<{ installed: boolean }>(
    `SELECT pg_catalog.to_regclass('tviews.migration') IS NOT NULL AS installed`,
  );
  if (!exists!.installed) return null;
  await requireCurrent(executor);
  const [row] = await executor.query<{
    sources: ProxyRegistry['sources'];
    tviews: ProxyRegistry['tviews'];
    views: ProxyRegistry['views'];
    secret: Buffer;
    claim: string;
    flush: string;
  }>(proxyRegistrySql());
  const { sources, tviews, views, secret, claim, flush } = row!;
  return {
    sources,
    tviews,
    views,
    secret,
    functions: { claim: Number(claim), flush: Number(flush) },
  };
}
