/**
 * Applies a definition while others read and write (decision 010):
 *
 *     decide ──▶ begin ──▶ list ──▶ fill, batch by batch ──▶ wait for older snapshots ──▶ swap
 *       │          (altered: columns more)                    └──▶ (altered) end
 *       └──▶ unchanged, skipped
 *
 * Deciding reads alone, and takes nothing of the sources but what a SELECT takes. Begin and swap lock out writers, each for a
 * moment. Between any two steps everything may end; whoever applies again finds where it was, in the database.
 */
import type { CreateTview, RefreshPlan } from '../definition/plan.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import { type Applied as AppliedAtOnce, followFamilies, refuseOther, requireOthersWhole } from './apply.ts';
import { fill } from './backfill.ts';
import { refuseWhileUsed } from './belongings.ts';
import { checkParts, checkRows, estimateRows } from './check-rows.ts';
import {
  beginAltered,
  beginBeside,
  describeConstruction,
  endConstruction,
  howToGoOn,
} from './construction.ts';
import { dropConstruction, dropRegistered, refuseWhileRead } from './drop.ts';
import type { SqlExecutor } from './executor.ts';
import { changedFamilies } from './family.ts';
import { writtenName } from './identifier.ts';
import { waitForOlderSnapshots } from './older-transactions.ts';
import {
  type ConstructionAction,
  constructionFor,
  findTview,
  isBeside,
  loadRegistry,
  lockRegistry,
  type RegisteredTview,
  type Registry,
  requireInPlace,
} from './registry.ts';
import { inTransaction, rolledBack, sqlStateOf, undone } from './session.ts';
import { swap } from './swap.ts';
import {
  type Change,
  type Compile,
  changeTo,
  requireFree,
  requireLandlord,
  resolveWanted,
  type Wanted,
  withProbe,
} from './wanted.ts';

export type OnlineStep = 'check' | 'begin' | 'list' | 'fill' | 'wait' | 'swap';

export interface OnlineHooks {
  readonly compile?: Compile;
  /** Before each step; awaited. */
  step?(step: OnlineStep): unknown;
  /** After each batch. */
  progress?(filled: number, keys: number): unknown;
  /** Again and again, while these backends have a snapshot from before. */
  waiting?(pids: readonly number[]): void;
  /** Stops at the next moment at which it can go on later. */
  readonly signal?: AbortSignal;
  /** Ends the statement that runs. */
  cancel?(): Promise<void>;
}

export interface Applied extends Omit<AppliedAtOnce, 'action'> {
  readonly action: ConstructionAction | 'unchanged' | 'skipped';
}

/** What would be done. */
export type Decision =
  | {
      readonly kind: 'nothing';
      readonly action: 'unchanged' | 'skipped';
      readonly existing: RegisteredTview;
      /** Something else is being built for its name. */
      readonly construction: RegisteredTview | null;
    }
  | {
      readonly kind: 'resume';
      readonly construction: RegisteredTview;
      /** Another one was being built beside it. */
      readonly other: RegisteredTview | null;
    }
  | {
      readonly kind: 'build';
      readonly change: { readonly kind: ConstructionAction; readonly why: string };
      readonly existing: RegisteredTview | null;
      readonly construction: RegisteredTview | null;
      readonly plan: RefreshPlan;
      /** To compute, as the planner thinks. */
      readonly rows: number;
    };

/** `check`: every row of the definition is computed once, to see whether it can be. In the caller's transaction, which leaves nothing. */
export async function decide(
  executor: SqlExecutor,
  registry: Registry,
  wanted: Wanted,
  check: boolean,
): Promise<Decision> {
  await requireLandlord(executor);
  const existing = (await findTview(executor, registry, wanted.table)) ?? null;
  const { ifExists } = wanted.statement;
  const construction = constructionFor(registry, wanted.table) ?? null;
  requireOthersWhole(registry, existing, construction);
  if (existing !== null && ifExists === 'skip') {
    return { kind: 'nothing', action: 'skipped', existing, construction: null };
  }
  if (existing === null) await requireFree(executor, wanted, null);
  else if (ifExists === 'error') requireInPlace(registry, existing);
  return await withProbe(executor, registry, wanted, async (probe) => {
    const change: Change | { kind: 'created'; why: string } =
      existing === null
        ? { kind: 'created', why: 'there is none of this name' }
        : await changeTo(executor, registry, existing, wanted, probe);
    if (change.kind === 'none') {
      return existing!.construction === null
        ? { kind: 'nothing', action: 'unchanged', existing: existing!, construction }
        : { kind: 'resume', construction: existing!, other: construction };
    }
    refuseOther(wanted, existing);
    if (construction !== null) {
      const rest = await changeTo(executor, registry, construction, wanted, probe);
      if (rest.kind === 'none') return { kind: 'resume', construction, other: null };
    }
    if (existing !== null && change.kind !== 'altered') {
      await requireFree(executor, wanted, existing);
      refuseWhileRead(registry, existing, 'replace');
      await refuseWhileUsed(executor, existing);
    }
    if (check) {
      await checkRows(executor, wanted, probe);
      if (existing !== null && change.kind !== 'altered') await checkParts(executor, existing, probe);
    }
    const rows = await estimateRows(executor, probe.plan);
    return { kind: 'build', change, existing, construction, plan: probe.plan, rows };
  });
}

