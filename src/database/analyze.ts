/**
 * Tries what a change of each source costs: one existing row of it is flushed as if it had been updated, in a transaction that
 * is rolled back. An update that changes nothing would not do, capture drops it; so flush is told of the row itself.
 *
 * A flush takes the locks of a flush, and whoever commits something that meets the same row waits for it. So everything that
 * needs none is done before, computing the rows among it; each flush is rolled back as soon as it has answered, and gives up
 * rather than wait or run for long; each source has a transaction of its own.
 */
import { type Column, changesEverything, type QualifiedName, type Source } from '../definition/plan.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import type { SqlExecutor } from './executor.ts';
import { keysOfImages, rowsOfKeys } from './explain.ts';
import type { FlushReport } from './flush-function.ts';
import { quoteLiteral, quoteQualified, writtenName } from './identifier.ts';
import { imageExpression } from './image.ts';
import { elementType } from './locks.ts';
import { type Ran, runOf, sizesOf } from './query-plan.ts';
import { keysWithoutAsking } from './refresh-function.ts';
import {
  capturedSource,
  loadRegistry,
  type RegisteredTview,
  type Registry,
  requireInPlace,
  requireTview,
} from './registry.ts';
import { rolledBack, sqlStateOf, withSettings } from './session.ts';
import { refreshSettings } from './settings.ts';

export interface AnalyzeOptions {
  /** To wait for a lock. */
  readonly lockTimeoutMs?: number;
  /** For a statement that holds no lock of ours. */
  readonly readTimeoutMs?: number;
  /** For a flush, and so for how long others may have to wait. */
  readonly flushTimeoutMs?: number;
}

/** `reads`: taking a row, its key queries, computing the rows of its keys. */
export type AnalyzeStep = 'reads' | 'flush';

export interface Analysis {
  readonly source: QualifiedName;
  readonly outcome:
    | { readonly kind: 'empty' }
    /** Any change makes every row be computed, alone: nobody is kept waiting for a figure. */
    | { readonly kind: 'everything' }
    /** A lock was not to be had, or it took too long. */
    | { readonly kind: 'failed'; readonly step: AnalyzeStep; readonly message: string }
    | ({ readonly kind: 'done' } & Flushed);
}

export interface Flushed {
  /** The link columns of the row that was taken: JSON as text, in which a bigint keeps its digits. */
  readonly image: string;
  readonly keys: number;
  /** Of this tview. Something was written: it had not been in step. */
  readonly written: number;
  readonly deleted: number;
  readonly ms: number;
  /** The first one of a session, which has to plan its statements. */
  readonly firstMs: number;
  /** The whole report: tviews that read this one are in it where one of its rows was written. */
  readonly report: readonly FlushReport[];
  /** Its mapped occurrences' key queries, each once. */
  readonly keyQueries: readonly ({ readonly path: string } & Ran)[];
  /** `whole`: so many keys that a refresh computes all rows and compares. */
  readonly recompute: { readonly how: 'keys' | 'whole' } & Ran;
}

/** `executor` must not be inside a transaction. */
export async function analyzeTview(
  executor: SqlExecutor,
  name: string | { readonly schema: string | null; readonly name: string },
  options: AnalyzeOptions = {},
): Promise<Analysis[]> {
  const { registry, tview } = await rolledBack(executor, 'READ ONLY', async () => {
    const loaded = await loadRegistry(executor);
    const found = await requireTview(executor, loaded, name);
    requireInPlace(loaded, found);
    requireKept(found);
    return { registry: loaded, tview: found };
  });
  const analyses: Analysis[] = [];
  for (const [place, source] of tview.plan.sources.entries()) {
    const outcome = await analyzeSource(executor, registry, tview, place, options);
    analyses.push({ source: source.table, outcome });
  }
  return analyses;
}

function requireKept(tview: RegisteredTview): void {
  if (!tview.isSuspended) return;
  const name = writtenName(tview);
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `cannot analyze tview ${name} because it is suspended`,
    { hint: `No flush knows it. Run "tviews resume ${name}", or explain it without --analyze.` },
  );
}

/** 55P03: a lock was not to be had in time; 57014: a statement took too long; 40P01: another was in the way. */
const givenUp: ReadonlySet<string | undefined> = new Set(['55P03', '57014', '40P01']);

