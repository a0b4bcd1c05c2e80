/** Puts the generated part of schema tviews in place: captures, refresh functions, flush. Runs in the caller's transaction. */

import type { QualifiedName } from '../definition/plan.ts';
import {
  captureEvents,
  captureFunction,
  captureFunctionName,
  captureTrigger,
  captureTriggerName,
} from './capture.ts';
import { compareFunction } from './compare-function.ts';
import { equalityOperators } from './equality.ts';
import type { SqlExecutor } from './executor.ts';
import { sqlFile } from './files.ts';
import { flushFunction, ticketName } from './flush-function.ts';
import { quoteIdentifier, quoteQualified } from './identifier.ts';
import { refreshFunction } from './refresh-function.ts';
import {
  capturedSource,
  flushedTviews,
  isBroken,
  movedOf,
  type RegisteredTview,
  type Registry,
  refreshedTview,
  requireInPlace,
} from './registry.ts';

/** Channel on which a change of the registry is told. */
export const registryChannel = 'tviews';

const familySql = sqlFile('family.sql');
const privilegesSql = sqlFile('privileges.sql');

export async function familyOf(executor: SqlExecutor, oid: number): Promise<QualifiedName[]> {
  return await executor.query<{ schema: string; name: string }>(familySql(), [oid]);
}

/** Whether there is something to take away: to drop what is not there would tell so, and wait for whoever uses the table. */
async function isCaptured(executor: SqlExecutor, sourceId: number): Promise<boolean> {
  const [row] = await executor.query<{ captured: boolean }>(
    `SELECT pg_catalog.to_regproc('tviews.${captureFunctionName(sourceId, 'insert')}') IS NOT NULL AS captured`,
  );
  return row!.captured;
}

/** The triggers and functions of one source; taken away where no tview reads it any more. */
export async function generateCapture(
  executor: SqlExecutor,
  registry: Registry,
  sourceId: number,
): Promise<void> {
  const registered = registry.sources.find(({ id }) => id === sourceId);
  if (registered === undefined) return;
  const captured = capturedSource(registry, sourceId);
  if (captured !== undefined) {
    await executor.query('UPDATE tviews.source SET link_columns = $2::text::jsonb WHERE id = $1', [
      sourceId,
      JSON.stringify(captured.linkColumns),
    ]);
  }
  if (registered.kind === 'tview') return;
  if (captured === undefined && !(await isCaptured(executor, sourceId))) return;
  const family = await familyOf(executor, registered.oid);
  const keyEquality = await equalityOperators(executor, registered.oid, captured?.primaryKey ?? []);
  const statements: string[] = [];
  for (const event of captureEvents) {
    if (captured === undefined) {
      for (const table of family) {
        statements.push(`DROP TRIGGER IF EXISTS ${captureTriggerName(event)} ON ${quoteQualified(table)};`);
      }
      statements.push(
        `DROP FUNCTION IF EXISTS tviews.${quoteIdentifier(captureFunctionName(sourceId, event))}();`,
      );
    } else {
      statements.push(captureFunction({ ...captured, keyEquality }, event, registry.settings));
      for (const table of family) statements.push(captureTrigger(quoteQualified(table), sourceId, event));
    }
  }
  await run(executor, statements);
}

/**
 * What tells a tview of changes: the captures of its tables, and the refresh functions of the tviews it reads. Generated again
 * when it comes or goes. @param options whether a tview below that has moved is an error, or tells of changes as it did before
 */
export async function generateSources(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
  { moved }: { readonly moved: 'refuse' | 'leave' },
): Promise<void> {
  for (const sourceId of tview.sourceIds) {
    await generateCapture(executor, registry, sourceId);
    const source = registry.sources.find(({ id }) => id === sourceId);
    const below = registry.tviews.find(({ oid }) => oid === source?.oid);
    if (below === undefined || (moved === 'leave' && movedOf(registry, below).length > 0)) continue;
    await generateRefresh(executor, registry, below);
  }
}

export async function generateRefresh(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
): Promise<void> {
  requireInPlace(registry, tview);
  const refreshed = refreshedTview(registry, tview);
  await run(executor, [refreshFunction(refreshed, registry.settings), compareFunction(refreshed)]);
}

/** Last of all: it calls the refresh functions. Replaced, never dropped: its oid is known to proxies. */
export async function generateFlush(executor: SqlExecutor, registry: Registry): Promise<void> {
  await run(executor, [
    flushFunction(flushedTviews(registry), registry.settings),
    adoptOrphans,
    privilegesSql(),
  ]);
  // Proxies hold a copy of the registry (proxy/tviews/catalog.ts); they read it again when this commits.
  await executor.query(`SELECT pg_catalog.pg_notify('${registryChannel}', '')`);
}

/** With the xid of a transaction that no snapshot taken so far sees. */
export async function stampTicket(executor: SqlExecutor, tview: number): Promise<void> {
  await executor.query(
    `SELECT pg_catalog.setval('tviews.${ticketName(tview)}', pg_catalog.pg_current_xact_id()::text::bigint)`,
  );
}

export async function generateEverything(executor: SqlExecutor, registry: Registry): Promise<void> {
  for (const { id } of registry.sources) await generateCapture(executor, registry, id);
  for (const tview of registry.tviews) {
    // What is broken can only be dropped or replaced, and for that it need not be generated; nor need what is suspended.
    const canWait = tview.isSuspended ? movedOf(registry, tview).length > 0 : isBroken(registry, tview);
    if (!canWait) await generateRefresh(executor, registry, tview);
    // As when it was created: under another protocol nobody may have left one, and older snapshots are still about.
    await stampTicket(executor, tview.id);
  }
  await generateFlush(executor, registry);
}

/**
 * What works on our own tables belongs to the schema's owner, whoever applied. Refresh and compare functions do not: they
 * read the applier's view and write the applier's table.
 */
const adoptOrphans = `DO $$
DECLARE
  command text;
BEGIN
  -- Made anew by whoever runs "init": the rights they run with must stay those of the one who applied.
  FOR command IN
    SELECT pg_catalog.format('ALTER FUNCTION %s OWNER TO %s', p.oid::pg_catalog.regprocedure, c.relowner::pg_catalog.regrole)
    FROM tviews.tview AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.relation
    JOIN pg_catalog.pg_proc AS p
      ON p.pronamespace = 'tviews'::pg_catalog.regnamespace
      AND p.proname ~ ('^(refresh|compare)_.*_' || t.id || '$') AND p.proowner <> c.relowner
  LOOP
    EXECUTE command;
  END LOOP;
  FOR command IN
    SELECT pg_catalog.format('ALTER FUNCTION %s OWNER TO %s', p.oid::pg_catalog.regprocedure, n.nspowner::pg_catalog.regrole)
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname = 'tviews'
    WHERE p.proowner <> n.nspowner AND p.proname !~ '^(refresh|compare)_'
    UNION ALL
    SELECT pg_catalog.format(
      'ALTER %s %s OWNER TO %s',
      CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::pg_catalog.regclass, n.nspowner::pg_catalog.regrole
    )
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'tviews'
    WHERE c.relowner <> n.nspowner AND c.relkind IN ('r', 'S')
      -- The sequence of an identity column goes with its table.
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS d
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'i'
      )
  LOOP
    EXECUTE command;
  END LOOP;
END
$$;`;

async function run(executor: SqlExecutor, statements: readonly string[]): Promise<void> {
  if (statements.length > 0) await executor.query(statements.join('\n'));
}
