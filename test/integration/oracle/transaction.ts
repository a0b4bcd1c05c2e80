/** Random transactions as values: what is done, at which level, along which path, and how it ends. */
import type { Random } from '../../kit/random.ts';
import type { Schema } from './schema.ts';
import { randomWrite } from './write.ts';

/** How a transaction reaches PostgreSQL. */
export const paths = [
  /** Past the proxy, one statement after the other; the queue's deferred trigger flushes. */
  'direct',
  /** Past the proxy, everything from BEGIN to COMMIT in one Query. */
  'direct batch',
  /** A single write past the proxy, in a transaction of its own. */
  'direct autocommit',
  /** Through the proxy, which claims it. */
  'proxy',
  /** The same in the extended protocol. */
  'proxy extended',
  /** A single write through the proxy, outside of a transaction. */
  'proxy autocommit',
  /** Several writes in one Query: PostgreSQL makes them one transaction. */
  'proxy implicit',
  /** Everything from BEGIN to COMMIT in one Query. */
  'proxy batch',
  /** Everything from BEGIN to COMMIT in the extended protocol before one Sync. */
  'proxy pipeline',
  /** The same behind a BEGIN that was answered. */
  'proxy pipeline behind BEGIN',
  /** PREPARE TRANSACTION here, COMMIT PREPARED through the proxy. */
  'two-phase direct',
  /** PREPARE TRANSACTION through the proxy, COMMIT PREPARED past it. */
  'two-phase proxy',
] as const;
export type Path = (typeof paths)[number];

export const levels = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'] as const;
export type Level = (typeof levels)[number];

/** What is done in some stretches only. */
export interface Habits {
  readonly truncates: boolean;
  /** Levels above READ COMMITTED. */
  readonly keepsSnapshots: boolean;
}

export type Step =
  | { readonly kind: 'write'; readonly sql: string }
  /** Through the proxy it is exact, with the transaction's own writes; past it, it only is a read in the middle. */
  | { readonly kind: 'read'; readonly tview: string }
  /** The queue's trigger flushes here and not at COMMIT; from there on the flush's locks are held. */
  | { readonly kind: 'flush' }
  /** Others get on meanwhile. */
  | { readonly kind: 'pause'; readonly milliseconds: number }
  | { readonly kind: 'savepoint'; readonly steps: readonly Step[]; readonly undone: boolean };

export interface Transaction {
  readonly path: Path;
  readonly level: Level;
  readonly steps: readonly Step[];
  readonly commits: boolean;
}

/** Without BEGIN, so without a level, savepoints, reads and ROLLBACK. */
const withoutBegin: ReadonlySet<Path> = new Set(['direct autocommit', 'proxy autocommit', 'proxy implicit']);
export const hasBegin = (path: Path): boolean => !withoutBegin.has(path);

/** Rather many through the proxy: there is more in it that can go wrong. */
const pathWeights: Readonly<Record<Path, number>> = {
  direct: 10,
  'direct batch': 12,
  'direct autocommit': 6,
  proxy: 22,
  'proxy extended': 8,
  'proxy autocommit': 10,
  'proxy implicit': 6,
  'proxy batch': 8,
  'proxy pipeline': 6,
  'proxy pipeline behind BEGIN': 8,
  'two-phase direct': 4,
  'two-phase proxy': 4,
};

const levelWeights: Readonly<Record<Level, number>> = {
  'READ COMMITTED': 8,
  'REPEATABLE READ': 1,
  SERIALIZABLE: 1,
};

export function randomTransaction(
  random: Random,
  schema: Schema,
  tviews: readonly string[],
  habits: Habits,
): Transaction {
  const path = random.weighted(pathWeights);
  const write = (): Step => ({ kind: 'write', sql: randomWrite(random, schema, habits.truncates) });
  if (!hasBegin(path)) {
    const length = path === 'proxy implicit' ? random.int(2, 4) : 1;
    return { path, level: 'READ COMMITTED', steps: random.list(length, write), commits: true };
  }
  // Short ones most of all: they are what many meet in.
  const length = Number(random.weighted({ 1: 4, 2: 4, 3: 3, 4: 1, 5: 1 }));
  const steps = random.list(length, (): Step => {
    if (random.chance(0.12)) return { kind: 'read', tview: random.pick(tviews) };
    if (random.chance(0.1)) {
      const inside = random.list(random.int(1, 2), write);
      if (random.chance(0.2)) inside.push({ kind: 'read', tview: random.pick(tviews) });
      return { kind: 'savepoint', steps: inside, undone: random.chance(0.6) };
    }
    return write();
  });
  steps.push(...dwelling(random, path, tviews));
  return {
    path,
    level: habits.keepsSnapshots ? random.weighted<Level>(levelWeights) : 'READ COMMITTED',
    steps,
    commits: random.chance(0.94),
  };
}

/**
 * Between its flush and the end of its transaction a writer knows what nobody else sees: the longer, the more others go
 * wrong who do not wait for it.
 */
function dwelling(random: Random, path: Path, tviews: readonly string[]): Step[] {
  if (!random.chance(0.1)) return [];
  const pause: Step = { kind: 'pause', milliseconds: random.int(1, 2) };
  // A claimed transaction has nothing in the queue; a read makes the proxy flush.
  return isClaimed(path) ? [{ kind: 'read', tview: random.pick(tviews) }, pause] : [{ kind: 'flush' }, pause];
}

const isClaimed = (path: Path): boolean =>
  path === 'proxy' ||
  path === 'proxy extended' ||
  path === 'proxy pipeline behind BEGIN' ||
  path === 'two-phase proxy';

/** One statement of a transaction as it is sent; `reads` names the tview it compares with its definition. */
export interface Statement {
  readonly sql: string;
  readonly reads?: string;
}

export const statementsOf = (steps: readonly Step[], depth = 1): Statement[] =>
  steps.flatMap((step) => statementsOfStep(step, depth));

function statementsOfStep(step: Step, depth: number): Statement[] {
  switch (step.kind) {
    case 'write':
      return [{ sql: step.sql }];
    case 'read':
      return [{ sql: comparison(step.tview), reads: step.tview }];
    case 'flush':
      return [{ sql: 'SET CONSTRAINTS ALL IMMEDIATE' }];
    case 'pause':
      // Without a row, so that rows are those of reads.
      return [{ sql: `SELECT FROM pg_sleep(${step.milliseconds / 1000}) AS p WHERE p IS NULL` }];
    case 'savepoint': {
      const name = `s${depth}`;
      return [
        { sql: `SAVEPOINT ${name}` },
        ...statementsOf(step.steps, depth + 1),
        { sql: `${step.undone ? 'ROLLBACK TO' : 'RELEASE'} SAVEPOINT ${name}` },
      ];
    }
  }
}

export const begin = ({ level }: Transaction): string => `BEGIN ISOLATION LEVEL ${level}`;
export const end = ({ commits }: Transaction): string => (commits ? 'COMMIT' : 'ROLLBACK');

/** How many rows a tview and its definition do not have in common, in one snapshot. */
export function comparison(tview: string): string {
  const view = tview.replace(/^tv_/, 'v_');
  const different = (one: string, other: string) =>
    `SELECT * FROM (TABLE ${one} EXCEPT ALL TABLE ${other}) AS d`;
  return `SELECT count(*)::integer AS wrong FROM (${different(tview, view)} UNION ALL ${different(view, tview)}) AS d`;
}
