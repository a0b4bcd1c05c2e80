/**
 * Generates the capture of one source: a trigger function for each kind of statement. A capture function says which rows
 * changed, as images of their link columns; it derives no keys, because another transaction can still move a link before
 * we commit (keys-and-locks.md, H1).
 */
import type { Column } from '../definition/plan.ts';
import { claimVersion } from './claim-function.ts';
import { quoteIdentifier, quoteLiteral } from './identifier.ts';
import { captureSettings, imageExpression } from './image.ts';
import { setClauses } from './settings.ts';
import { dollarQuote, hang } from './text.ts';

/** A source as all the tviews that read it need it: unions over their plans. */
export interface CapturedSource {
  readonly id: number;
  readonly linkColumns: readonly Column[];
  readonly referencedColumns: readonly string[];
  readonly primaryKey: readonly string[] | null;
  /** Who reads it, and what of it: an update that changes nothing of a reader's columns is none of that reader's business. */
  readonly readers: readonly { readonly tview: number; readonly referencedColumns: readonly string[] }[];
}

export interface CaptureOptions {
  /** A change whose JSON is longer goes to the queue, claimed or not. */
  readonly noticeBytes: number;
}

export const captureEvents = ['insert', 'update', 'delete', 'truncate'] as const;
export type CaptureEvent = (typeof captureEvents)[number];

/** More images than this in one change: recompute everything instead. Bounded by what one JSON array can hold, 256 MB. */
export const maximumImages = 500_000;

export const captureFunctionName = (source: number, event: CaptureEvent): string =>
  `capture_${source}_${event}`;
export const captureTriggerName = (event: CaptureEvent): string => `tviews_capture_${event}`;

export function captureFunction(
  source: CapturedSource,
  event: CaptureEvent,
  options: CaptureOptions,
): string {
  const body = event === 'truncate' ? everythingBody(source.id, options) : rowsBody(source, event, options);
  const columns = event === 'truncate' ? [] : source.linkColumns;
  return functionOf(captureFunctionName(source.id, event), columns, body);
}

/** Says of every statement, whatever it writes, that everything may have changed. */
export const blanketFunction = (source: number, event: CaptureEvent, options: CaptureOptions): string =>
  functionOf(captureFunctionName(source, event), [], everythingBody(source, options));

const functionOf = (
  name: string,
  columns: readonly Column[],
  body: string,
): string => `CREATE OR REPLACE FUNCTION tviews.${quoteIdentifier(name)}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
${setClauses(captureSettings(columns))}
AS ${dollarQuote(body)};`;

/**
 * The statement that puts the trigger on a table: on the source under its plain name, on another member of its family, which
 * may be a source itself, under one that says whose it is.
 */
export function captureTrigger(
  table: string,
  source: number,
  event: CaptureEvent,
  isSource: boolean,
): string {
  const name = isSource ? captureTriggerName(event) : `${captureTriggerName(event)}_${source}`;
  const referencing = {
    insert: 'REFERENCING NEW TABLE AS new_rows ',
    update: 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ',
    delete: 'REFERENCING OLD TABLE AS old_rows ',
    truncate: '',
  }[event];
  return `CREATE OR REPLACE TRIGGER ${name} AFTER ${event.toUpperCase()} ON ${table}
${referencing}FOR EACH STATEMENT EXECUTE FUNCTION tviews.${quoteIdentifier(captureFunctionName(source, event))}();`;
}

export const rowCaptureName = (source: number): string => `capture_${source}_row`;

/**
 * The capture of partitions that did not exist when the triggers were put in place. PostgreSQL gives a new partition the row
 * triggers of the table it becomes part of, not its statement triggers. Row by row is slow; but nobody of ours has to be
 * told of a new partition before it is written.
 *
 * Everybody may execute it, because that is what whoever makes a partition must be able to. So it runs as the one who owns our
 * schema on tables of the source's family only: the values of another table could bring casts of their owner's along.
 */
