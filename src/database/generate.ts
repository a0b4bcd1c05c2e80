/** Puts the generated part of schema tviews in place: captures, refresh functions, flush. Runs in the caller's transaction. */

import { loadFamilies } from '../definition/family.ts';
import {
  blanketFunction,
  type CapturedSource,
  captureEvents,
  captureFunction,
  captureFunctionName,
  captureTrigger,
  rowCaptureFunction,
  rowCaptureName,
  rowCaptureTrigger,
  rowCaptureTriggerName,
} from './capture.ts';
import { compareFunction } from './compare-function.ts';
import { equalityOperators } from './equality.ts';
import type { SqlExecutor } from './executor.ts';
import { changedFamilies, leaveForRepair, type Member, membersOf, recordMembers } from './family.ts';
import { sqlFile } from './files.ts';
import { flushFunction, ticketName } from './flush-function.ts';
import { quoteIdentifier, quoteQualified } from './identifier.ts';
import { refreshFunction } from './refresh-function.ts';
import {
  capturedSource,
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

/** Which of a source's capture functions are there. */
async function functionsOf(executor: SqlExecutor, sourceId: number): Promise<string[]> {
  const rows = await executor.query<{ name: string }>(
    `SELECT p.proname AS name FROM pg_catalog.pg_proc AS p
     WHERE p.pronamespace = 'tviews'::pg_catalog.regnamespace AND p.proname = ANY ($1)`,
    [captureFunctions(sourceId)],
  );
  return rows.map(({ name }) => name);
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
  if (captured === undefined) {
    await removeCapture(executor, sourceId);
    return;
  }
  const family = await membersOf(executor, registered.oid);
  const keyEquality = await equalityOperators(executor, registered.oid, captured.primaryKey ?? []);
  const source = { ...captured, keyEquality };
  const isForeseen = await knowsItsFamily(executor, registered.oid, source);
  const statements: string[] = [];
  for (const event of captureEvents) {
    statements.push(
      isForeseen
        ? captureFunction(source, event, registry.settings)
        : blanketFunction(sourceId, event, registry.settings),
    );
    for (const member of family.filter(({ isWatched }) => isWatched)) {
      const isSource = member.oid === registered.oid;
      statements.push(captureTrigger(quoteQualified(member), sourceId, event, isSource));
    }
  }
  statements.push(...rowCapture(source, family, registered.oid, registry.settings));
  const [change] = await changedFamilies(executor, sourceId);
  await run(executor, statements);
  const strays = await capturedTables(executor, sourceId);
  await dropTriggers(
    executor,
    strays.filter(({ oid, isOurs }) => isOurs && !family.some((member) => member.oid === oid)),
  );
  // At first there is nothing to mend: whoever is made to read it is filled.
  if (change !== undefined && !(change.isFirst && isForeseen)) {
    await leaveForRepair(executor, source, change, family);
  }
  // A family that no plan was made for is told of until one is.
  if (isForeseen) await recordMembers(executor, sourceId, family);
}

/**
 * Whether the plans of its readers were made for what the source is in its family now. A table that has got heirs, or was made a
 * partition, since then: its key may not be one any more, and what is compared of its rows too little.
 */
async function knowsItsFamily(
  executor: SqlExecutor,
  oid: number,
  source: CapturedSource & { readonly forms: readonly string[] },
): Promise<boolean> {
  const family = (await loadFamilies(executor, [oid])).get(oid);
  if (family === undefined || family.form === 'child') return false;
  return (
    (family.form !== 'parent' || source.forms.every((form) => form === 'parent')) &&
    family.partitionColumns.every((column) => source.referencedColumns.includes(column)) &&
    (family.pairsByKey || source.primaryKey === null)
  );
}

/** For partitions to come, where there can be any. */
function rowCapture(
  source: CapturedSource,
  family: readonly Member[],
  oid: number,
  settings: Registry['settings'],
): string[] {
  const own = family.find((member) => member.oid === oid);
  if (own?.isPartitioned !== true) return [];
  const trigger = rowCaptureTriggerName(source.id);
  return [
    rowCaptureFunction(source, settings),
    // A partition's owner puts the trigger on it by making it.
    `GRANT EXECUTE ON FUNCTION tviews.${quoteIdentifier(rowCaptureName(source.id))}() TO PUBLIC;`,
    rowCaptureTrigger(quoteQualified(own), source.id),
    // Off where the statement triggers are: in the partition, not in a condition of the trigger's that names it, so that one which
    // is detached and attached again, or another one of its name or oid, has it on. Where we may not, rows are told of twice.
    ...family
      .filter(
        (member) => member.isPartitionOfIt && !member.isPartitioned && member.isWatched && member.isOurs,
      )
      .map((member) => `ALTER TABLE ${quoteQualified(member)} DISABLE TRIGGER ${trigger};`),
  ];
}

interface CapturedTable {
  readonly oid: number;
  /** `schema.table`, quoted. */
  readonly table: string;
  readonly trigger: string;
  /** Whether we may take the trigger away. */
  readonly isOurs: boolean;
}

/** Tables that carry a source's capture, a partition that was detached among them. */
async function capturedTables(executor: SqlExecutor, sourceId: number): Promise<CapturedTable[]> {
  const rows = await executor.query<Omit<CapturedTable, 'oid'> & { oid: string }>(
    `SELECT
       c.oid::bigint AS oid,
       pg_catalog.format('%I.%I', n.nspname, c.relname) AS "table",
       pg_catalog.quote_ident(t.tgname) AS trigger,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') AS "isOurs"
     FROM pg_catalog.pg_trigger AS t
     JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid AND p.pronamespace = 'tviews'::pg_catalog.regnamespace
     JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
     JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE p.proname = ANY ($1) AND t.tgparentid = 0
     ORDER BY c.oid, t.tgname`,
    [captureFunctions(sourceId)],
  );
  return rows.map((row) => ({ ...row, oid: Number(row.oid) }));
}

const captureFunctions = (sourceId: number): string[] => [
  ...captureEvents.map((event) => captureFunctionName(sourceId, event)),
  rowCaptureName(sourceId),
];

async function dropTriggers(executor: SqlExecutor, triggers: readonly CapturedTable[]): Promise<void> {
  await run(
    executor,
    triggers.map(({ table, trigger }) => `DROP TRIGGER ${trigger} ON ${table};`),
  );
}

async function removeCapture(executor: SqlExecutor, sourceId: number): Promise<void> {
  await dropTriggers(executor, await capturedTables(executor, sourceId));
  await run(
    executor,
    (await functionsOf(executor, sourceId)).map((name) => `DROP FUNCTION tviews.${quoteIdentifier(name)}();`),
  );
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

async function run(executor: SqlExecutor, statements: readonly string[]): Promise<void> {
  if (statements.length > 0) await executor.query(statements.join('\n'));
}
