/**
 * Fills what is under construction, key by key in the order of a list, in short transactions of their own. A batch goes the way
 * of every write, through flush: it locks its keys and computes them after. What is written meanwhile, its writer's flush has
 * written here too. So at the end each key is as of the last one who computed it, and no one was missed: whoever committed before
 * the list was made is in it, or has no row; whoever did after has flushed with this tview registered.
 *
 * How far it is stands in the database, and moves with the batch: whoever is interrupted goes on there, and of two who fill, each
 * takes the next keys.
 */
import { setTimeout } from 'node:timers/promises';
import { SqlState, TviewsError } from '../errors/errors.ts';
import { copyValues } from './adopted-parts.ts';
import type { SqlExecutor } from './executor.ts';
import { quoteIdentifier, quoteQualified, writtenName } from './identifier.ts';
import { imageExpression } from './image.ts';
import { keysEqual, keysWithoutAsking } from './refresh-function.ts';
import { fillName, isBeside, type RegisteredTview } from './registry.ts';
import { flushForNoWriter } from './repair.ts';
import { durations, inTransaction, setLocally, sqlStateOf, withSettings } from './session.ts';
import { computeSettings } from './settings.ts';
import { isCheaperWhole } from './verify.ts';

const firstKeys = 100;
/** A batch may keep a writer of one of its keys waiting for so long, or so. */
const targetMs = 150;
/**
 * One batch of all keys, for which all writers wait, is made only where batches would take longer than this altogether, as the first
 * ones show, and the planner thinks it much cheaper. The planner alone would be wrong: of 100,000 products, each with lookups in five
 * tables, it thinks 150 times as dear as all at once what takes 3 times as long.
 */
const patienceMs = 10 * 60_000;
/** The planner is told of the table's size when it has grown so many times since. */
const growthToAnalyze = 8;
const firstAnalyze = 500;
const attempts = 50;
const pauseMs = 50;
/**
 * A batch that waits for longer, for somebody who has locked one of its keys and thinks, gives back what it has: others wait for
 * those. Less than after which PostgreSQL looks for a deadlock.
 */
const lockMs = 500;

export interface FillOptions {
  /** Whose people's own columns are carried over; null where there are none. */
  readonly replaces: RegisteredTview | null;
  readonly signal?: AbortSignal | undefined;
  /** Before each of them; awaited. */
  step?(step: 'list' | 'fill'): unknown;
  /** After each batch; awaited. */
  progress?(filled: number, keys: number): unknown;
}

const listOf = ({ id }: RegisteredTview): string => `tviews.${fillName(id)}`;

/** In no transaction. @returns how many keys there were; null when somebody else has finished, or given up, meanwhile */
export async function fill(
  executor: SqlExecutor,
  tview: RegisteredTview,
  options: FillOptions,
): Promise<number | null> {
  const { signal, replaces } = options;
  let state = await stateOf(executor, tview);
  if (state === null) return null;
  if (state.keys === null) {
    await options.step?.('list');
    await makeList(executor, tview);
    state = await stateOf(executor, tview);
    if (state === null) return null;
  }
  await options.step?.('fill');
  const { lock_timeout: limit } = await durations(executor, 'lock_timeout');
  let whole = tview.plan.isComputedWhole === true;
  const isDear = !whole && (await isDearByKey(executor, tview, state.keys!));
  let size = isDear ? 1 : firstKeys;
  let analyzed = 0;
  await options.progress?.(state.filled, state.keys!);
  while (state.filled < state.keys!) {
    signal?.throwIfAborted();
    const next = await again(signal, limit > 0, () =>
      inTransaction(executor, async () => {
        if (limit === 0 || limit > lockMs) await setLocally(executor, [['lock_timeout', String(lockMs)]]);
        return await fillBatch(executor, tview, replaces, whole ? 'whole' : size);
      }),
    );
    if (next === null) return null;
    const msOfRest = (next.ms / Math.max(1, next.filled - state.filled)) * (next.keys! - next.filled);
    state = next;
    // What a few keys take that are read for the first time says little.
    if (isDear && next.ms > targetMs / 2 && msOfRest > patienceMs) whole = true;
    size = Math.max(
      1,
      Math.min(keysWithoutAsking, Math.round(size * Math.min(2, targetMs / Math.max(1, next.ms)))),
    );
    await options.progress?.(state.filled, state.keys!);
    // Plans by key are wrong as long as the planner takes the table for empty.
    if (state.filled >= Math.max(firstAnalyze, analyzed * growthToAnalyze) && state.filled < state.keys!) {
      await analyze(executor, tview);
      analyzed = state.filled;
    }
  }
  await analyze(executor, tview);
  return state.keys!;
}

