/** What is registered in the database, as values; and the generator's inputs derived from it. */
import { isDeepStrictEqual } from 'node:util';
import {
  type Column,
  changesEverything,
  type Form,
  type QualifiedName,
  type RefreshPlan,
  type Source,
} from '../definition/plan.ts';
import { display } from '../definition/refuse.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import type { CapturedSource } from './capture.ts';
import type { SqlExecutor } from './executor.ts';
import { readMigrations, sqlFile } from './files.ts';
import type { FlushedTview } from './flush-function.ts';
import { quoteIdentifier, quoteQualified } from './identifier.ts';
import type { LockOptions, LockProtocol } from './locks.ts';
import type { RefreshedTview } from './refresh-function.ts';

export interface RegisteredTview {
  readonly id: number;
  /** Of the table tv_x. */
  readonly oid: number;
  /** Of v_x. */
  readonly viewOid: number;
  readonly schema: string;
  readonly name: string;
  readonly requestedKey: readonly string[] | null;
  readonly keyOperators: readonly string[];
  /** Names in it are those of when it was compiled, and its oids too: they are others in a database that was restored. */
  readonly plan: RefreshPlan;
  /** What tv_x and v_x are called now; null where there is none any more. */
  readonly table: QualifiedName | null;
  readonly view: QualifiedName | null;
  /** In the order of `plan.sources`. */
  readonly sourceIds: readonly number[];
  /** Goes stale until it is resumed: nothing is captured for it, and flush does not know it (suspend.ts). */
  readonly isSuspended: boolean;
  readonly problem: Problem | null;
  /** Where "tviews apply" has not filled all of it yet. */
  readonly construction: Construction | null;
}

/** Why a change of the schema could not be followed (follow.ts). */
export interface Problem {
  /** Of what: nobody has to try again before it is another. */
  readonly state: string;
  readonly message: string;
  readonly detail: string | null;
  readonly hint: string | null;
}

export type ConstructionAction = 'created' | 'altered' | 'replaced' | 'rebuilt';

/** A tview that is filled while others write (decision 010): what there is of it is kept in step, and not all is there. */
export interface Construction {
  /** What it is called when it is done: its own name where it is `altered`. */
  readonly becomes: QualifiedName;
  readonly action: ConstructionAction;
  /** How many there are to compute; null until they are listed. The first of them have been. */
  readonly keys: number | null;
  readonly filled: number;
}

export interface RegisteredSource {
  readonly id: number;
  readonly oid: number;
  readonly kind: Source['kind'];
  /** What it is called now; null where there is none any more. */
  readonly table: QualifiedName | null;
}

export interface Settings extends LockOptions {
  readonly noticeBytes: number;
  readonly fullRefreshShare: number;
}

export interface Registry {
  readonly settings: Settings;
  readonly tviews: readonly RegisteredTview[];
  readonly sources: readonly RegisteredSource[];
}

/** The lock number beside the tviews', whose ids start at 1: applies, drops and migrations, one at a time. */
export const applyLock = 0;
export const defaultLockSpace = 1953916265;

const registrySql = sqlFile('registry.sql');

