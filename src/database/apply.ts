/**
 * Installs a definition: the view, its plan, the table, the capture of its sources, the refresh and flush functions, and
 * the first fill — in an order in which no writer can slip through between capture and fill, and all in the caller's transaction.
 * That is what the statement CREATE TVIEW does; `tviews apply` builds while others write (online-apply.ts).
 */
import type { Advice, CreateTview, QualifiedName, RefreshPlan } from '../definition/plan.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import { grantsOn } from './belongings.ts';
import { describeConstruction, howToGoOn, requireExpected } from './construction.ts';
import { addGuard, addKey, createTable, install, nextId } from './create.ts';
import { dropTview, losingWithout, refuseWhileRead, removeRegistered } from './drop.ts';
import { exclude } from './exclusion.ts';
import type { SqlExecutor } from './executor.ts';
import { changedFamilies } from './family.ts';
import { generateFlush } from './generate.ts';
import { generateCaptures } from './generate-captures.ts';
import { quoteIdentifier, quoteQualified, writtenName } from './identifier.ts';
import {
  constructionFor,
  findTview,
  isBroken,
  lockRegistry,
  type RegisteredTview,
  type Registry,
  requireInPlace,
  sourcesOf,
  tablesBelow,
} from './registry.ts';
import { inTransaction, requireTransaction, undone, withSettings } from './session.ts';
import { computeSettings } from './settings.ts';
import {
  type Compile,
  changeTo,
  compileWanted,
  createView,
  requireFree,
  requireLandlord,
  resolveWanted,
  type Wanted,
  withProbe,
} from './wanted.ts';

export type ApplyStep = 'lock' | 'compile' | 'capture' | 'fill';

export interface ApplyHooks {
  readonly compile?: Compile;
  /** Told at the start of each step, for progress. */
  step?(step: ApplyStep, table: QualifiedName): void;
}

export interface Applied {
  readonly action: 'created' | 'unchanged' | 'replaced' | 'skipped';
  /** It stays as stale as it is, until it is resumed. */
  readonly isSuspended: boolean;
  readonly table: QualifiedName;
  readonly advice: readonly Advice[];
  /** Computed, as many as the definition gave. */
  readonly rows: number;
}

/** Runs in the caller's transaction, which must be READ COMMITTED; names in the query resolve by the caller's search_path. */
export async function applyTview(
  executor: SqlExecutor,
  statement: CreateTview,
  hooks: ApplyHooks = {},
): Promise<Applied> {
  await requireTransaction(executor, 'CREATE TVIEW');
  const registry = await lockRegistry(executor);
  await requireLandlord(executor);

  const wanted = await resolveWanted(executor, statement, hooks.compile);
  const existing = await findTview(executor, registry, wanted.table);
  requireOthersWhole(registry, existing, constructionFor(registry, wanted.table));
  if (existing === undefined) {
    await requireFree(executor, wanted, null);
    const expected = await undone(executor, () =>
      withProbe(executor, registry, wanted, async ({ plan }) => plan),
    );
    return await create(executor, registry, wanted, hooks, { existing: null, expected });
  }

  const same = {
    table: wanted.table,
    advice: existing.plan.advice,
    rows: 0,
    isSuspended: existing.isSuspended,
  };
  if (statement.ifExists === 'skip') return { ...same, action: 'skipped' };
  if (statement.ifExists === 'error') requireInPlace(registry, existing);
  const { change, expected } = await undone(executor, () =>
    withProbe(executor, registry, wanted, async (probe) => ({
      change: await changeTo(executor, registry, existing, wanted, probe),
      expected: probe.plan,
    })),
  );
  if (change.kind === 'none' && existing.construction === null) {
    await followFamilies(executor, registry, existing);
    return { ...same, action: 'unchanged' };
  }
  if (change.kind === 'none') refuseHalfFilled(wanted, existing);
  else refuseOther(wanted, existing);
  refuseWhileRead(registry, existing, 'replace');
  return await create(executor, registry, wanted, hooks, { existing, expected });
}

/** The same in a transaction of its own. */
export async function applyInTransaction(
  executor: SqlExecutor,
  statement: CreateTview,
  hooks: ApplyHooks = {},
): Promise<Applied> {
  return await inTransaction(executor, () => applyTview(executor, statement, hooks));
}

/** Writers of another one fail until it is gone. A tview that was moved, not broken, is in nobody's way until it is generated. */
export function requireOthersWhole(
  registry: Registry,
  ...except: readonly (RegisteredTview | null | undefined)[]
): void {
  for (const tview of registry.tviews) {
    if (!except.includes(tview) && isBroken(registry, tview)) requireInPlace(registry, tview);
  }
}

