/** Takes a tview away, with its table, its view and whatever was generated for it alone. */
import type { DropTview, QualifiedName } from '../definition/plan.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import { compareCostFunctionName, compareFunctionName } from './compare-function.ts';
import { exclude } from './exclusion.ts';
import type { SqlExecutor } from './executor.ts';
import { ticketName } from './flush-function.ts';
import { generateFlush, generateSources } from './generate.ts';
import { quoteQualified } from './identifier.ts';
import { refreshFunctionName } from './refresh-function.ts';
import {
  capturedSource,
  constructionFor,
  fillName,
  findTview,
  lockRegistry,
  type RegisteredSource,
  type RegisteredTview,
  type Registry,
  readersOf,
  sourcesOf,
  tablesBelow,
} from './registry.ts';
import { currentSchema, requireTransaction, withSettings } from './session.ts';

/** Runs in the caller's transaction. */
export async function dropTview(
  executor: SqlExecutor,
  statement: DropTview,
): Promise<{ action: 'dropped' | 'skipped' }> {
  await requireTransaction(executor, 'DROP TVIEW');
  const registry = await lockRegistry(executor);
  const { tview, construction } = await findNamed(executor, registry, statement);
  if (tview === null && construction === null) return { action: 'skipped' };
  const rest = construction === null ? registry : await dropRegistered(executor, registry, construction);
  if (tview !== null) {
    refuseWhileRead(rest, tview, 'drop');
    await dropRegistered(executor, rest, tview);
  }
  return { action: 'dropped' };
}

/**
 * The tview of a name, and what is being built beside to be one of that name. Neither is there only where the statement
 * allows it.
 */
export async function findNamed(
  executor: SqlExecutor,
  registry: Registry,
  statement: DropTview,
): Promise<{ readonly tview: RegisteredTview | null; readonly construction: RegisteredTview | null }> {
  const tview = await findTview(executor, registry, statement);
  const construction = constructionFor(registry, tview ?? (await inSchema(executor, statement)));
  if (tview === undefined && construction === undefined && !statement.ifExists) {
    const shown = statement.schema === null ? statement.name : `${statement.schema}.${statement.name}`;
    throw new TviewsError(SqlState.undefinedObject, `tview "${shown}" does not exist`);
  }
  return {
    tview: tview ?? null,
    construction: construction ?? null,
  };
}

/** A name without a schema, where no relation has it: that of one to come. */
async function inSchema(executor: SqlExecutor, { schema, name }: DropTview): Promise<QualifiedName> {
  return { schema: schema ?? (await currentSchema(executor)) ?? '', name };
}

/** Takes away what is being built beside for a name. Gives the registry without it. */
export async function dropConstruction(
  executor: SqlExecutor,
  registry: Registry,
  becomes: QualifiedName,
): Promise<Registry> {
  const construction = constructionFor(registry, becomes);
  if (construction === undefined) return registry;
  return await dropRegistered(executor, registry, construction);
}

export function refuseWhileRead(registry: Registry, tview: RegisteredTview, verb: 'drop' | 'replace'): void {
  const readers = readersOf(registry, tview);
  if (readers.length === 0) return;
  throw new TviewsError(
    SqlState.dependentObjectsStillExist,
    `cannot ${verb} tview ${tview.schema}.${tview.name} because other tviews read it`,
    {
      detail: readers.map(({ schema, name }) => `tview ${schema}.${name} reads it`).join('\n'),
      hint: 'Drop those first.',
    },
  );
}

/** The sources whose triggers go with tviews. */
export function losingWithout(
  registry: Registry,
  ...dropped: readonly RegisteredTview[]
): RegisteredSource[] {
  const remaining = { ...registry, tviews: registry.tviews.filter((tview) => !dropped.includes(tview)) };
  return registry.sources.filter(({ id }) => capturedSource(remaining, id) === undefined);
}

interface DropOptions {
  readonly cascade?: boolean;
}

/** For a tview nobody reads. Gives the registry without it. */
export async function dropRegistered(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
  options: DropOptions = {},
): Promise<Registry> {
  return await withSettings(executor, { search_path: '' }, async () => {
    // Whoever has written a source and not flushed yet still calls the refresh function we drop: wait for them.
    await exclude(executor, {
      tables: tablesBelow(registry, sourcesOf(registry, tview)),
      losing: losingWithout(registry, tview),
    });
    const remaining = await removeRegistered(executor, registry, tview, options);
    await generateFlush(executor, remaining);
    return remaining;
  });
}

/**
 * The same for who has excluded its writers, and generates flush when something else has come in its place. Under an empty
 * search_path.
 */
export async function removeRegistered(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
  options: DropOptions = {},
): Promise<Registry> {
  const tviews = registry.tviews.filter(({ id }) => id !== tview.id);
  const remaining: Registry = {
    ...registry,
    tviews,
    sources: registry.sources.filter(({ id }) => tviews.some(({ sourceIds }) => sourceIds.includes(id))),
  };
  const orphaned = registry.sources.filter((source) => !remaining.sources.includes(source));
  const behaviour = options.cascade ? 'CASCADE' : 'RESTRICT';
  await executor.query('DELETE FROM tviews.tview WHERE id = $1', [tview.id]);
  // By the names of now. Somebody may have dropped one of them, or a table of the definition with CASCADE.
  if (tview.table !== null) await executor.query(`DROP TABLE ${quoteQualified(tview.table)} ${behaviour}`);
  if (tview.view !== null) await executor.query(`DROP VIEW ${quoteQualified(tview.view)} ${behaviour}`);
  // With the sources of before and the readers of after: a source that nobody reads loses its triggers.
  await generateSources(executor, { ...remaining, sources: registry.sources }, tview, { moved: 'leave' });
  await executor.query('DELETE FROM tviews.source WHERE id = ANY ($1)', [orphaned.map(({ id }) => id)]);
  await dropFunctions(executor, tview.plan.table.name, tview.id);
  await executor.query(
    `DROP SEQUENCE tviews.${ticketName(tview.id)}; DROP TABLE IF EXISTS tviews.${fillName(tview.id)}`,
  );
  return remaining;
}

/** Those of one tview. By their names: an earlier version of ours may have made them with other arguments. */
export async function dropFunctions(executor: SqlExecutor, name: string, id: number): Promise<void> {
  const generated = await executor.query<{ signature: string }>(
    `SELECT p.oid::pg_catalog.regprocedure::text AS signature
     FROM pg_catalog.pg_proc AS p
     WHERE p.pronamespace = 'tviews'::pg_catalog.regnamespace AND p.proname = ANY ($1)`,
    [[refreshFunctionName, compareFunctionName, compareCostFunctionName].map((nameOf) => nameOf(name, id))],
  );
  if (generated.length === 0) return;
  await executor.query(generated.map(({ signature }) => `DROP FUNCTION ${signature};`).join('\n'));
}
