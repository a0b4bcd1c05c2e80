/**
 * Finds the tviews of which the catalog says something else than when their plan was made: whatever was renamed, moved, replaced,
 * whose keys or types are others. In a few statements for all of them, so that it can be asked after each DDL.
 */
import { createHash } from 'node:crypto';
import { fingerprintOf, homeOf, loadTypeFacts, stillHolds } from '../definition/basis.ts';
import { loadCatalogs } from '../definition/catalog.ts';
import type { Basis, RefreshPlan } from '../definition/plan.ts';
import type { SqlExecutor } from './executor.ts';
import { sqlFile } from './files.ts';
import { isTviewOf, movedOf, type RegisteredTview, type Registry, readsTheSame } from './registry.ts';
import { withSettings } from './session.ts';

const unfitSql = sqlFile('unfit-tables.sql');
const takenSql = sqlFile('names-taken.sql');

export interface Outdated {
  readonly tview: RegisteredTview;
  /** Of all that is looked at: as long as it is the same, what could not be followed cannot be now. */
  readonly state: string;
  /** Its table has the columns of its view. */
  readonly fits: boolean;
}

/**
 * Inside a transaction. Without those whose table or view is gone, which nothing can be made of.
 * @param again also those that could not be followed, and nothing has changed since
 */
export async function outdatedTviews(
  executor: SqlExecutor,
  registry: Registry,
  { again }: { readonly again: boolean },
): Promise<Outdated[]> {
  // A source that is gone, and the view is not, is one that the view does not read any more.
  const whole = registry.tviews.filter(({ table, view }) => table !== null && view !== null);
  if (whole.length === 0) return [];
  return await withSettings(executor, { search_path: '' }, async () => {
    const isTview = isTviewOf(registry);
    const catalogs = await loadCatalogs(
      executor,
      whole.map(({ viewOid }) => viewOid),
      isTview,
    );
    const types = await loadTypeFacts(executor, [...catalogs.values()]);
    const unfit = new Set((await executor.query<{ id: number }>(unfitSql())).map(({ id }) => id));
    return whole.flatMap((tview) => {
      const catalog = catalogs.get(tview.viewOid);
      // It went just now: it will be found broken.
      if (catalog === undefined) return [];
      const fingerprint = fingerprintOf(catalog, types.get(catalog)!);
      const fits = !unfit.has(tview.id);
      if (fits && fingerprint === tview.plan.basis?.fingerprint && movedOf(registry, tview).length === 0)
        return [];
      const state = createHash('sha256')
        .update(JSON.stringify([fingerprint, tview.table, tview.view, fits]))
        .digest('base64url');
      return !again && tview.problem?.state === state ? [] : [{ tview, state, fits }];
    });
  });
}

/**
 * Whether all rows are as they would be, whatever was written since the plan was made: nothing differs but names, and none that the
 * plan goes by is another one's now. Where it goes by a name that is nobody's, a writer has failed rather than be misled.
 */
export async function isInStep(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
  now: RefreshPlan,
): Promise<boolean> {
  const then = tview.plan.basis;
  if (then === undefined || !(await isAtHome(executor, registry, tview)))
    return readsTheSame(now, tview, registry);
  return stillHolds(then, now.basis!) && !(await areNamesTaken(executor, tview, then));
}

/** Not restored from a dump, in which names stand for what here are oids and numbers. */
async function isAtHome(
  executor: SqlExecutor,
  { sources }: Registry,
  { plan, sourceIds }: RegisteredTview,
): Promise<boolean> {
  const { home, outline } = plan.basis!;
  const oids = sourceIds.map((id) => sources.find((source) => source.id === id)?.oid);
  return (await homeOf(executor)) === home && outline.sources.every(({ oid }, i) => oid === oids[i]);
}

async function areNamesTaken(
  executor: SqlExecutor,
  tview: RegisteredTview,
  { outline }: Basis,
): Promise<boolean> {
  const { table, view, sources } = tview.plan;
  const relations = [
    { ...table, oid: tview.oid },
    { ...view, oid: tview.viewOid },
    ...sources.map((source, i) => ({ ...source.table, oid: outline.sources[i]!.oid })),
  ];
  const columns = outline.sources.flatMap(({ oid, names }) => names.map((known) => ({ oid, ...known })));
  const [row] = await executor.query<{ taken: boolean }>(takenSql(), [
    JSON.stringify(relations),
    JSON.stringify(columns),
  ]);
  return row!.taken;
}
