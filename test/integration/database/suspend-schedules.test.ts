/** What suspending, resuming and applying must not do to tviews and writers, one schedule each. */
import { setTimeout } from 'node:timers/promises';
import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dropTview } from '../../../src/database/drop.ts';
import type { SqlExecutor } from '../../../src/database/executor.ts';
import { listTviews } from '../../../src/database/list.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { flushForNoWriter } from '../../../src/database/repair.ts';
import { inTransaction } from '../../../src/database/session.ts';
import { resumeTview, suspendTview } from '../../../src/database/suspend.ts';
import { rebuild, verifyTview } from '../../../src/database/verify.ts';
import { until, vanish } from '../../kit/clients.ts';
import type { FreshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import {
  apply,
  categoryDefinition,
  nothing,
  owed,
  productDefinition,
  shop,
  untilWaiting,
  useLocks,
} from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;
let watcher: pg.Client;
let app: pg.Client;

beforeEach(async () => {
  database = await shop();
  owner = await database.client();
  watcher = await database.client();
  app = await database.client(database.app);
});
afterEach(() => database.drop());

const suspend = (tview: string, client = owner): Promise<unknown> =>
  inTransaction(executorOf(client), () => suspendTview(executorOf(client), tview));
const resume = (tview: string): Promise<unknown> =>
  inTransaction(executorOf(owner), () => resumeTview(executorOf(owner), tview));
const drop = (name: string): Promise<unknown> =>
  inTransaction(executorOf(owner), () =>
    dropTview(executorOf(owner), { kind: 'drop', schema: 'shop', name, ifExists: false }),
  );

const outcome = (work: Promise<unknown>): Promise<string | undefined> =>
  work.then(
    () => 'done',
    (error: { code?: string }) => error.code,
  );

/** Runs work before the first statement that has this in it. */
function preceded(marker: string, work: () => Promise<unknown>): SqlExecutor {
  const executor = executorOf(owner);
  let isDone = false;
  return {
    query: async (text, values) => {
      if (!isDone && text.includes(marker)) {
        isDone = true;
        await work();
      }
      return await executor.query(text, values);
    },
  };
}

describe('a flush that holds no lock on a source, of the tview below', () => {
  /** A REPEATABLE READ writer leaves a product with the old name of its category, and a record to look at it again. */
  async function leaveRepair(): Promise<string> {
    await app.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM tb_product');
    await watcher.query(`UPDATE tb_category SET name = 'renamed' WHERE pk_category = 3`);
    await app.query(`INSERT INTO tb_product VALUES (500, 3, 'new'); COMMIT`);
    const { rows } = await owner.query<{ id: string }>('SELECT id FROM tviews.repair');
    expect(rows).toHaveLength(1);
    return rows[0]!.id;
  }

  test('a repair under way while the tview above is resumed', async () => {
    await suspend('shop.tv_category');
    const record = await leaveRepair();
    await watcher.query('BEGIN');
    await watcher.query('SELECT tviews.repair_record($1)', [record]);
    const resumed = resume('shop.tv_category');
    await Promise.race([resumed, setTimeout(2000)]);
    await watcher.query('COMMIT');
    await resumed;
    expect(await owed(database)).toEqual(nothing);
  });

  test('a repair under way while the tview above is created', async () => {
    await drop('tv_category');
    const record = await leaveRepair();
    await watcher.query('BEGIN');
    await watcher.query('SELECT tviews.repair_record($1)', [record]);
    const created = apply(owner, 'tv_category', categoryDefinition);
    await Promise.race([created, setTimeout(2000)]);
    await watcher.query('COMMIT');
    await created;
    expect(await owed(database)).toEqual(nothing);
  });

  test.each(['value', 'tview'] as const)('a rebuild, with locks by %s', async (protocol) => {
    await useLocks(owner, protocol);
    await suspend('shop.tv_category');
    const superuser = await database.client(database.superuser);
    await superuser.query(
      `SET session_replication_role = replica; UPDATE shop.tb_product SET name = 'loaded' WHERE pk_product < 4`,
    );
    await watcher.query('BEGIN');
    await rebuild(executorOf(watcher), 'shop.tv_product');
    const resumed = resume('shop.tv_category');
    await Promise.race([resumed, setTimeout(2000)]);
    await watcher.query('COMMIT');
    await resumed;
    expect(await owed(database)).toEqual(nothing);
  });
});

test('a flush that is no writer’s waits for whoever makes tviews, and hears of what he has made', async () => {
  await suspend('shop.tv_category');
  const superuser = await database.client(database.superuser);
  await superuser.query(
    `SET session_replication_role = replica; UPDATE shop.tb_product SET name = 'loaded' WHERE pk_product = 1`,
  );
  const { rows } = await owner.query<{ id: number }>(
    `SELECT id FROM tviews.source WHERE relation = 'shop.tb_product'::regclass`,
  );
  await owner.query('BEGIN');
  await resumeTview(executorOf(owner), 'shop.tv_category');
  // As a proxy flushes what a session has left.
  const flushed = flushForNoWriter(
    executorOf(watcher),
    JSON.stringify([{ s: rows[0]!.id, r: [{ pk_product: 1, fk_category: 2 }] }]),
  );
  await untilWaiting(watcher, superuser);
  await owner.query('COMMIT');
  await flushed;
  expect(await owed(database)).toEqual(nothing);
});

test('init and resume exclude each other, whatever the lock_space', async () => {
  await owner.query(`
    CREATE TABLE tb_other (id int PRIMARY KEY, n int);
    CREATE TABLE tb_one (id int PRIMARY KEY, n int);
    INSERT INTO tb_one VALUES (1, 1)`);
  await apply(owner, 'tv_other', 'SELECT id, n FROM tb_other');
  await apply(owner, 'tv_one', 'SELECT id, n FROM tb_one');
  await owner.query(`UPDATE tviews.setting SET value = '77' WHERE name = 'lock_space'`);
  await init(executorOf(owner));
  await suspend('shop.tv_one');
  await app.query('BEGIN; INSERT INTO tb_other VALUES (1, 1)');
  const initialised = init(executorOf(watcher));
  await untilWaiting(watcher, owner);
  const resumed = resume('shop.tv_one');
  await Promise.race([resumed, setTimeout(2000)]);
  await app.query('COMMIT');
  await Promise.all([initialised, resumed]);
  await app.query('UPDATE tb_one SET n = 2');
  expect(await divergence(owner, 'shop.tv_one')).toEqual(inStep);
});

describe('writers', () => {
  test('one that has written a source and commits while suspend waits for it', async () => {
    await app.query('BEGIN; UPDATE tb_review SET rating = 5 WHERE pk_review = 1');
    const suspended = outcome(suspend('shop.tv_product'));
    await untilWaiting(owner, watcher);
    // Longer than deadlock_timeout: then it is the writer that PostgreSQL ends.
    await setTimeout(1500);
    expect([await outcome(app.query('COMMIT')), await suspended]).toEqual(['done', 'done']);
  });

  test.each([
    ['drop', () => drop('tv_rating')],
    [
      'replace',
      () =>
        apply(owner, 'tv_rating', 'SELECT pk_review, rating + 1 AS r FROM tb_review', {
          ifExists: 'replace',
        }),
    ],
  ] as const)('one that has read the source, beside a suspended reader: %s', async (_, work) => {
    await apply(owner, 'tv_rating', 'SELECT pk_review, rating FROM tb_review');
    await suspend('shop.tv_product');
    await app.query('BEGIN; SELECT FROM tb_review');
    const done = outcome(work());
    await untilWaiting(owner, watcher);
    const written = await outcome(app.query('UPDATE tb_review SET rating = 5 WHERE pk_review = 1'));
    expect([written, await outcome(app.query('COMMIT')), await done]).toEqual(['done', 'done', 'done']);
  });
});

describe('resume with a plan that is not that of the tables any more', () => {
  test('a link column that another one has taken the place of', async () => {
    await owner.query('ALTER TABLE tb_product ADD fk_new int');
    await suspend('shop.tv_category');
    await suspend('shop.tv_product');
    await owner.query(`
      UPDATE tb_product SET fk_new = 1 + (fk_category + 1) % 4;
      ALTER TABLE tb_product RENAME fk_category TO fk_old;
      ALTER TABLE tb_product RENAME fk_new TO fk_category`);
    const resumed = await outcome(resume('shop.tv_product'));
    if (resumed !== 'done') return expect(resumed).toBe('55000');
    await app.query(`UPDATE tb_category SET name = 'new' WHERE pk_category = 2`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('a column that was renamed', async () => {
    await suspend('shop.tv_product');
    await owner.query('ALTER TABLE tb_product RENAME name TO title');
    const resumed = await outcome(resume('shop.tv_product'));
    if (resumed !== 'done') return expect(resumed).toBe('55000');
    expect(await outcome(app.query(`UPDATE tb_product SET title = 'x' WHERE pk_product = 2`))).toBe('done');
  });

  test('a primary key that was dropped', async () => {
    await suspend('shop.tv_product');
    await owner.query(`
      ALTER TABLE tb_review DROP CONSTRAINT tb_review_pkey;
      TRUNCATE tb_review;
      INSERT INTO tb_review VALUES (1, 2, 2), (1, 2, 2), (2, 3, 3)`);
    const resumed = await outcome(resume('shop.tv_product'));
    if (resumed !== 'done') return expect(resumed).toBe('55000');
    // One of the two rows that are the same becomes what the third is.
    await app.query(`
      UPDATE tb_review AS r
      SET pk_review = n.pk_review, fk_product = n.fk_product, rating = n.rating
      FROM (
        SELECT c.ctid AS row, CASE WHEN c.ctid = first.row OR c.pk_review = 2 THEN ROW(2, 3, 3) ELSE ROW(1, 2, 2) END AS t
        FROM tb_review AS c CROSS JOIN (SELECT min(ctid) AS row FROM tb_review) AS first
      ) AS w
      CROSS JOIN LATERAL (
        SELECT (to_jsonb(w.t)->>'f1')::int AS pk_review, (to_jsonb(w.t)->>'f2')::int AS fk_product, (to_jsonb(w.t)->>'f3')::int AS rating
      ) AS n
      WHERE r.ctid = w.row`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });
});

test('the same text over a view below that joins otherwise is not unchanged', async () => {
  await owner.query(`
    CREATE TABLE b (id int PRIMARY KEY, y text);
    CREATE TABLE a (id int PRIMARY KEY, b1 int, b2 int);
    INSERT INTO b SELECT i, 'y' FROM generate_series(1, 3) AS i;
    INSERT INTO a VALUES (1, 1, 2);
    CREATE VIEW below AS SELECT a.id, a.b1, a.b2, b.y FROM a JOIN b ON b.id = a.b1`);
  const definition = 'SELECT id, b1, b2, y FROM below';
  await apply(owner, 'tv_x', definition);
  await owner.query(
    'CREATE OR REPLACE VIEW below AS SELECT a.id, a.b1, a.b2, b.y FROM a JOIN b ON b.id = a.b2',
  );
  // What limits.md says is to be done.
  await apply(owner, 'tv_x', definition, { ifExists: 'replace' });
  await verifyTview(executorOf(owner), 'shop.tv_x', { repair: true });
  await app.query(`UPDATE b SET y = 'z' WHERE id = 2`);
  expect(await divergence(owner, 'shop.tv_x')).toEqual(inStep);
});

describe('what is said', () => {
  test('a tview suspended while verify --repair compares it was not repaired', async () => {
    const superuser = await database.client(database.superuser);
    await superuser.query(
      `SET session_replication_role = replica; UPDATE shop.tb_product SET name = 'unseen' WHERE pk_product = 1`,
    );
    const executor = preceded('tviews.flush', () => suspend('shop.tv_product', watcher));
    const verified = await outcome(
      verifyTview(executor, 'shop.tv_product', { repair: true }).then(({ repaired }) => {
        if (repaired === null) throw Object.assign(new Error('not repaired'), { code: 'not repaired' });
      }),
    );
    expect(await divergence(owner, 'shop.tv_product')).toEqual({ ...inStep, different: 1 });
    expect(verified).not.toBe('done');
  });

  test('nor was one rebuilt that was suspended in between', async () => {
    const executor = preceded('tviews.flush', () => suspend('shop.tv_product', watcher));
    expect(await outcome(rebuild(executor, 'shop.tv_product'))).toBe('55000');
  });

  test('list works in a schema from before suspended_at, or says what to do', async () => {
    await owner.query(
      'ALTER TABLE tviews.tview DROP COLUMN suspended_at; DELETE FROM tviews.migration WHERE number = 5',
    );
    expect(await outcome(listTviews(executorOf(owner)))).toMatch(/^(done|55000)$/);
  });

  test('init follows a rename of what a suspended tview reads, and the way back', async () => {
    await suspend('shop.tv_product');
    await owner.query('ALTER TABLE tb_review RENAME TO tb_rating');
    expect(await outcome(init(executorOf(owner)))).toBe('done');
    await owner.query('ALTER TABLE tb_rating RENAME TO tb_review');
    expect(await outcome(init(executorOf(owner)))).toBe('done');
    expect(await apply(owner, 'tv_product', productDefinition)).toMatchObject({ action: 'unchanged' });
  });
});

test('whoever is killed while he waits for a writer is not waited for by others', async () => {
  await app.query(`BEGIN; UPDATE tb_category SET name = 'begun' WHERE pk_category = 1`);
  const lost = await database.client();
  suspend('tv_product', lost).catch(() => undefined);
  // Behind the attempts that are given up by themselves.
  const blocked = async (): Promise<boolean> => {
    const { rows } = await watcher.query<{ waits: boolean }>(
      `SELECT a.wait_event_type = 'Lock' AND a.query LIKE 'SET LOCAL lock_timeout = 0;%' AS waits
       FROM pg_stat_activity AS a WHERE a.pid = $1`,
      [(lost as pg.Client & { processID: number }).processID],
    );
    return rows[0]?.waits === true;
  };
  await until('it waits without an end', blocked);
  vanish(lost);
  const other = await database.client(database.app);
  await other.query(
    `SET statement_timeout = '15s'; UPDATE tb_category SET name = 'beside' WHERE pk_category = 2`,
  );
  await app.query('COMMIT');
  expect(await owed(database)).toEqual(nothing);
});
