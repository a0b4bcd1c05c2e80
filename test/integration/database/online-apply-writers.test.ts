/** `tviews apply` while others write and read: nothing is missed, nobody sees what is not whole, nobody waits for longer than a moment. */
import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SqlExecutor } from '../../../src/database/executor.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import {
  type Applied,
  applyOnline,
  type OnlineHooks,
  type OnlineStep,
} from '../../../src/database/online-apply.ts';
import { rebuild } from '../../../src/database/verify.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { apply, create, productDefinition, shortDefinition, tables, untilWaiting } from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;

beforeEach(async () => {
  database = await freshDatabase({ schema: 'shop', sql: tables });
  owner = await database.client();
  await init(executorOf(owner));
  await owner.query(`
    INSERT INTO tb_product SELECT i, 1 + i % 4, 'product ' || i FROM generate_series(21, 600) AS i;
    INSERT INTO tb_review SELECT i, 1 + i % 600, 1 + i % 5 FROM generate_series(61, 1800) AS i`);
});
afterEach(() => database.drop());

const applying = (client: pg.Client, query: string, hooks: OnlineHooks = {}): Promise<Applied> =>
  applyOnline(executorOf(client), create('tv_product', query, { ifExists: 'replace' }), hooks);

const longerDefinition = productDefinition.replace(
  'AS data',
  'AS data, (SELECT max(r.rating) FROM tb_review r WHERE r.fk_product = p.pk_product) AS best',
);

/** One writer after the other's heart: rows come, go, move and change, by themselves and many at once. */
async function write(client: pg.Client, until: AbortSignal, seed: number): Promise<number> {
  let state = seed;
  const any = (below: number): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
  let done = 0;
  while (!until.aborted) {
    const key = 1 + any(700);
    const isolation = any(6) === 0 ? 'REPEATABLE READ' : 'READ COMMITTED';
    const statement = [
      `UPDATE tb_product SET name = 'by ${seed} ${done}' WHERE pk_product = ${key}`,
      `UPDATE tb_product SET fk_category = ${1 + any(4)} WHERE pk_product = ${key}`,
      `INSERT INTO tb_product VALUES (${key}, ${1 + any(4)}, 'new') ON CONFLICT (pk_product) DO UPDATE SET name = 'again'`,
      `DELETE FROM tb_product WHERE pk_product = ${key}`,
      `UPDATE tb_category SET name = 'category ${done}' WHERE pk_category = ${1 + any(4)}`,
      `UPDATE tb_review SET fk_product = (SELECT pk_product FROM tb_product ORDER BY pk_product OFFSET ${any(300)} LIMIT 1) WHERE pk_review = ${1 + any(1800)}`,
      `UPDATE tb_review SET rating = ${any(9)} WHERE pk_review BETWEEN ${key} AND ${key + 80}`,
    ][any(7)]!;
    try {
      await client.query(`BEGIN ISOLATION LEVEL ${isolation}; ${statement}; COMMIT`);
    } catch (error) {
      await client.query('ROLLBACK');
      // What writers among each other end with, applied or not.
      const { code } = error as { code?: string };
      if (!['40001', '40P01', '23503'].includes(code ?? '')) throw error;
    }
    done += 1;
  }
  return done;
}

/** Compares, each time in one snapshot that is a little older than the look at the table. */
async function read(client: pg.Client, until: AbortSignal): Promise<{ looks: number; wrong: number }> {
  const result = { looks: 0, wrong: 0 };
  while (!until.aborted) {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await client.query('SELECT FROM tb_category');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { rows: there } = await client.query(`SELECT FROM pg_class WHERE oid = to_regclass('tv_product')`);
    if (there.length > 0) {
      try {
        const { rows } = await client.query<{ wrong: number }>(`
          SELECT count(*)::int AS wrong
          FROM tv_product AS t FULL JOIN v_product AS v USING (pk_product)
          WHERE (t.data::text) IS DISTINCT FROM (v.data::text)`);
        result.looks += 1;
        if (rows[0]!.wrong > 0) result.wrong += 1;
      } catch (error) {
        // It reads both that change places; on a busy machine the swap waits for one of them like any DDL.
        if ((error as { code?: string }).code !== '40P01') throw error;
      }
    }
    await client.query('COMMIT');
  }
  return result;
}

