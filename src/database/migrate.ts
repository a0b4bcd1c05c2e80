/** Installs schema tviews, brings it up to date, takes it away. */
import { SqlState, TviewsError } from '../errors/errors.ts';
import { dropRegistered } from './drop.ts';
import { exclude } from './exclusion.ts';
import type { SqlExecutor } from './executor.ts';
import { readMigrations } from './files.ts';
import { type Followed, followSchema, whileItChanges } from './follow.ts';
import { generateEverything } from './generate.ts';
import {
  applyLock,
  capturedSource,
  defaultLockSpace,
  loadRegistry,
  lockAsSet,
  requireInstalled,
  tablesBelow,
} from './registry.ts';
import { inTransaction } from './session.ts';

/**
 * Creates or updates schema tviews, in one transaction of its own. Needs CREATE on the database the first time, and to be
 * the schema's owner afterwards. Follows what was changed of the schema since. The numbers of the migrations that ran; empty where
 * all had.
 */
export async function init(
  executor: SqlExecutor,
): Promise<{ applied: number[]; followed: readonly Followed[] }> {
  return await whileItChanges(async () => inTransaction(executor, async () => initHere(executor)));
}

async function initHere(
  executor: SqlExecutor,
): Promise<{ applied: number[]; followed: readonly Followed[] }> {
  // Two that start together: the second waits, and then finds everything done.
  await lockBeforeSettings(executor);
  await requireOurSchema(executor);
  await lockIfSet(executor);
  const done = await appliedMigrations(executor);
  const applied: number[] = [];
  for (const migration of readMigrations()) {
    if (done.has(migration.number)) continue;
    await executor.query(migration.sql);
    await executor.query('INSERT INTO tviews.migration (number, name) VALUES ($1, $2)', [
      migration.number,
      migration.name,
    ]);
    applied.push(migration.number);
  }
  const registry = await loadRegistry(executor);
  const captured = registry.sources.filter(({ id }) => capturedSource(registry, id) !== undefined);
  await exclude(executor, { tables: tablesBelow(registry, captured) });
  const { tviews } = await followSchema(executor, registry, { again: true });
  // The generated part always: a new version of this program may generate better functions from the same plans.
  await generateEverything(executor, await loadRegistry(executor));
  return { applied, followed: tviews.filter(({ outcome }) => outcome !== 'noted') };
}

/** Takes schema tviews away, in one transaction of its own; with `cascade` all tviews, their tables and views as well. */
export async function uninstall(executor: SqlExecutor, options: { cascade?: boolean } = {}): Promise<void> {
  await inTransaction(executor, async () => {
    await requireInstalled(executor);
    await lockBeforeSettings(executor);
    await lockAsSet(executor);
    let registry = await loadRegistry(executor);
    if (registry.tviews.length > 0 && options.cascade !== true) {
      throw new TviewsError(
        SqlState.dependentObjectsStillExist,
        'cannot uninstall tviews because tviews exist',
        {
          detail: registry.tviews.map(({ schema, name }) => `tview ${schema}.${name}`).join('\n'),
          hint: 'Drop them first, or uninstall with --cascade to drop them and their data too.',
        },
      );
    }
    // From the last to the first: whatever reads a tview has the greater id.
    for (const tview of registry.tviews.toReversed()) {
      registry = await dropRegistered(executor, registry, tview, { cascade: true });
    }
    await executor.query('DROP SCHEMA tviews CASCADE');
  });
}

/** Against others who do the same, before there is a setting to ask. */
async function lockBeforeSettings(executor: SqlExecutor): Promise<void> {
  await executor.query('SELECT pg_catalog.pg_advisory_xact_lock($1, $2)', [defaultLockSpace, applyLock]);
}

/** Against those who ask it (lockRegistry). */
async function lockIfSet(executor: SqlExecutor): Promise<void> {
  const [schema] = await executor.query<{ installed: boolean }>(
    `SELECT pg_catalog.to_regclass('tviews.setting') IS NOT NULL AS installed`,
  );
  if (schema!.installed) await lockAsSet(executor);
}

async function requireOurSchema(executor: SqlExecutor): Promise<void> {
  const [schema] = await executor.query<{ ours: boolean; owner: string }>(
    `SELECT pg_catalog.pg_has_role(nspowner, 'USAGE') AS ours, nspowner::pg_catalog.regrole::text AS owner
     FROM pg_catalog.pg_namespace WHERE nspname = 'tviews'`,
  );
  if (schema === undefined) {
    // Not IF NOT EXISTS: that asks for CREATE on the database even where the schema is there.
    await executor.query('CREATE SCHEMA tviews; GRANT USAGE ON SCHEMA tviews TO PUBLIC');
  } else if (!schema.ours) {
    throw new TviewsError(SqlState.insufficientPrivilege, 'must be owner of schema tviews', {
      hint: `Connect as a member of role ${schema.owner}.`,
    });
  } else {
    await executor.query('GRANT USAGE ON SCHEMA tviews TO PUBLIC');
  }
}

async function appliedMigrations(executor: SqlExecutor): Promise<Set<number>> {
  const [row] = await executor.query<{ installed: boolean }>(
    `SELECT pg_catalog.to_regclass('tviews.migration') IS NOT NULL AS installed`,
  );
  if (!row!.installed) return new Set();
  const rows = await executor.query<{ number: number }>('SELECT number FROM tviews.migration');
  return new Set(rows.map(({ number }) => number));
}