export function rowCaptureFunction(source: CapturedSource, options: CaptureOptions): string {
  const image = (alias: 'NEW' | 'OLD') => imageExpression(alias, source.linkColumns);
  const row = (alias: 'NEW' | 'OLD') => rowOf(alias, source.referencedColumns);
  const body = `DECLARE
  change jsonb;
  claimed boolean;
BEGIN
  IF NOT EXISTS (
    SELECT FROM tviews.source AS s
    WHERE s.id = ${source.id} AND s.relation::oid IN (SELECT a.relid FROM pg_partition_ancestors(TG_RELID) AS a)
  ) THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    change := jsonb_build_array(${image('NEW')});
  ELSIF TG_OP = 'DELETE' THEN
    change := jsonb_build_array(${image('OLD')});
  ELSIF ${row('OLD')} *<> ${row('NEW')} THEN
    change := jsonb_build_array(${image('OLD')}, ${image('NEW')});
  ELSE
    RETURN NULL;
  END IF;
  change := jsonb_build_object('s', ${source.id}, 'r', change);
  ${hang(deliver(options), 2)}
  RETURN NULL;
END`;
  return functionOf(rowCaptureName(source.id), source.linkColumns, body);
}

export const rowCaptureTriggerName = (source: number): string => `tviews_capture_row_${source}`;

/** The trigger that a partition gets from its parent by becoming its partition. */
export const rowCaptureTrigger = (
  table: string,
  source: number,
): string => `CREATE OR REPLACE TRIGGER ${rowCaptureTriggerName(source)} AFTER INSERT OR UPDATE OR DELETE ON ${table}
FOR EACH ROW EXECUTE FUNCTION tviews.${quoteIdentifier(rowCaptureName(source))}();`;

function rowsBody(
  source: CapturedSource,
  event: Exclude<CaptureEvent, 'truncate'>,
  options: CaptureOptions,
): string {
  const isUpdate = event === 'update';
  const parts = isUpdate ? relevantParts(source) : [];
  // Each expression costs as much as all it says, so there are few.
  return `DECLARE
  images jsonb;
  change jsonb;
  claimed boolean;${isUpdate ? '\n  old_images jsonb;' : ''}${parts.length === 0 ? '' : `\n  ${parts.map((_, i) => `matters_${i + 1} boolean;`).join('\n  ')}`}
BEGIN
  ${hang(imagesStatement(source, event, parts), 2)}
  IF ${isUpdate ? 'COALESCE(images, old_images)' : 'images'} IS NULL THEN
    RETURN NULL;
  END IF;
  change := ${hang(isUpdate ? pairedChange(source.id, parts) : changeOf(source.id, 'jsonb_array_length(images)', 'images'), 2)};
  ${hang(deliver(options), 2)}
  RETURN NULL;
END`;
}

const changeOf = (source: number, count: string, images: string): string => `CASE
  WHEN ${count} > ${maximumImages} THEN jsonb_build_object('s', ${source}, 'all', true)
  ELSE jsonb_build_object('s', ${source}, 'r', ${images})
END`;

/**
 * Where no old image differs from its new one, every row was there before and kept its links: nothing else is attached to
 * it, or to anything through it, than was before, and a flush need not keep those away who attach.
 */
function pairedChange(source: number, parts: readonly Part[]): string {
  const count = `COALESCE(jsonb_array_length(images), 0) + COALESCE(jsonb_array_length(old_images), 0)`;
  const all = `CASE WHEN old_images IS NULL THEN images ELSE COALESCE(images, '[]') || old_images END`;
  return `${changeOf(source, count, all)} || CASE WHEN old_images IS NULL THEN '{"k": true}'::jsonb ELSE '{}' END${relevance(parts)}`;
}

function everythingBody(source: number, options: CaptureOptions): string {
  return `DECLARE
  change jsonb := jsonb_build_object('s', ${source}, 'all', true);
  claimed boolean;
BEGIN
  ${hang(deliver(options), 2)}
  RETURN NULL;
END`;
}

/** Readers that look at the same columns. */
interface Part {
  readonly tviews: readonly number[];
  readonly referencedColumns: readonly string[];
}

/** The readers by what they look at; empty where all look at the same, and so nothing can be told apart. */
function relevantParts(source: CapturedSource): readonly Part[] {
  const parts = new Map<string, { tviews: number[]; referencedColumns: readonly string[] }>();
  for (const { tview, referencedColumns } of source.readers) {
    const key = JSON.stringify(referencedColumns.toSorted());
    const part = parts.get(key);
    if (part === undefined) parts.set(key, { tviews: [tview], referencedColumns });
    else part.tviews.push(tview);
  }
  return parts.size > 1 ? [...parts.values()] : [];
}

/** Names the tviews the change matters to, unless it matters to all: a price is nothing to a list of names. */
function relevance(parts: readonly Part[]): string {
  if (parts.length === 0) return '';
  const lists = parts.map(
    ({ tviews }, i) => `CASE WHEN matters_${i + 1} THEN '[${tviews.join(', ')}]'::jsonb ELSE '[]' END`,
  );
  const toAll = parts.map((_, i) => `matters_${i + 1}`).join(' AND ');
  return ` || CASE WHEN ${toAll} THEN '{}'::jsonb ELSE jsonb_build_object('t', ${lists.join(' || ')}) END`;
}

