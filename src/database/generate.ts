/** Puts the generated part of schema tviews in place: claim, captures, refresh functions, flush. Runs in the caller's transaction. */

import { claimFunction } from './claim-function.ts';
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
  await generateClaim(executor);
  await generateFlush(executor, registry);
}

async function generateClaim(executor: SqlExecutor): Promise<void> {
  const [secret] = await executor.query<{ digest: string }>(
    `SELECT pg_catalog.encode(pg_catalog.sha256(s.value), 'hex') AS digest FROM tviews.secret AS s`,
  );
  await executor.query(claimFunction(secret!.digest));
}
