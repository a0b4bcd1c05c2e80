/**
 * Begins, abandons and ends the construction of a tview while others write (decision 010). What is under construction is a
 * registered tview from its first moment on: every flush keeps in step what it writes of it. Each in the caller's transaction.
 */
import { isDeepStrictEqual } from 'node:util';
import type { QualifiedName, RefreshPlan } from '../definition/plan.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import { adoptParts } from './adopted-parts.ts';
import { addGuard, addKey, createTable, declared, install, nextId, registerSources } from './create.ts';
import { exclude } from './exclusion.ts';
import type { SqlExecutor } from './executor.ts';
import { generateFlush, generateRefresh, generateSources } from './generate.ts';
import { quoteQualified, writtenName } from './identifier.ts';
import {
  type ConstructionAction,
  fillName,
  type RegisteredTview,
  type Registry,
  sourcesOf,
  tablesBelow,
  withTview,
} from './registry.ts';
import { withSettings } from './session.ts';
import { compileWanted, createView, type Wanted } from './wanted.ts';

/**
 * Builds beside what there is, under a name of ours: an empty table, and from the COMMIT on every writer writes what he changes
 * into it too. @returns its id
 */
export async function beginBeside(
  executor: SqlExecutor,
  registry: Registry,
  wanted: Wanted,
  existing: RegisteredTview | null,
  compiled: RefreshPlan,
  action: Exclude<ConstructionAction, 'altered'>,
): Promise<number> {
  const id = await nextId(executor);
  const table = { schema: 'tviews', name: `tv_building_${id}` };
  const view = { schema: 'tviews', name: `v_building_${id}` };
  const expected = { ...compiled, table, view };
  await withSettings(executor, { search_path: '' }, async () => {
    await createTable(executor, expected);
    await addKey(executor, expected);
    await addGuard(executor, expected);
    if (existing !== null) await adoptParts(executor, existing, { plan: expected, table }, table.schema);
    await createList(executor, id, expected);
  });
  // As in CREATE TVIEW (apply.ts), but nothing is computed under it. Before the view, which locks what it reads, too.
  await exclude(executor, { tables: tablesBelow(registry, compiled.sources) });
  await createView(executor, view, wanted.statement.query);
  await withSettings(executor, { search_path: '' }, async () => {
    const plan = { ...(await compileWanted(executor, registry, wanted, view)), table };
    requireExpected(plan, expected);
    await install(executor, registry, wanted.statement, plan, id);
    await record(executor, id, wanted.table, action);
  });
  return id;
}

/** Until the sources were locked, a name may have become another table's, whose writers are not out. */
export function requireExpected(plan: RefreshPlan, expected: RefreshPlan): void {
  const facts = ({ columns, key, sources }: RefreshPlan) => [
    columns,
    key,
    sources.map(({ oid }) => oid).toSorted(),
  ];
  if (isDeepStrictEqual(facts(plan), facts(expected))) return;
  throw new TviewsError(
    SqlState.serializationFailure,
    'the schema was changed while a tview was about to be built',
    { hint: 'Try again.' },
  );
}

/** Gives a tview columns more, which are null until their rows have been filled; from the COMMIT on writers fill what they change. */
export async function beginAltered(
  executor: SqlExecutor,
  registry: Registry,
  wanted: Wanted,
  existing: RegisteredTview,
  compiled: RefreshPlan,
): Promise<number> {
  const { id, oid } = existing;
  const { table, view } = existing.plan;
  await exclude(executor, {
    tables: [
      ...tablesBelow(registry, [...sourcesOf(registry, existing), ...compiled.sources]),
      { oid, table },
    ],
    losing: [existing],
  });
  await addColumns(executor, existing, compiled);
  await createView(executor, view, wanted.statement.query, 'CREATE OR REPLACE VIEW');
  return await withSettings(executor, { search_path: '' }, async () => {
    const plan = await compileWanted(executor, registry, wanted, view);
    await executor.query(
      `UPDATE tviews.tview SET definition = $2, plan = $3::text::jsonb, requested_key = $4, changed_at = pg_catalog.now()
       WHERE id = $1`,
      [id, plan.definition, JSON.stringify(plan), wanted.statement.key],
    );
    const { sources, sourceIds } = await registerSources(executor, registry, id, plan);
    const altered = { ...existing, plan, sourceIds, requestedKey: wanted.statement.key };
    const changed = withTview({ ...registry, sources }, altered);
    // What was left of columns added before is filled with these.
    if (existing.construction !== null) await endConstruction(executor, id);
    await createList(executor, id, plan);
    await record(executor, id, wanted.table, 'altered');
    await generateSources(executor, changed, altered, { moved: 'refuse' });
    await generateRefresh(executor, changed, altered);
    await generateFlush(executor, changed);
    return id;
  });
}

async function addColumns(
  executor: SqlExecutor,
  existing: RegisteredTview,
  { columns }: RefreshPlan,
): Promise<void> {
  const table = quoteQualified(existing.plan.table);
  for (const column of columns.slice(existing.plan.columns.length)) {
    await executor.query(`ALTER TABLE ${table} ADD COLUMN ${declared(column)}`);
  }
}

/** Of the keys to fill, in the order of `place`. */
async function createList(executor: SqlExecutor, id: number, { key }: RefreshPlan): Promise<void> {
  const columns = key.map((column, i) => declared({ ...column, name: `k${i + 1}` }));
  await executor.query(
    `CREATE TABLE tviews.${fillName(id)} (place bigint PRIMARY KEY, ${columns.join(', ')})`,
  );
}

async function record(
  executor: SqlExecutor,
  id: number,
  { schema, name }: QualifiedName,
  action: ConstructionAction,
): Promise<void> {
  await executor.query(
    'INSERT INTO tviews.construction (tview, schema, name, action) VALUES ($1, $2, $3, $4)',
    [id, schema, name, action],
  );
}

/** It is filled, and has its own name already or gets it now. */
export async function endConstruction(executor: SqlExecutor, id: number): Promise<void> {
  await executor.query('DELETE FROM tviews.construction WHERE tview = $1', [id]);
  await executor.query(`DROP TABLE tviews.${fillName(id)}`);
}

/** For people: how far it is. */
export function describeConstruction({ construction }: Pick<RegisteredTview, 'construction'>): string {
  const { keys, filled } = construction!;
  return keys === null ? 'its keys are not listed yet' : `${filled} of ${keys} keys are filled`;
}

export function howToGoOn(tview: Pick<RegisteredTview, 'schema' | 'name' | 'construction'>): string {
  const name = writtenName(tview);
  return `Run "tviews apply" again to go on${tview.construction!.action === 'altered' ? '' : `, or "tviews drop ${name}" to give it up`}.`;
}
