/**
 * Lets a tview go stale while its sources are loaded, and brings it back. Suspended, it costs writers nothing: capture and
 * flush are generated as if it were not there, and a source that nobody else reads loses its triggers.
 */
import type { QualifiedName } from '../definition/plan.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import { howToGoOn } from './construction.ts';
import { exclude } from './exclusion.ts';
import type { SqlExecutor } from './executor.ts';
import { generateFlush, generateRefresh, generateSources } from './generate.ts';
import { writtenName } from './identifier.ts';
import {
  capturedSource,
  lockRegistry,
  type RegisteredTview,
  type Registry,
  readersOf,
  readsTheSame,
  requireInPlace,
  requireTview,
  sourcesOf,
  tablesBelow,
  withTview,
} from './registry.ts';
import { requireTransaction, withSettings } from './session.ts';
import { rebuild } from './verify.ts';
import { compileAgain } from './wanted.ts';

export interface Suspended {
  readonly action: 'suspended' | 'unchanged';
  /** Tviews that read it: each stays equal to a definition that reads what is stale now. */
  readonly readers: readonly QualifiedName[];
}

/**
 * From the COMMIT of the caller's transaction on. Waits for writers of its sources, and for readers too of those that lose
 * their triggers, as DROP TRIGGER does.
 * @throws 42704 there is no such tview
 */
export async function suspendTview(executor: SqlExecutor, name: string): Promise<Suspended> {
  await requireTransaction(executor, 'suspend');
  const registry = await lockRegistry(executor);
  const tview = await requireTview(executor, registry, name);
  const readers = readersOf(registry, tview).map(({ schema, name: reader }) => ({ schema, name: reader }));
  if (tview.isSuspended) return { action: 'unchanged', readers };
  if (tview.construction !== null) {
    throw new TviewsError(
      SqlState.objectNotInPrerequisiteState,
      `cannot suspend tview ${writtenName(tview)}: it is being built`,
      { hint: howToGoOn(tview) },
    );
  }
  const changed = withTview(registry, { ...tview, isSuspended: true });
  await withSettings(executor, { search_path: '' }, async () => {
    // Only those whose triggers are made anew, or go. Writers of tables behind tviews flush with this one, or without it.
    const captured = sourcesOf(registry, tview).filter(({ kind }) => kind === 'table');
    const losing = captured.filter(({ id }) => capturedSource(changed, id) === undefined);
    await exclude(executor, { tables: tablesBelow(registry, captured), losing });
    await executor.query('UPDATE tviews.tview SET suspended_at = pg_catalog.now() WHERE id = $1', [tview.id]);
    await generateSources(executor, changed, tview, { moved: 'leave' });
    await generateFlush(executor, changed);
  });
  return { action: 'suspended', readers };
}

export interface Resumed {
  readonly action: 'resumed' | 'unchanged';
  /** Rows computed; written and deleted are those of the tviews that read it, too. */
  readonly rows: number;
  readonly written: number;
  readonly deleted: number;
}

/**
 * Exact again at the COMMIT of the caller's transaction, which must be READ COMMITTED. As when a tview is created, its sources are locked
 * against writes until then: a transaction that wrote them while nothing was captured owes a change that nobody knows,
 * so it has to be over before all rows are computed.
 * @throws 42704 there is no such tview; 55000 what its plan names was renamed, dropped or changed meanwhile
 */
export async function resumeTview(executor: SqlExecutor, name: string): Promise<Resumed> {
  await requireTransaction(executor, 'resume');
  const registry = await lockRegistry(executor);
  const tview = await requireTview(executor, registry, name);
  if (!tview.isSuspended) return { action: 'unchanged', rows: 0, written: 0, deleted: 0 };
  const resumed = { ...tview, isSuspended: false };
  const changed = withTview(registry, resumed);
  return await withSettings(executor, { search_path: '' }, async () => {
    await exclude(executor, {
      tables: tablesBelow(registry, sourcesOf(registry, tview)),
      // What computing all rows passes on to: a transaction that has flushed one of those may still write a source.
      gates: { lockSpace: registry.settings.lockSpace, tviews: [tview.id, ...above(registry, tview)] },
    });
    await requireSamePlan(executor, changed, resumed);
    await executor.query('UPDATE tviews.tview SET suspended_at = NULL WHERE id = $1', [tview.id]);
    await generateSources(executor, changed, resumed, { moved: 'refuse' });
    await generateRefresh(executor, changed, resumed);
    await generateFlush(executor, changed);
    return { action: 'resumed', ...(await rebuild(executor, { schema: tview.schema, name: tview.name })) };
  });
}

/** The definition may read something else than when it was suspended, and nobody was there to fail. */
async function requireSamePlan(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
): Promise<void> {
  requireInPlace(registry, tview);
  if (readsTheSame(await compileAgain(executor, registry, tview), tview, registry)) return;
  const name = writtenName(tview);
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `the definition of tview ${name} does not read what it did when the tview was created`,
    {
      detail: 'A column or a key of a source, or a view below it, has changed.',
      hint: `Run "tviews init", which follows the change, and resume it then; or CREATE OR REPLACE TVIEW ${name} with its definition.`,
    },
  );
}

/** The tviews that read it, through others as well, in the order in which flush goes through them. */
function above(registry: Registry, tview: RegisteredTview): number[] {
  const found = new Set<number>();
  const visit = (one: RegisteredTview): void => {
    for (const reader of readersOf(registry, one)) {
      found.add(reader.id);
      visit(reader);
    }
  };
  visit(tview);
  return [...found].toSorted((a, b) => a - b);
}