export async function loadRegistry(executor: SqlExecutor): Promise<Registry> {
  await requireInstalled(executor);
  await requireCurrent(executor);
  const [row] = await executor.query<{
    settings: Record<string, string>;
    tviews: RegisteredTview[];
    sources: RegisteredSource[];
  }>(registrySql());
  const { settings, tviews, sources } = row!;
  for (const tview of tviews) requireAllSources(tview);
  return {
    settings: {
      lockSpace: lockSpaceOf(settings),
      lockProtocol: protocolSetting(settings),
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

/**
 * For those who change it, until their transaction ends. One at a time: each generates flush from all that is registered, and
 * would drop the other's section.
 */
export async function lockRegistry(executor: SqlExecutor): Promise<Registry> {
  await requireInstalled(executor);
  await lockAsSet(executor);
  return await loadRegistry(executor);
}

/** In the lock space that is set. */
export async function lockAsSet(executor: SqlExecutor): Promise<void> {
  const rows = await executor.query<{ name: string; value: string }>(
    'SELECT name, value FROM tviews.setting',
  );
  const settings = Object.fromEntries(rows.map(({ name, value }) => [name, value]));
  await executor.query('SELECT pg_catalog.pg_advisory_xact_lock($1, $2)', [lockSpaceOf(settings), applyLock]);
}

const lockSpaceOf = (settings: Record<string, string>): number =>
  numberSetting(settings, 'lock_space', Number.isSafeInteger);

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

function protocolSetting({ lock_protocol: value }: Record<string, string>): LockProtocol {
  if (value === 'value' || value === 'tview') return value;
  throw new TviewsError(
    SqlState.invalidParameterValue,
    `invalid value in tviews.setting for "lock_protocol": ${value}`,
    { hint: 'It is "value" or "tview".' },
  );
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

/** An older schema would show only in errors about its columns. */
export async function requireCurrent(executor: SqlExecutor): Promise<void> {
  const done = await executor.query<{ number: number }>('SELECT number FROM tviews.migration');
  if (readMigrations().every(({ number }) => done.some((migration) => migration.number === number))) return;
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    'schema tviews of this database is older than this program',
    { hint: 'Run "tviews init" first.' },
  );
}

/** A flush that is generated without one of a tview's sources does not hear of that one's changes. */
function requireAllSources({ schema, name, plan, sourceIds }: RegisteredTview): void {
  if (sourceIds.length === plan.sources.length) return;
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `registry does not say which tables the sources of tview ${schema}.${name} are`,
    {
      detail: `When it was created, they were ${plan.sources.map(({ table }) => display(table)).join(', ')}.`,
      hint: 'Rename tables that are called otherwise now, then run "tviews init".',
    },
  );
}

/** Something a plan names that is called otherwise now, or does not exist any more. */
export interface Moved {
  readonly tview: QualifiedName;
  readonly was: QualifiedName;
  readonly now: QualifiedName | null;
}

/**
 * What is not where a tview's plan says. Its view follows a rename; its key queries go by name, and would find no table or,
 * once another one has taken the name, the wrong one.
 */
export function movedOf(registry: Registry, tview: RegisteredTview): Moved[] {
  const sources = tview.sourceIds.map((id) => registry.sources.find((source) => source.id === id));
  const names: [QualifiedName, QualifiedName | null][] = [
    [tview.plan.table, tview.table],
    [tview.plan.view, tview.view],
    ...tview.plan.sources.map(({ table }, i): [QualifiedName, QualifiedName | null] => [
      table,
      sources[i]?.table ?? null,
    ]),
  ];
  return names
    .filter(([was, now]) => now === null || now.schema !== was.schema || now.name !== was.name)
    .map(([was, now]) => ({ tview: { schema: tview.schema, name: tview.name }, was, now }));
}

/** Whether something it cannot do without does not exist any more. */
export const isBroken = (registry: Registry, tview: RegisteredTview): boolean =>
  movedOf(registry, tview).some(({ now }) => now === null);

/** Before anything is generated from a plan. */
export function requireInPlace(registry: Registry, tview: RegisteredTview): void {
  const moved = movedOf(registry, tview);
  const { was, now } = moved.find((one) => one.now === null) ?? moved[0] ?? {};
  if (was === undefined) return;
  const name = display(tview);
  if (now == null) {
    throw new TviewsError(
      SqlState.objectNotInPrerequisiteState,
      `tview ${name} is broken: ${display(was)} does not exist any more`,
      {
        hint: `Run DROP TVIEW ${name}, or CREATE OR REPLACE TVIEW ${name} with a definition that does without.`,
      },
    );
  }
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `tview ${name} was created when ${display(now)} was called ${display(was)}`,
    {
      hint: `Run "tviews init", which follows the change; or CREATE OR REPLACE TVIEW ${name} with its definition.`,
    },
  );
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
  if (row!.oid !== null) return registry.tviews.find((tview) => tview.oid === Number(row!.oid));
  // A table that was dropped by hand: its tview still has to be found, to be dropped too.
  if (typeof name === 'string') return undefined;
  return registry.tviews.find(
    (tview) =>
      tview.table === null && tview.name === name.name && (name.schema ?? tview.schema) === tview.schema,
  );
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

/** The table in schema tviews with the keys that are to be filled. */
export const fillName = (tview: number): string => `fill_${tview}`;

/** What is being built beside, to be a tview of this name. */
export const constructionFor = (
  { tviews }: Registry,
  { schema, name }: QualifiedName,
): RegisteredTview | undefined =>
  tviews.find(
    (tview) =>
      isBeside(tview) &&
      tview.construction!.becomes.schema === schema &&
      tview.construction!.becomes.name === name,
  );

/** The registry with one of its tviews as it is now. */
export const withTview = (registry: Registry, changed: RegisteredTview): Registry => ({
  ...registry,
  tviews: registry.tviews.map((tview) => (tview.id === changed.id ? changed : tview)),
});

/** Whether it stands beside what it is to be, under a name of ours. */
export const isBeside = ({ construction }: RegisteredTview): boolean =>
  construction !== null && construction.action !== 'altered';

/** What to give the compiler to have a tview's definition compiled again, from the view there is. */
export function compilerInput(
  registry: Registry,
  { plan, requestedKey, sourceIds, construction }: RegisteredTview,
) {
  const { view, sources } = plan;
  // Its name may say which column the key is.
  const table = construction?.becomes ?? plan.table;
  // The option it was made with, as far as it has an effect: the tables of which any change makes every row be computed.
  const fullRefresh = sources.flatMap((source, i) => {
    const registered = registry.sources.find(({ id }) => id === sourceIds[i]);
    return changesEverything(source) && registered !== undefined ? [registered.oid] : [];
  });
  return { view, table, key: requestedKey, fullRefresh, isTview: isTviewOf(registry) };
}

export const isTviewOf =
  ({ tviews }: Registry) =>
  (oid: number): boolean =>
    tviews.some((tview) => tview.oid === oid);

/** The tviews that read this one, directly. */
export function readersOf(registry: Registry, tview: RegisteredTview): RegisteredTview[] {
  const own = registry.sources.find(({ oid }) => oid === tview.oid);
  return own === undefined ? [] : registry.tviews.filter(({ sourceIds }) => sourceIds.includes(own.id));
}

/** Every table source whose writers can have something to flush into this tview: through other tviews as well. */
export function tablesBelow(
  registry: Registry,
  sources: readonly Pick<RegisteredSource, 'oid' | 'kind' | 'table'>[],
): { readonly oid: number; readonly table: QualifiedName }[] {
  const tables = new Map<number, QualifiedName>();
  const visit = ({ oid, kind, table }: Pick<RegisteredSource, 'oid' | 'kind' | 'table'>): void => {
    if (kind === 'tview') {
      const below = registry.tviews.find((tview) => tview.oid === oid);
      if (below !== undefined) sourcesOf(registry, below).forEach(visit);
    } else if (table !== null) tables.set(oid, table);
  };
  sources.forEach(visit);
  // By oid: one global order, so that two applies, or an apply and pg_dump, never wait for each other in a circle.
  return [...tables].toSorted(([a], [b]) => a - b).map(([oid, table]) => ({ oid, table }));
}

export const sourcesOf = (registry: Registry, { sourceIds }: RegisteredTview): RegisteredSource[] =>
  registry.sources.filter(({ id }) => sourceIds.includes(id));

/** The tviews that are kept in step: all that is generated for sources and for flush is for these. */
const kept = ({ tviews }: Registry): RegisteredTview[] => tviews.filter(({ isSuspended }) => !isSuspended);

/** A source as its readers' plans want it captured; what it was in its family when each of them was made. */
export type WantedCapture = CapturedSource & { readonly forms: readonly Form[] };

/** A source as the union of what its readers need; undefined where nobody reads it, or only who is suspended. */
export function capturedSource(registry: Registry, id: number): WantedCapture | undefined {
  const linkColumns = new Map<string, Column>();
  const referenced = new Set<string>();
  const readers: { tview: number; referencedColumns: string[] }[] = [];
  const forms: Form[] = [];
  let last: Source | undefined;
  for (const tview of kept(registry)) {
    const source = tview.plan.sources[tview.sourceIds.indexOf(id)];
    if (source === undefined) continue;
    last = source;
    forms.push(source.form ?? 'table');
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
    linkColumns: [...linkColumns.values()],
    referencedColumns: [...referenced],
    primaryKey: last.primaryKey,
    readers,
    forms,
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
  const tviews = kept(registry);
  const isRead = (source: number): boolean => tviews.some(({ sourceIds }) => sourceIds.includes(source));
  return tviews.map((tview) => ({
    id: tview.id,
    plan: tview.plan,
    sourceIds: tview.sourceIds,
    ownSourceId: registry.sources.find(({ id, oid }) => oid === tview.oid && isRead(id))?.id ?? null,
  }));
}

/** Whether CREATE OR REPLACE TVIEW lets a plan stand, of a definition whose text is the same. */
export function readsTheSame(
  now: RefreshPlan,
  { plan, sourceIds }: RegisteredTview,
  { sources }: Registry,
): boolean {
  // Not those in the plan: in one from a dump they are another database's.
  const oids = sourceIds.map((id) => sources.find((source) => source.id === id)?.oid);
  return isDeepStrictEqual(
    whatIsRead(
      now,
      now.sources.map(({ oid }) => oid),
    ),
    whatIsRead(plan, oids),
  );
}

/**
 * What of a plan follows from the catalog: the tables, and how their changes reach the key, which a view below may say
 * otherwise by now of the same columns.
 */
function whatIsRead({ columns, key, sources }: RefreshPlan, oids: readonly (number | undefined)[]): unknown {
  const read = sources
    .map(({ table, kind, form = 'table', referencedColumns, primaryKey, linkColumns, occurrences }, i) => {
      const keys = occurrences.map(({ mapping, keyQuery }) => ({ mapping, keyQuery }));
      return { oid: oids[i] ?? 0, table, kind, form, referencedColumns, primaryKey, linkColumns, keys };
    })
    .toSorted((one, other) => one.oid - other.oid);
  // The registry's plan has been through JSON.
  return JSON.parse(JSON.stringify({ columns, key, read }));
}