describe('writers and readers at full speed', () => {
  test.each(['created', 'replaced', 'altered'] as const)('while a tview is %s', async (action) => {
    if (action !== 'created') await applying(owner, productDefinition);
    const stop = new AbortController();
    const writers = [11, 22, 33].map(async (seed) =>
      write(await database.client(database.app), stop.signal, seed),
    );
    // Who keeps a snapshot leaves rows to be looked at again; so a difference of a moment is none of ours while they do.
    const running = Promise.all(writers);
    try {
      const query = { created: productDefinition, replaced: shortDefinition, altered: longerDefinition }[
        action
      ];
      expect(await applying(owner, query)).toMatchObject({ action });
    } finally {
      stop.abort();
    }
    expect((await running).every((count) => count > 0)).toBe(true);
    while (Number((await owner.query('SELECT tviews.repair() AS pending')).rows[0].pending) > 0);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test.each([
    'created',
    'replaced',
  ] as const)('nobody reads what is not whole while a tview is %s', async (action) => {
    if (action === 'replaced') await applying(owner, productDefinition);
    const stop = new AbortController();
    const app = await database.client(database.app);
    // One of the owner's, whose snapshot can be seen, and one whose cannot.
    const readers = [await database.client(), await database.client(database.superuser)].map((client) =>
      read(client, stop.signal),
    );
    const writing = (async () => {
      for (let i = 0; !stop.signal.aborted; i++) {
        await app.query(`UPDATE tb_product SET name = 'by ${i}' WHERE pk_product % 50 = ${i % 50}`);
      }
    })();
    try {
      expect(await applying(owner, action === 'created' ? productDefinition : shortDefinition)).toMatchObject(
        { action },
      );
      await new Promise((resolve) => setTimeout(resolve, 500));
    } finally {
      stop.abort();
    }
    await writing;
    for (const reader of readers) {
      const { looks, wrong } = await reader;
      expect(looks).toBeGreaterThan(0);
      expect(wrong).toBe(0);
    }
  });
});

describe('what is written between two steps', () => {
  /** Each kind of change, of keys whose batch is over and of keys whose batch is to come. */
  const changes = (n: number): string => `
    INSERT INTO tb_product VALUES (${1000 + n}, 1, 'new');
    DELETE FROM tb_product WHERE pk_product IN (${30 + n}, ${500 + n});
    UPDATE tb_review SET fk_product = NULL WHERE fk_product IN (${60 + n}, ${540 + n});
    UPDATE tb_product SET pk_product = pk_product + 2000 WHERE pk_product IN (${60 + n}, ${540 + n});
    UPDATE tb_product SET name = 'changed ${n}' WHERE pk_product IN (${90 + n}, ${570 + n}, ${1000 + n});
    UPDATE tb_category SET name = 'changed ${n}' WHERE pk_category = ${1 + (n % 4)};
    UPDATE tb_review SET fk_product = ${2000 + 60 + n} WHERE pk_review = ${100 + n}`;

  test.each(['created', 'replaced', 'altered'] as const)('is in a tview that is %s', async (action) => {
    if (action !== 'created') await applying(owner, productDefinition);
    const app = await database.client(database.app);
    let n = 0;
    const change = async (): Promise<void> => {
      n += 1;
      await app.query(changes(n));
    };
    const query = { created: productDefinition, replaced: shortDefinition, altered: longerDefinition }[
      action
    ];
    expect(await applying(owner, query, { step: change, progress: change })).toMatchObject({ action });
    expect(n).toBeGreaterThan(5);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    await change();
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('by a transaction that has written before it began is waited for, and by one that is open all along is in it', async () => {
    const early = await database.client(database.app);
    await early.query(`BEGIN; UPDATE tb_product SET name = 'early' WHERE pk_product = 5`);
    const applied = applying(owner, productDefinition);
    await untilWaiting(owner, early);
    await early.query(`UPDATE tb_product SET name = 'late' WHERE pk_product = 599; COMMIT`);
    expect(await applied).toMatchObject({ action: 'created' });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('TRUNCATE, too', async () => {
    const app = await database.client(database.app);
    let truncated = false;
    const progress = async (filled: number): Promise<void> => {
      if (filled === 0 || truncated) return;
      truncated = true;
      await app.query(`TRUNCATE tb_review`);
    };
    await applying(owner, productDefinition, { progress });
    expect(truncated).toBe(true);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });
});

describe('locks', () => {
  /** Of the backend on the tables of the definition. */
  const locksOf = async (pid: number): Promise<string[]> => {
    const watcher = await database.client();
    const { rows } = await watcher.query<{ mode: string }>(
      `SELECT DISTINCT l.mode FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
       WHERE l.pid = $1 AND c.relname LIKE 'tb\\_%' ORDER BY 1`,
      [pid],
    );
    await watcher.end();
    return rows.map(({ mode }) => mode);
  };

  test('between its steps the one who applies holds none, and in a batch none that keeps a writer waiting', async () => {
    const { processID } = owner as pg.Client & { processID: number };
    const held = new Map<string, string[]>();
    const look = async (step: OnlineStep): Promise<void> => {
      held.set(step, await locksOf(processID));
    };
    const [holder, other] = [await database.client(database.app), await database.client(database.app)];
    let locked = false;
    const progress = async (filled: number): Promise<void> => {
      if (filled === 0 || locked) return;
      locked = true;
      // Has flushed the last key of the next batch, and does not commit.
      await holder.query(
        `BEGIN; UPDATE tb_product SET name = 'held' WHERE pk_product = 110; SET CONSTRAINTS ALL IMMEDIATE`,
      );
      void untilWaiting(owner, other).then(async () => {
        held.set('batch', await locksOf(processID));
        // Somebody else's rows, of which neither has a lock.
        await other.query(`UPDATE tb_product SET internal_note = 'of no matter' WHERE pk_product = 300`);
        await other.query(`INSERT INTO tb_review VALUES (9001, NULL, 1)`);
        await holder.query('COMMIT');
      });
    };
    await applying(owner, productDefinition, { step: look, progress });
    expect(Object.fromEntries(held)).toEqual({
      check: [],
      begin: [],
      list: [],
      fill: [],
      wait: [],
      swap: [],
      batch: ['AccessShareLock'],
    });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test.each([
    ['tviews apply', () => applying(owner, productDefinition)],
    ['CREATE TVIEW', () => apply(owner, 'tv_product', productDefinition)],
  ] as const)('a writer who goes on to truncate another source while %s waits for him is not ended', async (_, create) => {
    const writer = await database.client();
    await writer.query(`BEGIN; UPDATE tb_category SET name = 'x' WHERE pk_category = 1`);
    const applied = create();
    await untilWaiting(owner, writer);
    // So that he looks for a deadlock when it waits for him once more.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await writer.query('TRUNCATE tb_review');
    await writer.query('COMMIT');
    expect(await applied).toMatchObject({ action: 'created' });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('a batch that meets somebody who has flushed one of its keys, and thinks, keeps nobody else waiting', async () => {
    const [holder, other] = [await database.client(database.app), await database.client(database.app)];
    await other.query(`SET lock_timeout = '5s'`);
    let written: Promise<void> | undefined;
    const progress = async (filled: number): Promise<void> => {
      if (filled === 0 || written !== undefined) return;
      await holder.query(
        `BEGIN; UPDATE tb_product SET name = 'held' WHERE pk_product = 110; SET CONSTRAINTS ALL IMMEDIATE`,
      );
      written = untilWaiting(owner, other).then(async () => {
        // Of keys whose locks come before that one's, and behind.
        for (let key = 111; key < 180; key++)
          await other.query(`UPDATE tb_product SET name = 'other' WHERE pk_product = ${key}`);
        await holder.query('COMMIT');
      });
    };
    try {
      expect(await applying(owner, productDefinition, { progress })).toMatchObject({ action: 'created' });
    } finally {
      await holder.end();
    }
    await written;
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('a reader who keeps his snapshot keeps the swap waiting, and sees what was there until he is done', async () => {
    await apply(owner, 'tv_product', productDefinition);
    const reader = await database.client();
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM tb_category');
    let waited: readonly number[] = [];
    let seen = 0;
    const reading = async (): Promise<void> => {
      const { rows } = await reader.query(
        `SELECT FROM tv_product AS t JOIN v_product AS v USING (pk_product) WHERE t.data = v.data`,
      );
      seen = rows.length;
      await reader.query('COMMIT');
    };
    let done: Promise<void> | undefined;
    const waiting = (pids: readonly number[]): void => {
      waited = pids;
      done ??= reading();
    };
    expect(await applying(owner, shortDefinition, { waiting })).toMatchObject({ action: 'replaced' });
    await done;
    expect(waited).toEqual([(reader as pg.Client & { processID: number }).processID]);
    expect(seen).toBe(600);
  });
});

test('two who apply at once share the work', async () => {
  const other = await database.client();
  const both = await Promise.all([applying(owner, productDefinition), applying(other, productDefinition)]);
  expect(both.map(({ action }) => action).filter((action) => action !== 'unchanged')).toContain('created');
  expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  const { rows } = await owner.query('SELECT FROM tviews.construction');
  expect(rows).toEqual([]);
});

test.each([
  'before the first batch',
  'behind the last',
] as const)('of two who apply at once the one who is slower, %s, finds it done', async (when) => {
  const other = await database.client();
  let first: Promise<Applied> | undefined;
  const pause = async (): Promise<void> => {
    first ??= applying(other, productDefinition);
    await first;
  };
  const slower = await applying(owner, productDefinition, {
    step: (step) => (step === 'fill' && when === 'before the first batch' ? pause() : undefined),
    progress: (filled, keys) => (filled === keys && when === 'behind the last' ? pause() : undefined),
  });
  expect(await first).toMatchObject({ action: 'created' });
  expect(slower).toMatchObject({ action: 'unchanged' });
  expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
});

test('of two who apply different definitions at once one wins, and the other is told', async () => {
  const other = await database.client();
  const both = await Promise.allSettled([
    applying(owner, productDefinition),
    applying(other, shortDefinition),
  ]);
  expect(both.some(({ status }) => status === 'fulfilled')).toBe(true);
  for (const one of both) {
    if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: '55000' });
  }
  expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  expect((await owner.query('SELECT FROM tviews.construction')).rows).toEqual([]);
});

test('a rebuild of a tview that is replaced as it begins says so', async () => {
  await applying(owner, productDefinition);
  const other = await database.client();
  const { query } = executorOf(owner);
  let replaced = false;
  const meanwhile: SqlExecutor = {
    query: async (text, values) => {
      if (text.includes('tviews.flush(') && !replaced) {
        replaced = true;
        await applying(other, shortDefinition);
      }
      return await query(text, values);
    },
  };
  await expect(rebuild(meanwhile, 'shop.tv_product')).rejects.toMatchObject({
    code: '55000',
    message: 'tview shop.tv_product was replaced or dropped just now',
  });
});

test('a tview of another role is not replaced, and nothing is built for it', async () => {
  const superuser = await database.client(database.superuser);
  await superuser.query(`
    GRANT ${database.owner.role} TO ${database.app.role};
    GRANT CREATE ON SCHEMA shop TO ${database.app.role}`);
  const app = await database.client(database.app);
  await applying(app, productDefinition);
  await expect(applying(owner, shortDefinition)).rejects.toMatchObject({
    code: '42501',
    hint: `Connect as a member of role ${database.app.role}.`,
  });
  expect((await owner.query('SELECT FROM tviews.construction')).rows).toEqual([]);
});

test('a swap that does not get its locks in time is tried again by the next one', async () => {
  const writer = await database.client(database.app);
  await owner.query(`SET lock_timeout = '200ms'`);
  const step = (at: OnlineStep): unknown =>
    at === 'swap' ? writer.query(`BEGIN; UPDATE tb_product SET name = 'open' WHERE pk_product = 3`) : null;
  await expect(applying(owner, productDefinition, { step })).rejects.toMatchObject({
    code: '55P03',
    detail: 'The construction of tview shop.tv_product stays: 600 of 600 keys are filled.',
    hint: expect.stringContaining('Run "tviews apply" again to go on'),
  });
  await writer.query('COMMIT');
  expect(await applying(owner, productDefinition)).toMatchObject({ action: 'created', rows: 600 });
  expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
});

test('a source that was renamed while it was built makes it begin anew', async () => {
  const interrupt = new AbortController();
  await applying(owner, productDefinition, {
    progress: (filled) => (filled > 0 ? interrupt.abort() : undefined),
    signal: interrupt.signal,
  }).catch(() => undefined);
  await owner.query('ALTER TABLE tb_review RENAME TO tb_opinion');
  const renamed = productDefinition.replace('tb_review', 'tb_opinion');
  expect(await applying(owner, renamed)).toMatchObject({ action: 'created' });
  await owner.query('UPDATE tb_opinion SET rating = 7');
  expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
});
