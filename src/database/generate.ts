/** Puts the generated part of schema tviews in place: captures, refresh functions, flush. Runs in the caller's transaction. */

import { compareFunction } from './compare-function.ts';
import type { SqlExecutor } from './executor.ts';
import { sqlFile } from './files.ts';
import { flushFunction, ticketName } from './flush-function.ts';
import { generateCaptures } from './generate-captures.ts';
import { refreshFunction } from './refresh-function.ts';
import {
  flushedTviews,
  movedOf,
  type RegisteredTview,
  type Registry,
  refreshedTview,
  requireInPlace,
} from './registry.ts';

/** Channel on which a change of the registry is told. */
export const registryChannel = 'tviews';

const privilegesSql = sqlFile('privileges.sql');

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
  await generateCaptures(executor, registry, tview.sourceIds);
  for (const sourceId of tview.sourceIds) {
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
  await executor.query(`${refreshFunction(refreshed, registry.settings)}\n${compareFunction(refreshed)}`);
}

/** Last of all: it calls the refresh functions. Replaced, never dropped: its oid is known to proxies. */
export async function generateFlush(executor: SqlExecutor, registry: Registry): Promise<void> {
  await executor.query(
    [
      flushFunction(flushedTviews(registry), registry.settings),
      adoptOrphans,
      privilegesSql(),
      // Proxies hold a copy of the registry (proxy/tviews/catalog.ts); they read it again when this commits.
      `NOTIFY ${registryChannel};`,
    ].join('\n'),
  );
}

/** With the xid of a transaction that no snapshot taken so far sees. */
export async function stampTicket(executor: SqlExecutor, tview: number): Promise<void> {
  await executor.query(
    `SELECT pg_catalog.setval('tviews.${ticketName(tview)}', pg_catalog.pg_current_xact_id()::text::bigint)`,
  );
}

export async function generateEverything(executor: SqlExecutor, registry: Registry): Promise<void> {
  await generateCaptures(
    executor,
    registry,
    registry.sources.map(({ id }) => id),
  );
  for (const tview of registry.tviews) {
    // What is broken, or could not be followed, is as it was until it is dropped or replaced.
    if (movedOf(registry, tview).length === 0) await generateRefresh(executor, registry, tview);
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
      -- One that is being built stays with the one who applies it.
      AND NOT EXISTS (SELECT FROM tviews.tview AS t WHERE t.relation = c.oid)
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
