/**
 * Compares tviews with their definitions, repairs them, builds them anew.
 *
 * A comparison walks the keys in pages, each a statement in a short transaction of its own, so it holds nothing back for
 * longer than a page takes, whatever the table's size. Each page is exact by itself: a flush commits with its write. So
 * no row has to be looked at twice, and what is found is a fault, not a matter of timing.
 */
import { SqlState, TviewsError } from '../errors/errors.ts';
import { compareCostFunctionName, compareFunctionName, compareLimits } from './compare-function.ts';
import type { SqlExecutor } from './executor.ts';
import { quoteIdentifier, quoteLiteral, writtenName } from './identifier.ts';
import { loadRegistry, type RegisteredTview, requireTview } from './registry.ts';
import { flushForNoWriter } from './repair.ts';
import { sqlStateOf } from './session.ts';

/** Where in a row the table differs from the definition. */
export interface Difference {
  readonly column: string;
  /** Within a JSON document or an array; null stands for an element that one side has and the other lacks, wherever. */
  readonly path: readonly (string | number | null)[];
  /** The same elements, in another order: what an aggregate without ORDER BY may do. The row is stale all the same. */
  readonly reordered: boolean;
  /** As text, cut where it is long; null where there is none. In documents as JSON. */
  readonly old: string | null;
  readonly expected: string | null;
}

export interface DivergentRow {
  /** The definition has it and the table does not; the other way round; both have it, with different content. */
  readonly kind: 'missing' | 'surplus' | 'different';
  readonly key: Readonly<Record<string, unknown>>;
  /** Of `different`, the first ones. */
  readonly differences: readonly Difference[];
  /** There are more of them. */
  readonly more: boolean;
}

export interface Counts {
  /** Rows of the definition the table lacks. */
  readonly missing: number;
  /** Rows of the table the definition does not give. */
  readonly surplus: number;
  /** Rows both have, with different content. */
  readonly different: number;
}

export const divergentRows = ({ missing, surplus, different }: Counts): number =>
  missing + surplus + different;

/**
 * How a tview is compared. `keys`: each row of a page is computed by its key, as a refresh does. `range`: a page's rows are
 * computed together, by the range of keys that it is. `whole`: everything in one statement, where a page would cost about
 * as much as all of them, because nothing in the definition follows the order of the keys.
 */
export type Method = 'keys' | 'range' | 'whole';

export interface Verification extends Counts {
  /** Rows of the table and missing ones, as many as were compared. */
  readonly compared: number;
  readonly method: Method;
  /** False where it was stopped before the end. */
  readonly complete: boolean;
  /** The first divergent rows. */
  readonly rows: readonly DivergentRow[];
  /** An aggregate without a total order may give the same rows in another order: a difference then may be none. */
  readonly unorderedAggregate: boolean;
  /** Nobody keeps it in step: rows that differ are no fault, and are not repaired. */
  readonly suspended: boolean;
  /** What the repair wrote and deleted, in this tview and those that read it; null where none was asked for or needed. */
  readonly repaired: { readonly written: number; readonly deleted: number } | null;
}

export interface VerifyOptions {
  readonly repair?: boolean;
  /** Rows compared in one statement. */
  readonly pageSize?: number;
  /** Divergent rows to show, at most. */
  readonly rows?: number;
  /** Stops between two pages. */
  readonly signal?: AbortSignal;
  /** Ends the running statement, for a comparison that has no pages to stop between. */
  readonly cancel?: () => Promise<void>;
  /** After each page: rows compared so far, and how many there are by the planner's estimate. */
  readonly progress?: (compared: number, estimated: number) => void;
}

const usualPage = 1000;
const usualRows = 10;

