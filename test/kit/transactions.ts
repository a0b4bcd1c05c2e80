/**
 * Transactions of every shape on the blog, for clients that may lose their connection anywhere within. Each leaves one
 * trace in every table under a number of its own, so that a half of it would be seen; the journal has what was told.
 */
import type pg from 'pg';
import { connectTo, vanish } from './clients.ts';
import { errorKind } from './connection-loss.ts';
import type { Journal } from './journal.ts';
import type { Random } from './random.ts';

export const ledgerSchema = `
CREATE TABLE ledger (id integer PRIMARY KEY);
GRANT ALL ON ledger TO PUBLIC;
`;

/**
 * A line in a table that no tview reads, a post, a comment on it, and now and then the name of an author: not always, for
 * that recomputes all of the author's posts, and would repair what somebody else has left undone.
 */
const traces = [
  'INSERT INTO ledger VALUES ($1::int)',
  "INSERT INTO tb_post VALUES ($1::int, 1 + $1::int % 5, 'post ' || $1::int)",
  "INSERT INTO tb_comment (fk_post, body) VALUES ($1::int, 'comment ' || $1::int)",
  "UPDATE tb_author SET name = 'author of ' || $1::int WHERE pk_author = 1 + $1::int % 35",
] as const;

/** All of it in one statement, for autocommit. */
const inOne = `
WITH line AS (INSERT INTO ledger VALUES ($1::int)),
     post AS (INSERT INTO tb_post VALUES ($1::int, 1 + $1::int % 5, 'post ' || $1::int) RETURNING pk_post),
     comment AS (INSERT INTO tb_comment (fk_post, body) SELECT pk_post, 'comment ' || $1::int FROM post)
UPDATE tb_author SET name = 'author of ' || $1::int WHERE pk_author = 1 + $1::int % 35`;

/** Numbers of which some trace is there, and whether all are. */
export const tracesThere = `
SELECT id, l.id IS NOT NULL AND p.pk_post IS NOT NULL AND c.fk_post IS NOT NULL AS whole
FROM (SELECT id, id AS line FROM ledger) AS l (id, line)
FULL JOIN (SELECT pk_post AS id, pk_post FROM tb_post WHERE pk_post >= 1000) AS p USING (id)
FULL JOIN (SELECT fk_post AS id, fk_post FROM tb_comment WHERE fk_post >= 1000) AS c USING (id)`;

const literal = (text: string, id: number): string => text.replaceAll('$1::int', String(id));

/** Where a client may connect: through this proxy or that, or straight to PostgreSQL. */
export interface Route {
  readonly name: string;
  readonly url: string;
}

/** One client in the middle of its work. */
export interface Work {
  readonly client: pg.Client;
  readonly routes: readonly Route[];
  readonly journal: Journal;
  readonly dice: Random;
  /** Named prepared statements instead of simple queries. */
  readonly extended: boolean;
}

export function gidOf(id: number): string {
  return `storm ${id}`;
}

export function idOf(gid: string): number {
  return Number(gid.slice('storm '.length));
}

function run(work: Work, text: string, id: number): Promise<pg.QueryResult> {
  if (!work.extended) return work.client.query(literal(text, id));
  return work.client.query({ name: text.slice(0, 60), text, values: text.includes('$1') ? [id] : [] });
}

async function leaveTraces(work: Work, id: number): Promise<void> {
  for (const trace of traces) await run(work, trace, id);
}

/** From the moment `ask` is sent until its answer the outcome is unknown; an error that is no end of it means no. */
async function finish(
  { journal }: Work,
  id: number,
  asked: 'unknown' | 'preparing',
  ask: () => Promise<pg.QueryResult | pg.QueryResult[]>,
): Promise<string> {
  journal.set(id, asked);
  try {
    const result = await ask();
    return (Array.isArray(result) ? result.at(-1)! : result).command;
  } catch (error) {
    if (errorKind(error) === 'refused') journal.set(id, 'undone');
    throw error;
  }
}

async function commit(work: Work, id: number): Promise<void> {
  const command = await finish(work, id, 'unknown', () => run(work, 'COMMIT', id));
  work.journal.set(id, command === 'COMMIT' ? 'committed' : 'undone');
}

export type Shape = keyof typeof shapes;

