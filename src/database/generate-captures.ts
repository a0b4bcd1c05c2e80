/** Puts the triggers and functions in place that tell of the changes of sources. */
import { type Family, loadFamilies } from '../definition/family.ts';
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
import type { SqlExecutor } from './executor.ts';
import { changedFamilies, leaveForRepair, type Member, membersOf, recordMembers } from './family.ts';
import { quoteIdentifier, quoteQualified } from './identifier.ts';
import { capturedSource, type Registry, type WantedCapture } from './registry.ts';

/** Of these sources; taken away where no tview reads one any more. */
export async function generateCaptures(
  executor: SqlExecutor,
  registry: Registry,
  sourceIds: readonly number[],
): Promise<void> {
  const unread: number[] = [];
  const read: WantedTable[] = [];
  for (const { id, oid, kind } of registry.sources) {
    // Changes of a tview come from its own flush.
    if (kind === 'tview' || !sourceIds.includes(id)) continue;
    const wanted = capturedSource(registry, id);
    if (wanted === undefined) unread.push(id);
    else read.push({ ...wanted, oid });
  }
  await removeCaptures(executor, unread);
  await putCaptures(executor, registry, read);
}

type WantedTable = WantedCapture & { readonly oid: number };

/** A source, and what the catalog says of it now. */
interface Capture {
  readonly oid: number;
  readonly source: CapturedSource;
  readonly members: readonly Member[];
  /** Whether the plans of its readers were made for the family it has. */
  readonly isForeseen: boolean;
}

async function putCaptures(
  executor: SqlExecutor,
  registry: Registry,
  wanted: readonly WantedTable[],
): Promise<void> {
  if (wanted.length === 0) return;
  const ids = wanted.map(({ id }) => id);
  const captures = await look(executor, wanted);
  const changes = await changedFamilies(executor, ids);
  await run(
    executor,
    captures.flatMap((capture) => statementsFor(capture, registry.settings)),
  );
  const carriers = await capturedTables(executor, ids);
  await dropTriggers(
    executor,
    carriers.filter(
      ({ source, oid, isOurs }) =>
        isOurs &&
        !captures.some(({ source: { id }, members }) => id === source && members.some((m) => m.oid === oid)),
    ),
  );
  for (const { source, members, isForeseen } of captures) {
    const change = changes.find((family) => family.source === source.id);
    // At first there is nothing to mend: whoever is made to read it is filled.
    if (change !== undefined && !(change.isFirst && isForeseen)) {
      await leaveForRepair(executor, source, change, members);
    }
  }
  // A family that no plan was made for is told of until one is.
  await recordMembers(
    executor,
    captures.filter(({ isForeseen }) => isForeseen).map(({ source: { id }, members }) => ({ id, members })),
  );
}

async function look(executor: SqlExecutor, wanted: readonly WantedTable[]): Promise<Capture[]> {
  const oids = wanted.map(({ oid }) => oid);
  const members = await membersOf(executor, oids);
  const families = await loadFamilies(executor, oids);
  return wanted.map(({ oid, forms, ...source }) => ({
    oid,
    source,
    members: members.get(oid) ?? [],
    isForeseen: isForeseen(source, forms, families.get(oid)),
  }));
}

/**
 * Whether the plans of its readers were made for what the source is in its family now. A table that has got heirs, or was
 * made a partition, since then: what is compared of its rows may be too little.
 */
function isForeseen(
  { referencedColumns }: Pick<CapturedSource, 'referencedColumns'>,
  forms: WantedCapture['forms'],
  family: Family | undefined,
): boolean {
  if (family === undefined || family.form === 'child') return false;
  return (
    (family.form !== 'parent' || forms.every((form) => form === 'parent')) &&
    family.partitionColumns.every((column) => referencedColumns.includes(column))
  );
}

function statementsFor(
  { oid, source, members, isForeseen }: Capture,
  settings: Registry['settings'],
): string[] {
  const statements: string[] = [];
  for (const event of captureEvents) {
    statements.push(
      isForeseen ? captureFunction(source, event, settings) : blanketFunction(source.id, event, settings),
    );
    for (const member of members.filter(({ isWatched }) => isWatched)) {
      statements.push(captureTrigger(quoteQualified(member), source.id, event, member.oid === oid));
    }
  }
  return [...statements, ...rowCapture(source, members, oid, settings)];
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
  /** Id of the source whose capture it carries. */
  readonly source: number;
  readonly oid: number;
  /** `schema.table`, quoted. */
  readonly table: string;
  readonly trigger: string;
  /** Whether we may take the trigger away. */
  readonly isOurs: boolean;
}

/** Tables that carry the capture of sources, a partition that was detached among them. */
async function capturedTables(executor: SqlExecutor, sourceIds: readonly number[]): Promise<CapturedTable[]> {
  const rows = await executor.query<Omit<CapturedTable, 'oid'> & { oid: string }>(
    `SELECT
       f.source,
       c.oid::bigint AS oid,
       pg_catalog.format('%I.%I', n.nspname, c.relname) AS "table",
       pg_catalog.quote_ident(t.tgname) AS trigger,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') AS "isOurs"
     FROM ROWS FROM (pg_catalog.unnest($1::integer[]), pg_catalog.unnest($2::text[])) AS f (source, name)
     JOIN pg_catalog.pg_proc AS p ON p.proname = f.name AND p.pronamespace = 'tviews'::pg_catalog.regnamespace
     JOIN pg_catalog.pg_trigger AS t ON t.tgfoid = p.oid AND t.tgparentid = 0
     JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
     JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     ORDER BY c.oid, t.tgname`,
    [
      sourceIds.flatMap((id) => functionNames(id).map(() => id)),
      sourceIds.flatMap((id) => functionNames(id)),
    ],
  );
  return rows.map((row) => ({ ...row, oid: Number(row.oid) }));
}

const functionNames = (sourceId: number): string[] => [
  ...captureEvents.map((event) => captureFunctionName(sourceId, event)),
  rowCaptureName(sourceId),
];

async function dropTriggers(executor: SqlExecutor, triggers: readonly CapturedTable[]): Promise<void> {
  await run(
    executor,
    triggers.map(({ table, trigger }) => `DROP TRIGGER ${trigger} ON ${table};`),
  );
}

async function removeCaptures(executor: SqlExecutor, sourceIds: readonly number[]): Promise<void> {
  if (sourceIds.length === 0) return;
  await dropTriggers(executor, await capturedTables(executor, sourceIds));
  const functions = await executor.query<{ name: string }>(
    `SELECT p.proname AS name FROM pg_catalog.pg_proc AS p
     WHERE p.pronamespace = 'tviews'::pg_catalog.regnamespace AND p.proname = ANY ($1)`,
    [sourceIds.flatMap(functionNames)],
  );
  await run(
    executor,
    functions.map(({ name }) => `DROP FUNCTION tviews.${quoteIdentifier(name)}();`),
  );
}

async function run(executor: SqlExecutor, statements: readonly string[]): Promise<void> {
  if (statements.length > 0) await executor.query(statements.join('\n'));
}