/** The counts are of before the repair. `executor` must not be inside a transaction. */
export async function verifyTview(
  executor: SqlExecutor,
  name: string | { readonly schema: string | null; readonly name: string },
  options: VerifyOptions = {},
): Promise<Verification> {
  const tview = await requireTview(executor, await loadRegistry(executor), name);
  if (tview.construction !== null) {
    throw new TviewsError(
      SqlState.objectNotInPrerequisiteState,
      `tview ${writtenName(tview)} is being built: there is nothing to compare yet`,
    );
  }
  const compared = { id: tview.id, name: tview.plan.table.name };
  const { pageSize = usualPage, rows: wanted = usualRows, signal } = options;
  const { method, estimatedRows } = await chooseMethod(executor, compared, pageSize);
  const sum = { compared: 0, missing: 0, surplus: 0, different: 0 };
  const rows: DivergentRow[] = [];
  let complete = false;
  let after: Position | null = null;
  const stop = (): void => {
    // The error it ends with is the answer to it; one of the cancelling itself leaves the statement to run to its end.
    if (method === 'whole') options.cancel?.().catch(() => undefined);
  };
  signal?.addEventListener('abort', stop);
  try {
    while (!complete && signal?.aborted !== true) {
      const page: Page = await comparePage(executor, compared, {
        method,
        after,
        pageSize,
        rows: wanted - rows.length,
      });
      for (const count of ['compared', 'missing', 'surplus', 'different'] as const) sum[count] += page[count];
      rows.push(...page.rows);
      after = page.upto;
      complete = after === null;
      options.progress?.(sum.compared, Math.max(estimatedRows, sum.compared));
    }
  } catch (error) {
    if (signal?.aborted !== true || sqlStateOf(error) !== SqlState.queryCanceled) throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
  return {
    ...sum,
    method,
    complete,
    rows,
    unorderedAggregate: tview.plan.advice.some(({ kind }) => kind === 'unordered-aggregate'),
    suspended: tview.isSuspended,
    repaired:
      options.repair === true &&
      !tview.isSuspended &&
      complete &&
      signal?.aborted !== true &&
      divergentRows(sum) > 0
        ? await mend(executor, tview, rows, divergentRows(sum))
        : null,
  };
}

/** A key as the texts of its columns, in the order of the primary key's index. */
export type Position = readonly string[];

/** A tview by what its functions are named after: its id and the name it was created with. */
export interface ComparedTview {
  readonly id: number;
  readonly name: string;
}

export interface Page extends Counts {
  /** The page ends with this key; null: there are no keys behind it. */
  readonly upto: Position | null;
  readonly compared: number;
  readonly rows: readonly DivergentRow[];
}

/**
 * Compares the page behind `after`. One message, so that a connection others use too is never left inside our
 * transaction. Read only, and READ COMMITTED whatever the session's default: under SERIALIZABLE what we read could fail others' commits.
 */
export async function comparePage(
  executor: SqlExecutor,
  tview: ComparedTview,
  page: {
    readonly method: Method;
    readonly after: Position | null;
    readonly pageSize: number;
    readonly rows: number;
    readonly timeoutMs?: number;
  },
): Promise<Page> {
  const { method, after, pageSize, rows: wanted, timeoutMs } = page;
  const low = after === null ? 'NULL' : `ARRAY[${after.map(quoteLiteral).join(', ')}]::text[]`;
  const size = method === 'whole' ? 'NULL' : String(pageSize);
  const [row] = await ask<{
    upto: string[] | null;
    compared: string;
    missing: string;
    surplus: string;
    different: string;
    rows: { kind: DivergentRow['kind']; key: DivergentRow['key']; differences: Difference[] | null }[];
  }>(
    executor,
    `SELECT c.upto, c.compared, c.missing, c.surplus, c.different, c.rows
     FROM tviews.${quoteIdentifier(compareFunctionName(tview.name, tview.id))}(
       ${low}, ${size}, ${method === 'keys'}, ${Math.max(wanted, 0)}
     ) AS c`,
    timeoutMs,
  );
  return {
    upto: row!.upto,
    compared: Number(row!.compared),
    missing: Number(row!.missing),
    surplus: Number(row!.surplus),
    different: Number(row!.different),
    rows: row!.rows.map(({ kind, key, differences }) => ({
      kind,
      key,
      differences: (differences ?? []).slice(0, compareLimits.differences).map(cutValues),
      more: (differences ?? []).length > compareLimits.differences,
    })),
  };
}

function cutValues(difference: Difference): Difference {
  const cut = (value: string | null): string | null => {
    if (value === null) return null;
    const characters = [...value];
    return characters.length <= compareLimits.value
      ? value
      : `${characters.slice(0, compareLimits.value).join('')}…`;
  };
  return { ...difference, old: cut(difference.old), expected: cut(difference.expected) };
}

/**
 * Pages may cost so many times what one comparison of everything costs. By the planner's reckoning pages of lookups come
 * to some 20 times the whole where they take 3 times as long (100,000 products with a count of their 500,000 reviews); a page
 * that has to read everything comes to as many times the whole as there are pages.
 */
const pagesToWhole = 30;

/** Asks the planner, whose answer depends on indexes and statistics of now: the same definition may be compared otherwise tomorrow. */
export async function chooseMethod(
  executor: SqlExecutor,
  tview: ComparedTview,
  pageSize: number,
): Promise<{ readonly method: Method; readonly estimatedRows: number }> {
  const { estimatedRows, byKey, byRange, whole } = await costsOf(executor, tview, pageSize);
  const method = isDearer(Math.min(byKey, byRange), estimatedRows / pageSize, whole)
    ? 'whole'
    : byKey < byRange
      ? 'keys'
      : 'range';
  return { method, estimatedRows };
}

/** Whether so many rows are better computed all at once than key by key. */
export async function isCheaperWhole(
  executor: SqlExecutor,
  tview: ComparedTview,
  pageSize: number,
  rows: number,
): Promise<boolean> {
  const { byKey, whole } = await costsOf(executor, tview, pageSize);
  return isDearer(byKey, rows / pageSize, whole);
}

const isDearer = (page: number, pages: number, whole: number): boolean =>
  Math.max(1, Math.ceil(pages)) * page > pagesToWhole * whole;

async function costsOf(executor: SqlExecutor, tview: ComparedTview, pageSize: number) {
  const [row] = await ask<{ estimated_rows: number; by_key: number; by_range: number; whole: number }>(
    executor,
    `SELECT c.estimated_rows, c.by_key, c.by_range, c.whole
     FROM tviews.${quoteIdentifier(compareCostFunctionName(tview.name, tview.id))}(${pageSize}) AS c`,
  );
  const { estimated_rows: estimatedRows, by_key: byKey, by_range: byRange, whole } = row!;
  return { estimatedRows, byKey, byRange, whole };
}

/** Times a question is asked again after a deadlock. */
const attempts = 5;

/**
 * Asked again after a deadlock: a reader that waits in a queue for a table can be the one that PostgreSQL ends where a TRUNCATE
 * and the flush of another writer have locked each other out.
 */
async function ask<Row extends object>(
  executor: SqlExecutor,
  question: string,
  timeoutMs?: number,
): Promise<Row[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await askOnce(executor, question, timeoutMs);
    } catch (error) {
      if (sqlStateOf(error) !== SqlState.deadlockDetected || attempt === attempts) throw error;
    }
  }
}