interface FillState {
  readonly keys: number | null;
  readonly filled: number;
}

async function stateOf(
  executor: SqlExecutor,
  { id }: RegisteredTview,
  lock: '' | 'FOR UPDATE' = '',
): Promise<FillState | null> {
  const [row] = await executor.query<{ keys: string | null; filled: string }>(
    `SELECT c.keys, c.filled FROM tviews.construction AS c WHERE c.tview = $1 ${lock}`,
    [id],
  );
  return row === undefined
    ? null
    : { keys: row.keys === null ? null : Number(row.keys), filled: Number(row.filled) };
}

/** All keys there are, of one snapshot from after the capture was there: what is not in it, is or will be captured. */
async function makeList(executor: SqlExecutor, tview: RegisteredTview): Promise<void> {
  const names = tview.plan.key.map(({ name }) => quoteIdentifier(name)).join(', ');
  const columns = tview.plan.key.map((_, i) => `k${i + 1}`).join(', ');
  // Rows of a table that is not new may be of keys there are no more.
  const ownKeys = isBeside(tview) ? '' : `UNION SELECT ${names} FROM ${quoteQualified(tview.plan.table)}`;
  try {
    await inTransaction(executor, async () => {
      const listed = await withSettings(executor, computeSettings, () =>
        executor.query<{ keys: string }>(
          `WITH listed AS (
             INSERT INTO ${listOf(tview)} (place, ${columns})
             SELECT row_number() OVER (ORDER BY ${columns}), ${columns}
             FROM (SELECT ${names} FROM ${quoteQualified(tview.plan.view)} ${ownKeys}) AS v (${columns})
             RETURNING true
           )
           SELECT count(*) AS keys FROM listed`,
        ),
      );
      await executor.query('UPDATE tviews.construction SET keys = $2 WHERE tview = $1', [
        tview.id,
        listed[0]!.keys,
      ]);
    });
  } catch (error) {
    // Somebody else has made it in the meantime; or it is gone, which whoever asks for it next finds.
    if (!['23505', SqlState.undefinedTable].includes(sqlStateOf(error) ?? '')) throw error;
  }
  await executor.query(`ANALYZE ${listOf(tview)}`).catch((error: unknown) => {
    if (sqlStateOf(error) !== SqlState.undefinedTable) throw error;
  });
}

/** Whether the planner thinks that all keys at once are much cheaper than one after the other. */
async function isDearByKey(executor: SqlExecutor, tview: RegisteredTview, keys: number): Promise<boolean> {
  return await isCheaperWhole(
    executor,
    { id: tview.id, name: tview.plan.table.name },
    keysWithoutAsking,
    keys,
  );
}

interface Batch extends FillState {
  /** What computing and writing it took in the server: not how long we waited for others, or for its answers. */
  readonly ms: number;
}