async function analyzeSource(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
  place: number,
  { lockTimeoutMs = 2_000, readTimeoutMs = 30_000, flushTimeoutMs = 5_000 }: AnalyzeOptions,
): Promise<Analysis['outcome']> {
  if (changesEverything(tview.plan.sources[place]!)) return { kind: 'everything' };
  let step: AnalyzeStep = 'reads';
  try {
    return await rolledBack(executor, 'READ WRITE', async () => {
      await executor.query(
        `SET LOCAL lock_timeout = ${lockTimeoutMs};
         SET LOCAL statement_timeout = ${readTimeoutMs};
         SET LOCAL idle_in_transaction_session_timeout = ${2 * flushTimeoutMs}`,
      );
      const sample = await withSettings(executor, refreshSettings, () =>
        readSample(executor, registry, tview, place),
      );
      if (sample === null) return { kind: 'empty' };
      step = 'flush';
      await executor.query(`SET LOCAL statement_timeout = ${flushTimeoutMs}`);
      // Of this tview alone ("t"); "k", as an update that leaves the links as they are: who attaches other rows is not locked out.
      const change = `[{"s": ${tview.sourceIds[place]!}, "r": [${sample.image}], "t": [${tview.id}], "k": true}]`;
      const first = await flush(executor, change);
      const report = await flush(executor, change);
      const own = (entries: readonly FlushReport[]): FlushReport | undefined =>
        entries.find((entry) => entry.tview === tview.id);
      const { keys = 0, written = 0, deleted = 0, ms = 0 } = own(report) ?? {};
      return { kind: 'done', ...sample, keys, written, deleted, ms, firstMs: own(first)?.ms ?? 0, report };
    });
  } catch (error) {
    if (!(error instanceof Error) || !givenUp.has(sqlStateOf(error))) throw error;
    return { kind: 'failed', step, message: error.message };
  }
}

/** Gives its locks back, and what it may have written, before it is looked at. */
async function flush(executor: SqlExecutor, change: string): Promise<readonly FlushReport[]> {
  await executor.query('SAVEPOINT flush');
  const [row] = await executor.query<{ report: readonly FlushReport[] }>(
    'SELECT tviews.flush($1::text::jsonb, false) AS report',
    [change],
  );
  await executor.query('ROLLBACK TO SAVEPOINT flush');
  return row!.report;
}

type Sample = Pick<Flushed, 'image' | 'keyQueries' | 'recompute'>;

async function readSample(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
  place: number,
): Promise<Sample | null> {
  const source = tview.plan.sources[place]!;
  const { linkColumns } = capturedSource(registry, tview.sourceIds[place]!)!;
  const image = await sampleImage(executor, source.table, linkColumns);
  if (image === undefined) return null;
  return { image, ...(await runReads(executor, registry, tview, source, quoteLiteral(`[${image}]`))) };
}

/** Pages a sample is taken from: rows of one page are often from one day, or of one customer. */
const pagesSampled = 32;

async function sampleImage(
  executor: SqlExecutor,
  table: QualifiedName,
  columns: readonly Column[],
): Promise<string | undefined> {
  const [size] = await sizesOf(executor, [table]);
  const pages = Math.max(1, size!.tableBytes / 8192);
  const image = `(${imageExpression('s', columns)})::text`;
  const from = quoteQualified(table);
  const share = Math.min(100, (100 * pagesSampled) / pages);
  const [sampled] = await executor.query<{ image: string }>(
    `SELECT ${image} AS image FROM ${from} AS s TABLESAMPLE SYSTEM (${share}) ORDER BY pg_catalog.random() LIMIT 1`,
  );
  if (sampled !== undefined) return sampled.image;
  // The pages drawn were empty ones.
  const [any] = await executor.query<{ image: string }>(`SELECT ${image} AS image FROM ${from} AS s LIMIT 1`);
  return any?.image;
}

async function runReads(
  executor: SqlExecutor,
  { settings }: Registry,
  tview: RegisteredTview,
  source: Source,
  images: string,
): Promise<Pick<Flushed, 'keyQueries' | 'recompute'>> {
  const { plan } = tview;
  const queries = new Map(
    source.occurrences.flatMap((occurrence) =>
      occurrence.keyQuery === null ? [] : [[occurrence.keyQuery, occurrence] as const],
    ),
  );
  const keyQueries: ({ path: string } & Ran)[] = [];
  for (const [keyQuery, { mapping, path }] of queries) {
    // A row that has the key itself is not looked up.
    if (mapping === 'local') continue;
    keyQueries.push({ path, ...(await runOf(executor, keysOfImages(source, keyQuery, images))) });
  }
  const names = plan.key.map((_, i) => `k${i + 1}`);
  const union = [...queries.keys()]
    .map((keyQuery) => `(${keysOfImages(source, keyQuery, images)})`)
    .join('\nUNION ALL\n');
  const [found] = await executor.query<{ keys: string; arrays: (string | null)[] }>(
    `SELECT pg_catalog.count(*) AS keys,
       array[${names.map((name, i) => `pg_catalog.array_agg(d.${name})::${elementType(plan.key[i]!.type)}[]::text`).join(', ')}] AS arrays
     FROM (SELECT DISTINCT ${names.join(', ')} FROM (${union}) AS found (${names.join(', ')})) AS d`,
  );
  const keys = Number(found!.keys);
  const [size] = await sizesOf(executor, [plan.table]);
  const isWhole =
    keys > keysWithoutAsking && size!.rows !== null && keys > size!.rows * settings.fullRefreshShare;
  const query = isWhole
    ? `SELECT * FROM ${quoteQualified(plan.view)} AS v`
    : rowsOfKeys(
        tview,
        plan,
        found!.arrays.map((array) => array ?? '{}'),
      );
  return { keyQueries, recompute: { how: isWhole ? 'whole' : 'keys', ...(await runOf(executor, query)) } };
}
