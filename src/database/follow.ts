/**
 * Follows changes of the schema that were made after tviews were applied: renames, moves, other keys, other views below, partitions
 * that came and went. The definition is compiled again from the view there is, which PostgreSQL has taken along; what was
 * generated from the old plan is generated from the new one. Rows are computed again, afterwards and by others (tviews.repair), only
 * where they may have become other ones, or writers may have been misled meanwhile (outdated.ts).
 *
 * DDL that was committed cannot be refused any more. What cannot be followed is remembered with the tview, for `status` to tell.
 */
import { isDeepStrictEqual } from 'node:util';
import type { QualifiedName, RefreshPlan } from '../definition/plan.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import { registerSources } from './create.ts';
import { dropFunctions } from './drop.ts';
import { equalityOperators } from './equality.ts';
import { exclude } from './exclusion.ts';
import type { SqlExecutor } from './executor.ts';
import { type ChangedFamily, changedFamilies, recordRepair } from './family.ts';
import { generateFlush, generateRefresh, generateSources, stampTicket } from './generate.ts';
import { generateCaptures } from './generate-captures.ts';
import { writtenName } from './identifier.ts';
import { isInStep, type Outdated, outdatedTviews } from './outdated.ts';
import {
  capturedSource,
  compilerInput,
  movedOf,
  type Problem,
  type RegisteredTview,
  type Registry,
  sourcesOf,
  tablesBelow,
} from './registry.ts';
import { hasRepairs } from './repair.ts';
import { sqlStateOf, undone, withSettings } from './session.ts';

export interface Followed {
  /** As it is called now. */
  readonly tview: QualifiedName;
  /**
   * `noted`: what was generated is right as it is. `renamed`: only names are others, and the rows right. `changed`: every row
   * is to be looked at, which is left in tviews.repair. `refused`: it is as stale as `problem` says, until somebody does something.
   */
  readonly outcome: 'noted' | 'renamed' | 'changed' | 'refused';
  readonly problem: Problem | null;
}

export interface FollowReport {
  readonly tviews: readonly Followed[];
  readonly families: readonly ChangedFamily[];
}

export interface FollowOptions {
  /** Also what could not be followed before. */
  readonly again: boolean;
  /** Families to leave alone: they are told of for as long as they are what no plan was made for. */
  readonly isKnown?: (family: ChangedFamily) => boolean;
}

/**
 * In the caller's transaction, which must be READ COMMITTED and have locked the registry.
 * @throws 40001 when the schema was changed once more meanwhile
 */
export async function followSchema(
  executor: SqlExecutor,
  registry: Registry,
  options: FollowOptions,
): Promise<FollowReport> {
  return await withSettings(executor, { search_path: '' }, async () => {
    const { verdicts, families } = await undone(executor, async () => {
      const { outdated, families } = await findChanges(executor, registry, options);
      return { verdicts: await judgeAll(executor, registry, outdated), families };
    });
    await lockOut(executor, registry, verdicts, families);
    const adoptions: Adoption[] = [];
    for (const verdict of verdicts) {
      if (verdict.kind === 'refused') await rememberProblem(executor, verdict);
      else if (verdict.kind === 'noted') await storePlan(executor, verdict);
      else adoptions.push(await compiledUnderLock(executor, registry, verdict));
    }
    const followed = await adoptPlans(executor, registry, adoptions);
    if (adoptions.length > 0 || families.length > 0) {
      await generateAll(executor, registry, followed, adoptions, families);
    }
    const told = verdicts.map((verdict) => adoptions.find(({ tview }) => tview === verdict.tview) ?? verdict);
    return { tviews: told.map(toldOf), families };
  });
}

/** Times that it is tried again at once, where the schema changes as fast as it is followed. */
const attempts = 3;

/** @param work follows, in a transaction of its own */
export async function whileItChanges<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === attempts || sqlStateOf(error) !== SqlState.serializationFailure) throw error;
    }
  }
}