function imagesStatement(
  source: CapturedSource,
  event: Exclude<CaptureEvent, 'truncate'>,
  parts: readonly Part[],
): string {
  if (event === 'update') return updateImages(source, parts);
  return `SELECT ${imageArray(source, 'r')} INTO images
FROM ${event === 'insert' ? 'new_rows' : 'old_rows'} AS r;`;
}

/** The aggregate of a side's images. Those that carry the primary key are distinct as they are. */
function imageArray(source: CapturedSource, alias: string): string {
  const carried = new Set(source.linkColumns.map(({ name }) => name));
  const distinct = source.primaryKey?.every((column) => carried.has(column)) ? '' : 'DISTINCT ';
  return `jsonb_agg(${distinct}${imageExpression(alias, source.linkColumns)})`;
}

/**
 * The first old row beside the first new one, and so on, as PostgreSQL has written them; those whose columns are the same
 * bytes are no change. By bytes: '1.0'::jsonb equals '1.00'::jsonb, and yet the document changes (R16). The casts keep the
 * parser from comparing column by column.
 *
 * Not paired by a key: what a foreign key's cascade writes to the same table is in the same transition tables, where one key
 * is there twice then, its row as it was in between among them (decision 013). Nor need the pairs be old and new of one row for this to be
 * right: as each row is in one pair, what is left of the two bags when equal pairs are taken from both is their difference
 * still (R17). An old image that equals the new one beside it is not said twice.
 */
function updateImages(source: CapturedSource, parts: readonly Part[]): string {
  const place = '"tviews place"';
  const alone = `o.${place} IS NULL OR n.${place} IS NULL`;
  const differ = (columns: readonly string[]) => `${rowOf('o', columns)} *<> ${rowOf('n', columns)}`;
  const matters = parts.map(
    ({ referencedColumns }) => `,\n  bool_or(${alone} OR ${differ(referencedColumns)})`,
  );
  const moved = `n.${place} IS NULL OR ${differ(source.linkColumns.map(({ name }) => name))}`;
  const rows = (name: string) => `(SELECT *, row_number() OVER () AS ${place} FROM ${name})`;
  return `SELECT
  ${imageArray(source, 'n')} FILTER (WHERE n.${place} IS NOT NULL),
  ${imageArray(source, 'o')} FILTER (WHERE o.${place} IS NOT NULL AND (${moved}))${matters.join('')}
INTO images, old_images${parts.map((_, i) => `, matters_${i + 1}`).join('')}
FROM ${rows('old_rows')} AS o
FULL JOIN ${rows('new_rows')} AS n ON n.${place} = o.${place}
WHERE ${alone}
  OR ${differ(source.referencedColumns)};`;
}

export function rowOf(alias: string, columns: readonly string[]): string {
  return `ROW(${columns.map((column) => `${alias}.${quoteIdentifier(column)}`).join(', ')})::record`;
}

/**
 * To the proxy where it holds the transaction, else to the queue. Queued too: what is too long for a notice, and what is
 * not UTF-8 on both sides: it might have no place in the client's encoding, which would be an error in the user's statement.
 *
 * The setting alone proves nothing, anyone may SET it; the sequence's session value does (decision 001). IS TRUE: the
 * setting is null in a session that never had a claim, and null AND … would go on to ask the sequence.
 */
function deliver({ noticeBytes }: CaptureOptions): string {
  return `IF (current_setting('tviews.claim', true) = ${quoteLiteral(String(claimVersion))}) IS TRUE THEN
  BEGIN
    claimed := currval('tviews.claimed') = (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint;
  EXCEPTION
    -- No claim in this session: somebody set tviews.claim by hand, or discarded its sequences.
    WHEN object_not_in_prerequisite_state THEN
      claimed := false;
  END;
  IF claimed THEN
    IF octet_length(change::text) <= ${noticeBytes} AND pg_client_encoding() = 'UTF8' AND getdatabaseencoding() = 'UTF8' THEN
      RAISE INFO USING ERRCODE = 'TV001', MESSAGE = change::text;
      RETURN NULL;
    END IF;
    RAISE INFO USING ERRCODE = 'TV001', MESSAGE = ${quoteLiteral('{"queued": true}')};
  END IF;
END IF;
INSERT INTO tviews.queue (change) VALUES (change);`;
}