/** CREATE TVIEW without OR REPLACE, of one there is with another definition. */
export function refuseOther({ statement, table }: Wanted, existing: RegisteredTview | null): void {
  if (existing === null || statement.ifExists !== 'error') return;
  throw new TviewsError(
    SqlState.duplicateTable,
    `tview "${table.name}" already exists with another definition`,
    { hint: 'Use CREATE OR REPLACE TVIEW to build it anew.' },
  );
}

/** CREATE TVIEW without OR REPLACE, of one to which `tviews apply` has added columns and has not filled them. */
function refuseHalfFilled({ statement }: Wanted, existing: RegisteredTview): void {
  if (statement.ifExists !== 'error') return;
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `tview ${writtenName(existing)} is being built: ${describeConstruction(existing)}`,
    { hint: howToGoOn(existing) },
  );
}

/** `existing`: whose place it takes. `expected`: what its definition compiled to, by locks that are given back. */
interface Place {
  readonly existing: RegisteredTview | null;
  readonly expected: RefreshPlan;
}

async function create(
  executor: SqlExecutor,
  registry: Registry,
  wanted: Wanted,
  hooks: ApplyHooks,
  { existing, expected }: Place,
): Promise<Applied> {
  const { statement, table, view } = wanted;
  const grants = existing === null ? [] : await grantsOn(executor, existing, table);
  const construction = constructionFor(registry, table);
  const gone = [existing, construction].flatMap((tview) => tview ?? []);

  hooks.step?.('lock', table);
  // A transaction that has written a source before its capture was there, or was as wide as this tview needs, owes us
  // a change nobody has recorded. This lock waits until all of those are over, and keeps new ones out until we commit.
  // Tables behind tviews that we read count too: their writers may be about to flush with a flush that knows nothing of
  // us. All steps below take the same locks, or lesser ones; taken here, all at once and in one order, nothing is half done, and
  // nobody we wait for waits for us.
  await exclude(executor, {
    tables: tablesBelow(registry, [
      ...gone.flatMap((tview) => sourcesOf(registry, tview)),
      ...expected.sources,
    ]),
    losing: gone.length === 0 ? [] : losingWithout(registry, ...gone),
  });
  // What is being built for the name ends with it.
  const rest = gone.length === 0 ? registry : await removeAll(executor, registry, gone);
  await createView(executor, view, statement.query);
  return await withSettings(executor, { search_path: '' }, async () => {
    hooks.step?.('compile', table);
    const plan = await compileWanted(executor, rest, wanted, view);
    requireExpected(plan, expected);
    await createTable(executor, plan);

    hooks.step?.('capture', table);
    await install(executor, rest, statement, plan, await nextId(executor));

    hooks.step?.('fill', table);
    const rows = await fill(executor, plan);
    for (const grant of grants) await executor.query(grant);
    const action = existing === null ? 'created' : 'replaced';
    return { action, isSuspended: false, table, advice: plan.advice, rows };
  });
}

async function removeAll(
  executor: SqlExecutor,
  registry: Registry,
  gone: readonly RegisteredTview[],
): Promise<Registry> {
  return await withSettings(executor, { search_path: '' }, async () => {
    let rest = registry;
    for (const tview of gone) rest = await removeRegistered(executor, rest, tview);
    return rest;
  });
}

/** In a statement after the locks, so with a snapshot that has everything committed by those we waited for. */
async function fill(executor: SqlExecutor, plan: RefreshPlan): Promise<number> {
  const table = quoteQualified(plan.table);
  const columns = plan.columns.map(({ name }) => quoteIdentifier(name)).join(', ');
  const rows = await withSettings(executor, computeSettings, async () => {
    const [filled] = await executor.query<{ rows: string }>(
      `WITH filled AS (
         INSERT INTO ${table} (${columns}) SELECT ${columns} FROM ${quoteQualified(plan.view)} RETURNING true
       )
       SELECT count(*)::bigint AS rows FROM filled`,
    );
    return Number(filled!.rows);
  });
  await addKey(executor, plan);
  await addGuard(executor, plan);
  await executor.query(`ANALYZE ${table}`);
  return rows;
}

/** Puts the capture on partitions that were not there when it was generated last. */
export async function followFamilies(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
): Promise<void> {
  const changed = await changedFamilies(executor, tview.sourceIds);
  if (changed.length === 0) return;
  await generateCaptures(
    executor,
    registry,
    changed.map(({ source }) => source),
  );
  await generateFlush(executor, registry);
}

export { dropTview };