/** What following would come to, for each tview of which the catalog says something else. Changes nothing. */
export async function foresee(executor: SqlExecutor, registry: Registry): Promise<readonly Followed[]> {
  return await withSettings(executor, { search_path: '' }, async () => {
    const outdated = await outdatedTviews(executor, registry, { again: true });
    return (await judgeAll(executor, registry, outdated)).map(toldOf);
  });
}

export interface SchemaChanges {
  readonly outdated: readonly Outdated[];
  readonly families: readonly ChangedFamily[];
}

/** Inside a transaction; changes nothing. */
export async function findChanges(
  executor: SqlExecutor,
  registry: Registry,
  { again, isKnown = () => false }: FollowOptions,
): Promise<SchemaChanges> {
  return {
    outdated: await outdatedTviews(executor, registry, { again }),
    families: (await changedFamilies(executor)).filter((family) => !isKnown(family)),
  };
}

interface Judged {
  readonly tview: RegisteredTview;
  readonly plan: RefreshPlan;
}

interface Adoption extends Judged {
  readonly kind: 'renamed' | 'changed';
}

type Verdict =
  | Adoption
  | (Judged & { readonly kind: 'noted' })
  | { readonly kind: 'refused'; readonly tview: RegisteredTview; readonly problem: Problem };

const isAdoption = (verdict: Verdict): verdict is Adoption =>
  verdict.kind === 'renamed' || verdict.kind === 'changed';

function toldOf(verdict: Verdict): Followed {
  const { kind: outcome, tview } = verdict;
  return { tview: tview.table ?? tview, outcome, problem: outcome === 'refused' ? verdict.problem : null };
}

/** In the order of their ids: what becomes of one depends on those it reads. */
async function judgeAll(
  executor: SqlExecutor,
  registry: Registry,
  outdated: readonly Outdated[],
): Promise<readonly Verdict[]> {
  const verdicts: Verdict[] = [];
  for (const one of outdated) verdicts.push(await judge(executor, registry, one, verdicts));
  return verdicts;
}

/** @param before of the tviews it may read, which have lesser ids */
async function judge(
  executor: SqlExecutor,
  registry: Registry,
  { tview, state, fits }: Outdated,
  before: readonly Verdict[],
): Promise<Verdict> {
  let plan: RefreshPlan;
  try {
    if (!fits) refuseColumns(tview);
    plan = await compileNow(executor, registry, tview);
    refuseOrder(registry, tview, plan);
    refuseStuck(registry, tview, plan, before);
    refuseNamesake(registry, tview);
  } catch (error) {
    if (!(error instanceof TviewsError)) throw error;
    const { message, detail = null, hint = null } = error;
    return { kind: 'refused', tview, problem: { state, message, detail, hint } };
  }
  if (!(await isInStep(executor, registry, tview, plan))) return { kind: 'changed', tview, plan };
  const isMoved = movedOf(registry, tview).length > 0;
  // Its names are right; what else an earlier version has put into it may stay.
  if (!isMoved && tview.plan.basis?.home !== plan.basis!.home)
    return { kind: 'noted', tview, plan: { ...tview.plan, basis: plan.basis! } };
  return { kind: !isMoved && isSamePlan(plan, tview.plan) ? 'noted' : 'renamed', tview, plan };
}

function isSamePlan({ basis: _, ...now }: RefreshPlan, { basis: __, ...then }: RefreshPlan): boolean {
  // What was stored has been through JSON.
  return isDeepStrictEqual(JSON.parse(JSON.stringify(now)), then);
}

/** With the key its table has, whatever key would be chosen by now. */
async function compileNow(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
): Promise<RefreshPlan> {
  // Loaded here, not above: the compiler carries PostgreSQL's grammar, which nothing else of this folder needs.
  const { compileDefinition } = await import('../definition/compile.ts');
  return await compileDefinition(executor, {
    ...compilerInput(registry, tview),
    view: tview.view!,
    table: tview.table!,
    key: tview.plan.key.map(({ name }) => name),
  });
}

function refuseColumns(tview: RegisteredTview): void {
  const name = writtenName(tview.table!);
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `table ${name} does not have the columns of its view`,
    {
      detail: 'A column of the table or of the view was renamed, or one was added to the view.',
      hint: `Rename it back, or run CREATE OR REPLACE TVIEW ${name} with its definition.`,
    },
  );
}