/** `executor` is in no transaction. */
export async function applyOnline(
  executor: SqlExecutor,
  statement: CreateTview,
  hooks: OnlineHooks = {},
): Promise<Applied> {
  let cancelling: Promise<void> | undefined;
  const stop = (): void => {
    // What the statement that runs ends with is the answer to it.
    cancelling = hooks.cancel?.().catch(() => undefined);
  };
  hooks.signal?.addEventListener('abort', stop);
  let building: RegisteredTview | null = null;
  let lost = false;
  try {
    // Each time around, somebody else was faster.
    for (;;) {
      await hooks.step?.('check');
      hooks.signal?.throwIfAborted();
      const wanted = await resolveWanted(executor, statement, hooks.compile);
      const decision = await rolledBack(executor, 'READ WRITE', async () =>
        decide(executor, await loadRegistry(executor), wanted, true),
      );
      if (decision.kind === 'nothing') {
        if (!(await tidy(executor, decision))) continue;
        return resultOf(decision.existing, decision.action, 0);
      }
      // Or we would take away what he builds, and he what we do.
      if (lost && decision.kind === 'build') throw appliedByAnother(wanted);
      if (decision.kind === 'resume' && decision.other !== null) await abandon(executor, decision.other);
      building =
        decision.kind === 'resume' ? decision.construction : await begin(executor, wanted, decision, hooks);
      if (building === null) continue;
      const rows = await finish(executor, wanted, building, hooks);
      lost = rows === null;
      if (rows === null) continue;
      return resultOf(building, building.construction!.action, rows);
    }
  } catch (error) {
    if (hooks.signal?.aborted !== true) throw await explained(executor, building, error);
    // Or it would end what is asked next.
    await cancelling;
    throw await interrupted(executor, building, error);
  } finally {
    hooks.signal?.removeEventListener('abort', stop);
  }
}

const appliedByAnother = ({ table }: Wanted): TviewsError =>
  new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `somebody else has begun to apply another definition of tview ${writtenName(table)}, or dropped it`,
    { hint: 'Agree on one, and apply that.' },
  );

const resultOf = (
  { plan, isSuspended, construction, schema, name }: RegisteredTview,
  action: Applied['action'],
  rows: number,
): Applied => ({
  action,
  isSuspended,
  table: construction?.becomes ?? { schema, name },
  advice: plan.advice,
  rows,
});

/** What goes with an answer that changes nothing: capture for new partitions, and what was being built for the name. */
async function tidy(
  executor: SqlExecutor,
  { existing, construction, action }: Extract<Decision, { kind: 'nothing' }>,
): Promise<boolean> {
  if (action === 'skipped') return true;
  const changed = await changedFamilies(executor, existing.sourceIds);
  if (construction === null && changed.length === 0) return true;
  return await inTransaction(executor, async () => {
    const registry = await lockRegistry(executor);
    const tview = registry.tviews.find(({ id }) => id === existing.id);
    if (tview === undefined) return false;
    const rest = await dropConstruction(executor, registry, tview);
    await followFamilies(executor, rest, tview);
    return true;
  });
}