export const shapes = {
  plain: async (work: Work): Promise<void> => {
    const id = work.journal.begin();
    await run(work, 'BEGIN', id);
    await leaveTraces(work, id);
    await commit(work, id);
  },

  autocommit: async (work: Work): Promise<void> => {
    const id = work.journal.begin();
    await finish(work, id, 'unknown', () => run(work, inOne, id));
    work.journal.set(id, 'committed');
  },

  'one string': async (work: Work): Promise<void> => {
    const id = work.journal.begin();
    const text = ['BEGIN', ...traces.map((trace) => literal(trace, id)), 'COMMIT'].join('; ');
    const command = await finish(work, id, 'unknown', () => work.client.query(text));
    work.journal.set(id, command === 'COMMIT' ? 'committed' : 'undone');
  },

  savepoint: async (work: Work): Promise<void> => {
    const [id, never] = [work.journal.begin(), work.journal.begin()];
    await run(work, 'BEGIN', id);
    await run(work, traces[0], id);
    await run(work, 'SAVEPOINT s', id);
    await leaveTraces(work, never);
    await run(work, 'ROLLBACK TO s', id);
    for (const trace of traces.slice(1)) await run(work, trace, id);
    await commit(work, id);
  },

  'reads its own writes': async (work: Work): Promise<void> => {
    const id = work.journal.begin();
    await run(work, 'BEGIN', id);
    for (const trace of traces.slice(0, 3)) await run(work, trace, id);
    // Not there where the proxy has no registry just now, or there is no proxy; but never anything else.
    const { rows } = await run(work, 'SELECT data FROM tv_post WHERE pk_post = $1::int', id);
    for (const { data } of rows as { data: { title: string } }[]) {
      if (data.title !== `post ${id}`) throw new Error(`the tview's row of ${id} reads "${data.title}"`);
    }
    await run(work, traces[3], id);
    await commit(work, id);
  },

  'repeatable read': async (work: Work): Promise<void> => {
    const id = work.journal.begin();
    await run(work, 'BEGIN ISOLATION LEVEL REPEATABLE READ', id);
    await leaveTraces(work, id);
    await commit(work, id);
  },

  'rolled back': async (work: Work): Promise<void> => {
    const id = work.journal.begin();
    await run(work, 'BEGIN', id);
    await leaveTraces(work, id);
    await run(work, 'ROLLBACK', id);
  },

  'committed after an error': async (work: Work): Promise<void> => {
    const id = work.journal.begin();
    await run(work, 'BEGIN', id);
    await leaveTraces(work, id);
    try {
      await run(work, 'SELECT 1 / 0', id);
    } catch (error) {
      if ((error as { code?: string }).code !== '22012') throw error;
    }
    await commit(work, id);
    if (work.journal.fate(id) === 'committed') throw new Error('a failed transaction was committed');
  },

  /** The client's machine is gone with COMMIT on its way, or something before it. */
  vanishes: async (work: Work): Promise<void> => {
    const id = work.journal.begin();
    await run(work, 'BEGIN', id);
    await leaveTraces(work, id);
    const last = work.dice.below(4) > 0 ? commit(work, id) : run(work, 'SELECT 1', id);
    if (work.dice.below(2) === 0) vanish(work.client);
    else setImmediate(() => vanish(work.client));
    await last;
  },

  'two phases': async (work: Work): Promise<void> => {
    const { journal } = work;
    const id = journal.begin();
    await run(work, 'BEGIN', id);
    await leaveTraces(work, id);
    journal.inHands.add(id);
    try {
      const command = await finish(work, id, 'preparing', () =>
        work.client.query(`PREPARE TRANSACTION '${gidOf(id)}'`),
      );
      // The driver keeps the first word of a tag.
      if (command !== 'PREPARE') {
        journal.set(id, 'undone');
        return;
      }
      journal.set(id, 'prepared');
      await secondPhase(work, id);
    } finally {
      journal.inHands.delete(id);
    }
  },
};

/** On a connection of its own, by whatever route. */
async function secondPhase({ routes, journal, dice }: Work, id: number): Promise<void> {
  const commits = dice.below(3) > 0;
  const other = await connectTo(dice.pick(routes).url);
  try {
    journal.resolving(id, commits ? 'committing' : 'rolling back');
    await other.query(`${commits ? 'COMMIT' : 'ROLLBACK'} PREPARED '${gidOf(id)}'`);
    journal.set(id, commits ? 'committed' : 'undone');
  } catch (error) {
    if (errorKind(error) === 'refused') journal.set(id, 'prepared');
    throw error;
  } finally {
    vanish(other);
  }
}