/** Flush goes through tviews by their ids: one that reads another must have the greater. */
function refuseOrder({ tviews }: Registry, tview: RegisteredTview, plan: RefreshPlan): void {
  const later = tviews.find(
    ({ id, oid }) => id > tview.id && plan.sources.some((source) => source.oid === oid),
  );
  if (later === undefined) return;
  const name = writtenName(tview.table!);
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `tview ${name} reads tview ${writtenName(later)} now, which was created after it`,
    { hint: `Run CREATE OR REPLACE TVIEW ${name} with its definition.` },
  );
}

/** What one that cannot be generated anew tells of its rows may not be enough for the new plan. */
function refuseStuck(
  registry: Registry,
  tview: RegisteredTview,
  plan: RefreshPlan,
  before: readonly Verdict[],
): void {
  const stuck = registry.tviews.find(
    (below) =>
      plan.sources.some(({ oid }) => oid === below.oid) &&
      movedOf(registry, below).length > 0 &&
      !before.some((verdict) => verdict.tview === below && isAdoption(verdict)),
  );
  if (stuck === undefined) return;
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `tview ${writtenName(tview.table!)} reads tview ${writtenName(stuck)}, which cannot follow`,
    { hint: `Mend that one first, then run "tviews init".` },
  );
}

/** Of a tview that is gone but for its entry, which has the name that this one has taken. */
function refuseNamesake({ tviews }: Registry, tview: RegisteredTview): void {
  const { schema, name } = tview.table!;
  const namesake = tviews.find(
    (other) => other !== tview && other.table === null && other.schema === schema && other.name === name,
  );
  if (namesake === undefined) return;
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `tview ${writtenName(tview)} was given the name of tview ${writtenName(namesake)}, whose table was dropped by hand`,
    { hint: 'Give it another name, drop that tview, and rename it again.' },
  );
}

/** All tables that anything is generated for, at once; those that nobody reads any more against readers too. */
async function lockOut(
  executor: SqlExecutor,
  registry: Registry,
  verdicts: readonly Verdict[],
  families: readonly ChangedFamily[],
): Promise<void> {
  const adoptions = verdicts.filter(isAdoption);
  const ofFamilies = registry.sources.filter(({ id }) => families.some(({ source }) => source === id));
  const read = adoptions.flatMap(({ tview, plan }) => [...sourcesOf(registry, tview), ...plan.sources]);
  const tables = tablesBelow(registry, [...read, ...ofFamilies]);
  if (tables.length === 0) return;
  const stillRead = new Set(
    registry.tviews.flatMap((tview) => {
      const adopted = adoptions.find((adoption) => adoption.tview === tview);
      return (adopted?.plan.sources ?? sourcesOf(registry, tview)).map(({ oid }) => oid);
    }),
  );
  await exclude(executor, { tables, losing: tables.filter(({ oid }) => !stillRead.has(oid)) });
}

/** Again, now that nothing of the tables can change. */
async function compiledUnderLock(
  executor: SqlExecutor,
  registry: Registry,
  adoption: Adoption,
): Promise<Adoption> {
  const { tview, kind } = adoption;
  const plan = await compileNow(executor, registry, tview);
  if (plan.basis!.fingerprint === adoption.plan.basis!.fingerprint) {
    // Until now a name may have become another one's, and have misled a writer. And what was left to be looked at is by the names of then.
    const isRight =
      kind === 'renamed' &&
      !(await hasRepairs(executor)) &&
      (await isInStep(executor, registry, tview, plan));
    return { kind: isRight ? kind : 'changed', tview, plan };
  }
  throw new TviewsError(
    SqlState.serializationFailure,
    'the schema was changed once more while a change of it was followed',
    { hint: 'Try again.' },
  );
}

async function rememberProblem(
  executor: SqlExecutor,
  { tview, problem }: Extract<Verdict, { kind: 'refused' }>,
): Promise<void> {
  await executor.query('UPDATE tviews.tview SET problem = $2::text::jsonb WHERE id = $1', [
    tview.id,
    JSON.stringify(problem),
  ]);
}