async function askOnce<Row extends object>(
  executor: SqlExecutor,
  question: string,
  timeoutMs: number | undefined,
): Promise<Row[]> {
  try {
    return await executor.query<Row>(
      `SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY;
       ${timeoutMs === undefined ? '' : `SET LOCAL statement_timeout = ${timeoutMs};`}
       ${question}`,
    );
  } catch (error) {
    if (sqlStateOf(error) !== SqlState.undefinedFunction) throw error;
    throw new TviewsError(
      SqlState.undefinedFunction,
      'the comparison of this tview is not there, or an older one',
      {
        hint: 'Run "tviews init"; if the tview was replaced just now, try again.',
        cause: error,
      },
    );
  }
}

/** Computes every row of a tview anew and writes those that differ; readers never see it empty. */
export async function rebuild(
  executor: SqlExecutor,
  name: string | { readonly schema: string | null; readonly name: string },
): Promise<{ readonly rows: number; readonly written: number; readonly deleted: number }> {
  const tview = await requireTview(executor, await loadRegistry(executor), name);
  const { rows, written, deleted } = await refreshAll(executor, tview);
  return { rows, written, deleted };
}

/** Through flush, so under the same locks as every writer and with the tviews that read this one behind it. */
async function refreshAll(executor: SqlExecutor, tview: RegisteredTview): Promise<Refreshed> {
  return await refreshRows(executor, tview, { all: true });
}

interface Refreshed {
  readonly rows: number;
  /** Rows of this tview that were written or deleted. */
  readonly mended: number;
  /** Those of others that read it, too. */
  readonly written: number;
  readonly deleted: number;
}

async function refreshRows(
  executor: SqlExecutor,
  tview: RegisteredTview,
  which: { readonly all: true } | { readonly r: readonly DivergentRow['key'][] },
): Promise<Refreshed> {
  const report = await flushForNoWriter(executor, JSON.stringify([{ tview: tview.id, ...which }]));
  const own = report.find((entry) => entry.tview === tview.id);
  // A flush looks at what it is told to, and does not know who is suspended.
  if (own === undefined) {
    const shown = writtenName(tview);
    if (!(await loadRegistry(executor)).tviews.some(({ id }) => id === tview.id)) {
      throw new TviewsError(
        SqlState.objectNotInPrerequisiteState,
        `tview ${shown} was replaced or dropped just now`,
        { hint: 'Try again.' },
      );
    }
    throw new TviewsError(SqlState.objectNotInPrerequisiteState, `tview ${shown} is suspended`, {
      hint: `Run "tviews resume ${shown}", which computes every row as well.`,
    });
  }
  return {
    rows: own.keys,
    mended: own.written + own.deleted,
    written: report.reduce((sum, entry) => sum + entry.written, 0),
    deleted: report.reduce((sum, entry) => sum + entry.deleted, 0),
  };
}

/**
 * By their keys where all of them are known, so that nobody has to wait who writes other rows. A key whose JSON does not
 * read back as what it was is found by the count: then every row is looked at.
 */
async function mend(
  executor: SqlExecutor,
  tview: RegisteredTview,
  known: readonly DivergentRow[],
  divergent: number,
): Promise<{ written: number; deleted: number }> {
  let [written, deleted] = [0, 0];
  if (known.length === divergent) {
    const refreshed = await refreshRows(executor, tview, { r: known.map(({ key }) => key) });
    ({ written, deleted } = refreshed);
    if (refreshed.mended >= divergent) return { written, deleted };
  }
  const rest = await refreshAll(executor, tview);
  return { written: written + rest.written, deleted: deleted + rest.deleted };
}