/** @returns null where it is not what was decided on any more */
async function begin(
  executor: SqlExecutor,
  wanted: Wanted,
  { change, existing, construction }: Extract<Decision, { kind: 'build' }>,
  hooks: OnlineHooks,
): Promise<RegisteredTview | null> {
  // Of another definition. By itself, so that its tables are not in hand when those of the new one are asked for.
  if (construction !== null) await abandon(executor, construction);
  await hooks.step?.('begin');
  hooks.signal?.throwIfAborted();
  return await inTransaction(executor, async () => {
    const registry = await lockRegistry(executor);
    const now = await undone(executor, () => decide(executor, registry, wanted, false));
    if (now.kind !== 'build' || now.change.kind !== change.kind || now.existing?.id !== existing?.id)
      return null;
    if (now.construction !== null) return null;
    const id =
      now.change.kind === 'altered'
        ? await beginAltered(executor, registry, wanted, now.existing!, now.plan)
        : await beginBeside(executor, registry, wanted, now.existing, now.plan, now.change.kind);
    return (await loadRegistry(executor)).tviews.find((tview) => tview.id === id)!;
  });
}

/** @returns the rows; null where somebody else has finished it, or taken it away */
async function finish(
  executor: SqlExecutor,
  wanted: Wanted,
  building: RegisteredTview,
  hooks: OnlineHooks,
): Promise<number | null> {
  const { signal } = hooks;
  const registry = await loadRegistry(executor);
  const replaces = isBeside(building) ? ((await findTview(executor, registry, wanted.table)) ?? null) : null;
  let rows: number | null;
  try {
    rows = await fill(executor, building, { ...hooks, replaces, signal });
  } catch (error) {
    if (isMissing(error) && (await isOver(executor, building))) return null;
    // Writers would get it, too.
    if (isBeside(building) && isOfTheDefinition(error)) await abandon(executor, building);
    throw error;
  }
  if (rows === null) return null;
  if (!isBeside(building)) {
    await inTransaction(executor, async () => {
      const now = await lockRegistry(executor);
      if (now.tviews.find(({ id }) => id === building.id)?.construction != null) {
        await endConstruction(executor, building.id);
      }
    });
    return rows;
  }
  await hooks.step?.('wait');
  await waitForOlderSnapshots(executor, hooks);
  await hooks.step?.('swap');
  signal?.throwIfAborted();
  return (await inTransaction(executor, () => swap(executor, wanted, building.id))) ? rows : null;
}

/** A table or a function is called otherwise, or is gone. */
const isMissing = (error: unknown): boolean =>
  ([SqlState.undefinedTable, SqlState.undefinedFunction] as unknown[]).includes(sqlStateOf(error));

async function isOver(executor: SqlExecutor, { id }: RegisteredTview): Promise<boolean> {
  const now = (await loadRegistry(executor)).tviews.find((tview) => tview.id === id);
  return now?.construction == null;
}

/** Division by zero, a key twice, a constraint of the table: what another attempt ends with as well. */
const isOfTheDefinition = (error: unknown): boolean =>
  /^(21|22|23|2F|38|39|P0)/.test(sqlStateOf(error) ?? '');

async function abandon(executor: SqlExecutor, construction: RegisteredTview): Promise<void> {
  await inTransaction(executor, async () => {
    const registry = await lockRegistry(executor);
    const tview = registry.tviews.find(({ id }) => id === construction.id);
    if (tview?.construction != null && isBeside(tview)) await dropRegistered(executor, registry, tview);
  });
}

/** What a time limit for locks ends with is no loss: says so. */
async function explained(
  executor: SqlExecutor,
  building: RegisteredTview | null,
  error: unknown,
): Promise<unknown> {
  if (sqlStateOf(error) !== SqlState.lockNotAvailable || building === null) return error;
  const now = (await loadRegistry(executor)).tviews.find(({ id }) => id === building.id);
  if (now?.construction == null) return error;
  return new TviewsError(SqlState.lockNotAvailable, (error as Error).message, {
    detail: `The construction of tview ${writtenName(now.construction.becomes)} stays: ${describeConstruction(now)}.`,
    hint: howToGoOn(now),
    cause: error,
  });
}

async function interrupted(
  executor: SqlExecutor,
  building: RegisteredTview | null,
  cause: unknown,
): Promise<TviewsError> {
  const now =
    building === null
      ? undefined
      : (await loadRegistry(executor)).tviews.find(({ id }) => id === building.id);
  if (now?.construction == null) {
    return new TviewsError(SqlState.queryCanceled, 'stopped before anything was changed', { cause });
  }
  return new TviewsError(SqlState.queryCanceled, `stopped: ${describeConstruction(now)}`, {
    hint: howToGoOn(now),
    cause,
  });
}
