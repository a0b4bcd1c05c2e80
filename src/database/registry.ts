/** What is registered in the database, as values; and the generator's inputs derived from it. */
import type { Column, QualifiedName, RefreshPlan, Source } from '../definition/plan.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import type { CapturedSource } from './capture.ts';
import type { SqlExecutor } from './executor.ts';
import { sqlFile } from './files.ts';
import type { FlushedTview } from './flush-function.ts';
import { quoteIdentifier, quoteQualified } from './identifier.ts';
import type { RefreshedTview } from './refresh-function.ts';

export interface RegisteredTview {
  readonly id: number;
  /** Of the table tv_x. */
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly requestedKey: readonly string[] | null;
  readonly keyOperators: readonly string[];
  readonly plan: RefreshPlan;
  /** In the order of `plan.sources`. */
  readonly sourceIds: readonly number[];
}

export interface RegisteredSource {
  readonly id: number;
  readonly oid: number;
  readonly kind: Source['kind'];
}

export interface Settings {
  readonly lockSpace: number;
  readonly noticeBytes: number;
  readonly fullRefreshShare: number;
}

export interface Registry {
  readonly settings: Settings;
  readonly tviews: readonly RegisteredTview[];
  readonly sources: readonly RegisteredSource[];
}

/** The lock key beside the tviews' ids, which start at 1: applies, drops and migrations, one at a time. */
export const applyLock = 0;
export const defaultLockSpace = 1953916265;

const registrySql = sqlFile('registry.sql');

export async function loadRegistry(executor: SqlExecutor): Promise<Registry> {
  await requireInstalled(executor);
  const [row] = await executor.query<{
    settings: Record<string, string>;
    tviews: RegisteredTview[];
    sources: RegisteredSource[];
  }>(registrySql());
  const { settings, tviews, sources } = row!;
  return {
    settings: {
      lockSpace: numberSetting(settings, 'lock_space', Number.isSafeInteger),
      noticeBytes: numberSetting(
        settings,
        'notice_bytes',
        (value) => Number.isSafeInteger(value) && value >= 0,
      ),
      fullRefreshShare: numberSetting(settings, 'full_refresh_share', (value) => value >= 0),
    },
    tviews,
    sources,
  };
}

function numberSetting(
  settings: Record<string, string>,
  name: string,
  isValid: (value: number) => boolean,
): number {
  const text = settings[name];
  const value = Number(text);
  if (text === undefined || text.trim() === '' || !isValid(value)) {
    throw new TviewsError(
      SqlState.invalidParameterValue,
      `invalid value in tviews.setting for "${name}": ${text}`,
    );
  }
  return value;
}

export async function requireInstalled(executor: SqlExecutor): Promise<void> {
  const [row] = await executor.query<{ installed: boolean }>(
    `SELECT pg_catalog.to_regclass('tviews.migration') IS NOT NULL AS installed`,
  );
  if (!row!.installed) {
    throw new TviewsError(SqlState.objectNotInPrerequisiteState, 'tviews is not installed in this database', {
      hint: 'Run "tviews init" first.',
    });
  }
}

/** The tview a name means, as the executor's search_path resolves it. A name in dotted form or in its two parts. */
export async function findTview(
  executor: SqlExecutor,
  registry: Registry,
  name: string | { readonly schema: string | null; readonly name: string },
): Promise<RegisteredTview | undefined> {
  const written =
    typeof name === 'string'
      ? name
      : name.schema === null
        ? quoteIdentifier(name.name)
        : quoteQualified({ schema: name.schema, name: name.name });
  const [row] = await executor.query<{ oid: string | null }>(
    'SELECT pg_catalog.to_regclass($1)::oid::bigint AS oid',
    [written],
  );
  const oid = Number(row!.oid ?? 0);
  return registry.tviews.find((tview) => tview.oid === oid);
}

export async function requireTview(
  executor: SqlExecutor,
  registry: Registry,
  name: string | { readonly schema: string | null; readonly name: string },
): Promise<RegisteredTview> {
  const tview = await findTview(executor, registry, name);
  if (tview === undefined) {
    const shown =
      typeof name === 'string' ? name : name.schema === null ? name.name : `${name.schema}.${name.name}`;
    throw new TviewsError(SqlState.undefinedObject, `tview "${shown}" does not exist`);
  }
  return tview;
}

/** The tviews that read this one, directly. */
export function readersOf(registry: Registry, tview: RegisteredTview): RegisteredTview[] {
  const own = registry.sources.find(({ oid }) => oid === tview.oid);
  return own === undefined ? [] : registry.tviews.filter(({ sourceIds }) => sourceIds.includes(own.id));
}

/** Every table source whose writers can have something to flush into this tview: through other tviews as well. */
export function tablesBelow(registry: Registry, plan: Pick<RefreshPlan, 'sources'>): QualifiedName[] {
  const tables = new Map<number, QualifiedName>();
  const visit = (sources: RefreshPlan['sources']): void => {
    for (const source of sources) {
      if (source.kind === 'table') {
        tables.set(source.oid, source.table);
        continue;
      }
      const below = registry.tviews.find(
        ({ schema, name }) => schema === source.table.schema && name === source.table.name,
      );
      if (below !== undefined) visit(below.plan.sources);
    }
  };
  visit(plan.sources);
  // By oid: one global order, so that two applies, or an apply and pg_dump, never wait for each other in a circle.
  return [...tables].toSorted(([a], [b]) => a - b).map(([, table]) => table);
}

/** A source as the union of what its readers need; undefined where nobody reads it. */
export function capturedSource(
  registry: Registry,
  id: number,
): (CapturedSource & { table: QualifiedName }) | undefined {
  const linkColumns = new Map<string, Column>();
  const referenced = new Set<string>();
  const readers: { tview: number; referencedColumns: string[] }[] = [];
  let last: Source | undefined;
  for (const tview of registry.tviews) {
    const source = tview.plan.sources[tview.sourceIds.indexOf(id)];
    if (source === undefined) continue;
    last = source;
    for (const column of source.linkColumns) linkColumns.set(column.name, column);
    for (const name of source.referencedColumns) referenced.add(name);
    for (const column of source.linkColumns) referenced.add(column.name);
    readers.push({
      tview: tview.id,
      referencedColumns: [
        ...new Set([...source.referencedColumns, ...source.linkColumns.map(({ name }) => name)]),
      ],
    });
  }
  if (last === undefined) return undefined;
  return {
    id,
    table: last.table,
    linkColumns: [...linkColumns.values()],
    referencedColumns: [...referenced],
    primaryKey: last.primaryKey,
    readers,
  };
}

export function refreshedTview(registry: Registry, tview: RegisteredTview): RefreshedTview {
  const own = registry.sources.find(({ oid }) => oid === tview.oid);
  return {
    id: tview.id,
    plan: tview.plan,
    sourceIds: tview.sourceIds,
    keyEquality: tview.keyOperators,
    asSource: (own && capturedSource(registry, own.id)) ?? null,
  };
}

export function flushedTviews(registry: Registry): FlushedTview[] {
  return registry.tviews.map((tview) => ({
    id: tview.id,
    table: tview.plan.table,
    sourceIds: tview.sourceIds,
    ownSourceId: registry.sources.find(({ oid }) => oid === tview.oid)?.id ?? null,
  }));
}
