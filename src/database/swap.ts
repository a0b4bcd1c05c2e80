/** The moment in which what was built beside takes its name, and the place of the one that had it. */
import type { QualifiedName } from '../definition/plan.ts';
import { adoptParts, copyValues } from './adopted-parts.ts';
import { belongingsOf, defaultGrants, giveAgain, refuseWhileUsed } from './belongings.ts';
import { endConstruction } from './construction.ts';
import { dropFunctions, losingWithout, refuseWhileRead, removeRegistered } from './drop.ts';
import { exclude } from './exclusion.ts';
import type { SqlExecutor } from './executor.ts';
import { generateFlush, generateRefresh } from './generate.ts';
import { quoteIdentifier, quoteQualified } from './identifier.ts';
import {
  findTview,
  lockRegistry,
  type RegisteredTview,
  type Registry,
  requireInPlace,
  sourcesOf,
  tablesBelow,
  withTview,
} from './registry.ts';
import { requireTransaction, withSettings } from './session.ts';
import { requireFree, type Wanted } from './wanted.ts';

/**
 * In the caller's transaction, which is short: nothing is computed in it. Writers of the sources and readers of the old table are
 * over before, and wait until its COMMIT.
 * @returns false when it is not there to be swapped any more
 */
export async function swap(executor: SqlExecutor, wanted: Wanted, id: number): Promise<boolean> {
  await requireTransaction(executor, 'apply');
  const registry = await lockRegistry(executor);
  const built = registry.tviews.find((tview) => tview.id === id);
  if (built?.construction == null) return false;
  requireInPlace(registry, built);
  const found = await findTview(executor, registry, wanted.table);
  await requireFree(executor, wanted, found ?? null);
  if (found !== undefined) {
    refuseWhileRead(registry, found, 'replace');
    await refuseWhileUsed(executor, found);
  }
  await withSettings(executor, { search_path: '' }, async () => {
    await excludeBoth(executor, registry, built, found);
    const plan = { ...built.plan, table: wanted.table, view: wanted.view };
    const existing = found === undefined ? undefined : await withViewCalled(executor, found, wanted.view);
    let given: readonly string[];
    let keyName = defaultKeyName(wanted.table.name);
    let rest = registry;
    if (existing === undefined) given = await defaultGrants(executor, built, plan);
    else {
      // What was added or changed since it began.
      const named = await adoptParts(
        executor,
        existing,
        { plan: built.plan, table: built.plan.table },
        plan.table.schema,
      );
      await copyValues(executor, existing, built, null);
      given = [...named, ...(await belongingsOf(executor, existing, plan))];
      keyName = (await keyNameOf(executor, existing.oid)) ?? keyName;
      rest = await removeRegistered(executor, registry, existing);
    }
    await rename(executor, built, plan, keyName);
    await endConstruction(executor, id);
    await executor.query(
      `UPDATE tviews.tview
       SET schema = $2, name = $3, plan = $4::text::jsonb, created_at = pg_catalog.now(), changed_at = pg_catalog.now()
       WHERE id = $1`,
      [id, plan.table.schema, plan.table.name, JSON.stringify(plan)],
    );
    const named: RegisteredTview = {
      ...built,
      schema: plan.table.schema,
      name: plan.table.name,
      plan,
      table: plan.table,
      view: plan.view,
      construction: null,
    };
    const changed = withTview(rest, named);
    await generateRefresh(executor, changed, named);
    await generateFlush(executor, changed);
    // They are called after its name.
    await dropFunctions(executor, built.plan.table.name, id);
    await giveAgain(executor, existing ?? named, given);
  });
  return true;
}

/** Writers of all that both read, and readers of the old table, all at once. */
async function excludeBoth(
  executor: SqlExecutor,
  registry: Registry,
  built: RegisteredTview,
  existing: RegisteredTview | undefined,
): Promise<void> {
  const old = existing === undefined ? [] : [existing];
  const oldTables = old.flatMap(({ oid, table }) => (table === null ? [] : [{ oid, table }]));
  await exclude(executor, {
    tables: [
      ...tablesBelow(
        registry,
        [built, ...old].flatMap((tview) => sourcesOf(registry, tview)),
      ),
      ...oldTables,
    ],
    losing: [...losingWithout(registry, ...old), ...oldTables],
  });
}

/** Where the table alone was renamed: as PostgreSQL names what belongs to the view, it is given to the new one. */
async function withViewCalled(
  executor: SqlExecutor,
  tview: RegisteredTview,
  { schema, name }: QualifiedName,
): Promise<RegisteredTview> {
  const { view } = tview;
  if (view === null || (view.schema === schema && view.name === name)) return tview;
  const moving = `v_replaced_${tview.id}`;
  await executor.query(`
    ALTER VIEW ${quoteQualified(view)} RENAME TO ${moving};
    ALTER VIEW ${quoteQualified({ schema: view.schema, name: moving })} SET SCHEMA ${quoteIdentifier(schema)};
    ALTER VIEW ${quoteQualified({ schema, name: moving })} RENAME TO ${quoteIdentifier(name)}`);
  return { ...tview, view: { schema, name } };
}

async function rename(
  executor: SqlExecutor,
  { plan: { table, view } }: RegisteredTview,
  { table: newTable, view: newView }: RegisteredTview['plan'],
  keyName: string,
): Promise<void> {
  const schema = quoteIdentifier(newTable.schema);
  const moved = (name: string): string => quoteQualified({ schema: newTable.schema, name });
  const builtKey = (await keyNameOf(executor, null, table))!;
  await executor.query(`
    ALTER TABLE ${quoteQualified(table)} SET SCHEMA ${schema};
    ALTER TABLE ${moved(table.name)} RENAME TO ${quoteIdentifier(newTable.name)};
    ALTER VIEW ${quoteQualified(view)} SET SCHEMA ${schema};
    ALTER VIEW ${moved(view.name)} RENAME TO ${quoteIdentifier(newView.name)}`);
  const [taken] = await executor.query<{ taken: boolean }>(
    'SELECT pg_catalog.to_regclass($1) IS NOT NULL AS taken',
    [moved(keyName)],
  );
  // The name matters to people alone.
  if (taken!.taken) return;
  await executor.query(
    `ALTER TABLE ${quoteQualified(newTable)} RENAME CONSTRAINT ${quoteIdentifier(builtKey)} TO ${quoteIdentifier(keyName)}`,
  );
}

async function keyNameOf(
  executor: SqlExecutor,
  oid: number | null,
  table?: RegisteredTview['plan']['table'],
): Promise<string | undefined> {
  const [row] = await executor.query<{ name: string }>(
    `SELECT o.conname AS name FROM pg_catalog.pg_constraint AS o
     WHERE o.contype = 'p' AND o.conrelid = COALESCE($1::oid, pg_catalog.to_regclass($2)::oid)`,
    [oid, table === undefined ? null : quoteQualified(table)],
  );
  return row?.name;
}

/** As PostgreSQL would have called it. */
function defaultKeyName(table: string): string {
  let name = table;
  while (Buffer.byteLength(name) > 63 - '_pkey'.length) name = [...name].slice(0, -1).join('');
  return `${name}_pkey`;
}