/** In few messages: the keys stay locked for as long as they take. */
async function fillBatch(
  executor: SqlExecutor,
  tview: RegisteredTview,
  replaces: RegisteredTview | null,
  size: number | 'whole',
): Promise<Batch | null> {
  // Before all else: who makes tviews has it when he asks for what follows.
  await executor.query('SELECT tviews.exclude_registry_changes()');
  const state = await stateOf(executor, tview, 'FOR UPDATE');
  if (state === null) return null;
  if (state.filled === state.keys) return { ...state, ms: 0 };
  const upto = size === 'whole' ? state.keys! : Math.min(state.filled + size, state.keys!);
  const places = { list: listOf(tview), after: state.filled, upto };
  await setLocally(executor, Object.entries(computeSettings));
  const images = await imagesOf(executor, tview, places);
  let ms = await flush(executor, tview, size === 'whole' ? '"all": true' : `"r": ${images}`);
  if (await isMisread(executor, tview, places)) ms += await flush(executor, tview, '"all": true');
  if (replaces !== null) await copyValues(executor, replaces, tview, places);
  await executor.query('UPDATE tviews.construction SET filled = $2 WHERE tview = $1', [tview.id, upto]);
  return { ...state, filled: upto, ms };
}

interface Places {
  readonly list: string;
  readonly after: number;
  readonly upto: number;
}

const between = ({ after, upto }: Places): string => `k.place > ${after} AND k.place <= ${upto}`;

/** The tables are locked first, before any key is: TRUNCATE has its table, and then waits for the keys. */
async function imagesOf(executor: SqlExecutor, tview: RegisteredTview, places: Places): Promise<string> {
  const named = tview.plan.key.map(({ name }, i) => `k.k${i + 1} AS ${quoteIdentifier(name)}`);
  const [row] = await executor.query<{ images: string }>(
    `SELECT FROM ${quoteQualified(tview.plan.view)} LIMIT 0;
     SELECT jsonb_agg(${imageExpression('i', tview.plan.key)})::text AS images
     FROM (SELECT ${named.join(', ')} FROM ${places.list} AS k WHERE ${between(places)}) AS i`,
  );
  return row!.images;
}

/** @returns milliseconds */
async function flush(executor: SqlExecutor, tview: RegisteredTview, which: string): Promise<number> {
  const report = await flushForNoWriter(executor, `[{"tview": ${tview.id}, ${which}}]`);
  if (report.some((entry) => entry.tview === tview.id)) {
    return report.reduce((sum, { ms }) => sum + ms, 0);
  }
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `tview ${writtenName(tview)} is suspended and cannot be filled`,
    { hint: `Run "tviews resume ${writtenName(tview)}", which computes every row as well.` },
  );
}

/**
 * Whether a key has a row in the definition and none in the table, after it was computed: its JSON does not read back as what it
 * was. Nobody else writes these keys now.
 */
async function isMisread(executor: SqlExecutor, tview: RegisteredTview, places: Places): Promise<boolean> {
  const isKeyOf = (alias: string): string =>
    keysEqual({ plan: tview.plan, keyEquality: tview.keyOperators }, alias, (_, i) => `k.k${i + 1}`);
  const [row] = await executor.query<{ misread: boolean }>(
    `SELECT EXISTS (
       SELECT FROM (
         SELECT k.* FROM ${places.list} AS k
         WHERE ${between(places)}
           AND NOT EXISTS (SELECT FROM ${quoteQualified(tview.plan.table)} AS t WHERE ${isKeyOf('t')})
         OFFSET 0
       ) AS k
       WHERE EXISTS (SELECT FROM ${quoteQualified(tview.plan.view)} AS v WHERE ${isKeyOf('v')})
     ) AS misread`,
  );
  return row!.misread;
}

const analyze = (executor: SqlExecutor, { plan }: RegisteredTview): Promise<unknown> =>
  executor.query(`ANALYZE ${quoteQualified(plan.table)}`);

/**
 * Goes through when it is tried again: another was in the way.
 * @param isLimited somebody has said how long locks are waited for; else as long as it takes
 */
async function again<T>(
  signal: AbortSignal | undefined,
  isLimited: boolean,
  work: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const code = sqlStateOf(error);
      const isLocked = code === SqlState.lockNotAvailable;
      const isPassing =
        isLocked || code === SqlState.serializationFailure || code === SqlState.deadlockDetected;
      const isLast = attempt >= attempts && (isLimited || !isLocked);
      if (!isPassing || isLast) throw error;
    }
    signal?.throwIfAborted();
    await setTimeout(Math.random() * pauseMs * Math.min(attempt, 20));
  }
}