async function storePlan(executor: SqlExecutor, { tview, plan }: Judged): Promise<void> {
  await executor.query(
    'UPDATE tviews.tview SET plan = $2::text::jsonb, definition = $3, problem = NULL WHERE id = $1',
    [tview.id, JSON.stringify(plan), plan.definition],
  );
}

/** Registers the new plans, under the names of now. Gives the registry as it is then. */
async function adoptPlans(
  executor: SqlExecutor,
  registry: Registry,
  adoptions: readonly Adoption[],
): Promise<Registry> {
  let { sources } = registry;
  const adopted = new Map<number, RegisteredTview>();
  // Two may have swapped their names, and a name is there once.
  await executor.query(`UPDATE tviews.tview SET name = '#' || id WHERE id = ANY ($1)`, [
    adoptions.map(({ tview }) => tview.id),
  ]);
  for (const { tview, plan } of adoptions) {
    const { schema, name } = plan.table;
    const keyOperators = await equalityOperators(
      executor,
      plan.key.map((column) => ({ relation: tview.oid, name: column.name })),
    );
    await storePlan(executor, { tview, plan });
    await executor.query(
      `UPDATE tviews.tview SET schema = $2, name = $3, key_operators = $4, changed_at = pg_catalog.now() WHERE id = $1`,
      [tview.id, schema, name, keyOperators],
    );
    const registered = await registerSources(executor, { ...registry, sources }, tview.id, plan);
    sources = registered.sources;
    const { sourceIds } = registered;
    adopted.set(tview.id, { ...tview, schema, name, plan, sourceIds, keyOperators, problem: null });
  }
  return { ...registry, sources, tviews: registry.tviews.map((tview) => adopted.get(tview.id) ?? tview) };
}

/** Where a partition is another's, and we have no rights on it, it is told of as before, and the rest is followed all the same. */
async function followFamily(executor: SqlExecutor, registry: Registry, family: ChangedFamily): Promise<void> {
  await executor.query('SAVEPOINT tviews_family');
  try {
    await generateCaptures(executor, registry, [family.source]);
  } catch (error) {
    if (sqlStateOf(error) !== SqlState.insufficientPrivilege) throw error;
    await executor.query('ROLLBACK TO SAVEPOINT tviews_family');
  }
  await executor.query('RELEASE SAVEPOINT tviews_family');
}

/** Whatever depends on the new plans, and on the families; then what is left to be looked at, and last of all flush. */
async function generateAll(
  executor: SqlExecutor,
  before: Registry,
  after: Registry,
  adoptions: readonly Adoption[],
  families: readonly ChangedFamily[],
): Promise<void> {
  for (const { tview: old, plan } of adoptions) {
    const tview = after.tviews.find(({ id }) => id === old.id)!;
    if (old.plan.table.name !== plan.table.name) await dropFunctions(executor, old.plan.table.name, old.id);
    await generateSources(executor, after, tview, { moved: 'leave' });
    await generateRefresh(executor, after, tview);
    await stampTicket(executor, tview.id);
  }
  for (const family of families) await followFamily(executor, after, family);
  const orphaned = after.sources.filter(
    ({ id }) => !after.tviews.some(({ sourceIds }) => sourceIds.includes(id)),
  );
  // Those that somebody has read until now and nobody does any more, or only who is suspended.
  const lost = before.sources.filter(({ id }) => capturedSource(after, id) === undefined);
  await generateCaptures(
    executor,
    after,
    lost.map(({ id }) => id),
  );
  await executor.query('DELETE FROM tviews.source WHERE id = ANY ($1)', [orphaned.map(({ id }) => id)]);
  for (const { kind, tview } of adoptions) {
    // A suspended one has all rows computed when it is resumed.
    if (kind === 'changed' && !tview.isSuspended)
      await recordRepair(executor, { tview: tview.id, all: true });
  }
  const remaining = { ...after, sources: after.sources.filter((source) => !orphaned.includes(source)) };
  await generateFlush(executor, remaining);
}
