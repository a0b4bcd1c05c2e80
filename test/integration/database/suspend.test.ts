/** A tview that is suspended costs its sources' writers nothing, and is exact again from the moment it is resumed. */
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { status } from '../../../src/database/list.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { repairPending } from '../../../src/database/repair.ts';
import { inTransaction } from '../../../src/database/session.ts';
import { type Resumed, resumeTview, type Suspended, suspendTview } from '../../../src/database/suspend.ts';
import { divergentRows, rebuild, verifyTview } from '../../../src/database/verify.ts';
import { until } from '../../kit/clients.ts';
import type { FreshDatabase } from '../../kit/database.ts';
import { byEffort } from '../../kit/effort.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { testProxy } from '../../kit/proxy.ts';
import { Random } from '../../kit/random.ts';
import { seed } from '../../kit/seed.ts';
import {
  apply,
  categoryDefinition,
  nothing,
  noticesOf,
  owed,
  product,
  productDefinition,
  shop,
  tables,
  untilWaiting,
  useLocks,
} from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;
let watcher: pg.Client;
let app: pg.Client;

beforeAll(async () => {
  database = await shop();
  owner = await database.client();
  watcher = await database.client();
  app = await database.client(database.app);
});
afterAll(() => database.drop());
afterEach(async () => {
  await app.query('ROLLBACK');
  await owner.query('ROLLBACK');
  for (const tview of ['shop.tv_product', 'shop.tv_category']) await resume(tview);
  await owner.query(`TRUNCATE tb_review, tb_product, tb_category; ${tables.slice(tables.indexOf('INSERT'))}`);
});

const suspend = (tview: string): Promise<Suspended> =>
  inTransaction(executorOf(owner), () => suspendTview(executorOf(owner), tview));
const resume = (tview: string): Promise<Resumed> =>
  inTransaction(executorOf(owner), () => resumeTview(executorOf(owner), tview));

async function triggersOf(table: string): Promise<number> {
  const { rows } = await owner.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM pg_trigger WHERE tgrelid = $1::regclass AND tgname ~ '^tviews_capture_'`,
    [`shop.${table}`],
  );
  return rows[0]!.count;
}

const load = `
  INSERT INTO tb_product SELECT i, 1 + i % 4, 'loaded ' || i FROM generate_series(1001, 1200) AS i;
  INSERT INTO tb_review SELECT i, 1001 + i % 200, 1 FROM generate_series(1001, 2000) AS i;
  UPDATE tb_product SET name = 'loaded' WHERE pk_product < 4;
  DELETE FROM tb_product WHERE pk_product = 5;
  UPDATE tb_category SET name = 'loaded' WHERE pk_category = 2;`;

test('a source that only suspended tviews read loses its triggers, and has them again after', async () => {
  expect(await suspend('shop.tv_product')).toEqual({
    action: 'suspended',
    readers: [{ schema: 'shop', name: 'tv_category' }],
  });
  expect(await suspend('shop.tv_product')).toMatchObject({ action: 'unchanged' });
  // Read by tv_category, too.
  expect([
    await triggersOf('tb_product'),
    await triggersOf('tb_review'),
    await triggersOf('tb_category'),
  ]).toEqual([0, 0, 4]);
  await app.query(load);
  expect(await divergence(owner, 'shop.tv_product')).toEqual({ missing: 200, surplus: 1, different: 6 });
  // What reads it is equal to its own definition all the while.
  expect(await divergence(owner, 'shop.tv_category')).toEqual(inStep);

  const { written, deleted, ...resumed } = await resume('shop.tv_product');
  // 219 keys and the one that is gone; 206 rows of its own written, and the four categories.
  expect({ ...resumed, written, deleted }).toEqual({
    action: 'resumed',
    rows: 220,
    written: 210,
    deleted: 1,
  });
  expect(await owed(database)).toEqual(nothing);
  expect(await resume('shop.tv_product')).toEqual({ action: 'unchanged', rows: 0, written: 0, deleted: 0 });
  expect([
    await triggersOf('tb_product'),
    await triggersOf('tb_review'),
    await triggersOf('tb_category'),
  ]).toEqual([4, 4, 4]);
  await app.query(`UPDATE tb_review SET rating = 2 WHERE pk_review < 30`);
  expect(await owed(database)).toEqual(nothing);
});

test('beside a suspended reader of the same tables, a tview is kept in step, and passes nothing on', async () => {
  await suspend('shop.tv_category');
  await app.query(load);
  expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  expect(sumOf(await divergence(owner, 'shop.tv_category'))).toBe(4);
  await resume('shop.tv_category');
  expect(await owed(database)).toEqual(nothing);
});

const sumOf = ({ missing, surplus, different }: typeof inStep): number => missing + surplus + different;

test('both suspended, loaded, and resumed in either order', async () => {
  for (const order of [
    ['shop.tv_product', 'shop.tv_category'],
    ['shop.tv_category', 'shop.tv_product'],
  ]) {
    await suspend('shop.tv_product');
    await suspend('shop.tv_category');
    await app.query(
      `DELETE FROM tb_review WHERE pk_review > 1000; DELETE FROM tb_product WHERE pk_product > 1000; ${load}`,
    );
    for (const tview of order) await resume(tview);
    expect(await owed(database)).toEqual(nothing);
    await app.query(`INSERT INTO tb_product VALUES (5, 1, 'back')`);
  }
});

test('resume waits for a writer nobody has captured, and keeps writers out until it commits', async () => {
  await suspend('shop.tv_product');
  await app.query(`BEGIN; UPDATE tb_product SET name = 'unseen' WHERE pk_product = 7`);
  const resumed = resume('shop.tv_product');
  await untilWaiting(owner, watcher);
  await app.query('COMMIT');
  await resumed;
  expect(await product(owner, 7)).toMatchObject({ name: 'unseen' });

  await suspend('shop.tv_product');
  await owner.query('BEGIN');
  await resumeTview(executorOf(owner), 'shop.tv_product');
  const written = app.query(`UPDATE tb_product SET name = 'late' WHERE pk_product = 7`);
  await untilWaiting(app, watcher);
  await owner.query('COMMIT');
  await written;
  expect(await product(owner, 7)).toMatchObject({ name: 'late' });
  expect(await owed(database)).toEqual(nothing);
});

test('a transaction that owes the tview a change when it is suspended commits as any other', async () => {
  // Behind tv_product: suspend does not wait for its writers.
  await app.query(`BEGIN; UPDATE tb_product SET name = 'queued' WHERE pk_product = 3`);
  await suspend('shop.tv_category');
  await app.query('COMMIT');
  expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  expect(sumOf(await divergence(owner, 'shop.tv_category'))).toBe(1);
  // Of a source of its own: it does.
  await resume('shop.tv_category');
  await app.query(`BEGIN; UPDATE tb_category SET name = 'queued' WHERE pk_category = 3`);
  const suspended = suspend('shop.tv_category');
  await untilWaiting(owner, watcher);
  await app.query('COMMIT');
  await suspended;
  expect(await owed(database)).toEqual(nothing);
});

test('a prepared transaction that nobody has captured is waited for', async () => {
  await suspend('shop.tv_product');
  await app.query(
    `BEGIN; UPDATE tb_product SET name = 'prepared' WHERE pk_product = 9; PREPARE TRANSACTION 'suspended'`,
  );
  await owner.query('BEGIN; SET LOCAL lock_timeout = 50');
  await expect(resumeTview(executorOf(owner), 'shop.tv_product')).rejects.toMatchObject({ code: '55P03' });
  await owner.query('ROLLBACK');
  await app.query(`COMMIT PREPARED 'suspended'`);
  await resume('shop.tv_product');
  expect(await product(owner, 9)).toMatchObject({ name: 'prepared' });
  expect(await owed(database)).toEqual(nothing);
});

test('a resume that is not committed leaves everything as it was', async () => {
  await suspend('shop.tv_product');
  await app.query(load);
  await owner.query('BEGIN');
  await resumeTview(executorOf(owner), 'shop.tv_product');
  await owner.query('ROLLBACK');
  expect(await triggersOf('tb_review')).toBe(0);
  await resume('shop.tv_product');
  expect(await owed(database)).toEqual(nothing);
});

describe.each(['REPEATABLE READ', 'SERIALIZABLE'])('under %s', (level) => {
  test('a snapshot from before resume leads to no stale row', async () => {
    await suspend('shop.tv_product');
    await app.query(load);
    await app.query(`BEGIN ISOLATION LEVEL ${level}; SELECT FROM tb_product`);
    await watcher.query(`UPDATE tb_product SET name = 'between' WHERE pk_product = 2`);
    await resume('shop.tv_product');
    // Names what its snapshot has: to it, the row is what the suspended tview says.
    const refused = await app
      .query(
        `UPDATE tb_category SET name = 'category 3' WHERE pk_category = 3;
         UPDATE tb_review SET rating = rating + 1 WHERE fk_product IN (2, 1002);
         COMMIT`,
      )
      .then(
        () => 'committed',
        (error: { code?: string }) => error.code,
      );
    expect(refused).toMatch(/^(committed|40001)$/);
    await app.query('ROLLBACK');
    await repairPending(executorOf(owner));
    expect(await owed(database)).toEqual(nothing);
  });
});

test('it is shown as suspended, verified without repair, and not rebuilt; init and apply leave it so', async () => {
  await suspend('shop.tv_product');
  await app.query(load);
  const executor = executorOf(owner);
  const notices = noticesOf(owner);
  await init(executor);
  expect(notices).toEqual([]);
  expect(await status(executor)).toMatchObject({
    blindTables: [],
    suspended: [{ schema: 'shop', name: 'tv_product', since: expect.any(Date) }],
  });
  const verified = await verifyTview(executor, 'shop.tv_product', { repair: true });
  expect(verified).toMatchObject({ suspended: true, repaired: null });
  expect(divergentRows(verified)).toBe(207);
  await expect(rebuild(executor, 'shop.tv_product')).rejects.toMatchObject({
    code: '55000',
    message: 'tview shop.tv_product is suspended',
    hint: 'Run "tviews resume shop.tv_product", which computes every row as well.',
  });
  expect(await apply(owner, 'tv_product', productDefinition)).toMatchObject({ action: 'unchanged' });
  expect(await triggersOf('tb_review')).toBe(0);
  await resume('shop.tv_product');
  expect(await status(executor)).toMatchObject({ suspended: [] });
  expect(await owed(database)).toEqual(nothing);
});

test('replaced by another definition, it is filled and kept in step', async () => {
  await suspend('shop.tv_category');
  await app.query(load);
  const other = categoryDefinition.replace(`'name', c.name`, `'title', c.name`);
  expect(await apply(owner, 'tv_category', other, { ifExists: 'replace' })).toMatchObject({
    action: 'replaced',
  });
  await app.query(`UPDATE tb_category SET name = 'after' WHERE pk_category = 1`);
  expect(await owed(database)).toEqual(nothing);
  await apply(owner, 'tv_category', categoryDefinition, { ifExists: 'replace' });
});

test('through a proxy: what it claims before, while and after', async () => {
  const proxy = await testProxy(database);
  const client = new pg.Client({ connectionString: proxy.url(database.app) });
  await client.connect();
  onTestFinished(() => client.end());
  const page = async (): Promise<string> => (await proxy.metrics.scrape()).text;
  const gauge = `tviews_suspended{database="${database.name}",tview="shop.tv_product"} 1`;

  // tv_product is behind tv_category, which is kept: the claimed change of tb_product is nothing to anybody any more.
  await client.query('BEGIN');
  await client.query(`UPDATE tb_category SET name = 'claimed' WHERE pk_category = 1`);
  const suspended = suspend('shop.tv_product');
  await untilWaiting(owner, watcher);
  await client.query('COMMIT');
  await suspended;
  await until('the proxy has heard of it', async () => (await page()).includes(gauge));

  await client.query('BEGIN');
  await client.query(`UPDATE tb_category SET name = 'while' WHERE pk_category = 1`);
  await client.query(`UPDATE tb_product SET name = 'while' WHERE pk_product = 4`);
  const { rows } = await client.query('SELECT data FROM tv_category WHERE pk_category = 1');
  expect(rows[0]).toMatchObject({ data: { name: 'while' } });
  await client.query('COMMIT');
  expect(await product(owner, 4)).toMatchObject({ name: 'product 4' });

  await resume('shop.tv_product');
  // At once, whether the proxy has heard of it or not.
  await client.query(`UPDATE tb_product SET price = 7 WHERE pk_product = 4`);
  expect(await product(owner, 4)).toMatchObject({ name: 'while', price: 7 });
  await until('the proxy has heard of that', async () => !(await page()).includes('tviews_suspended{'));
  await client.query('BEGIN');
  await client.query(`UPDATE tb_product SET name = 'after' WHERE pk_product = 4`);
  expect(await product(client, 4)).toMatchObject({ name: 'after' });
  await client.query('COMMIT');
  expect(await owed(database)).toEqual(nothing);
});

describe.each([
  // What a kept snapshot leaves to be looked at again is stale until then: only the end is judged.
  ['value', ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'], 'at the end'],
  ['value', ['READ COMMITTED'], 'after each resume'],
  ['tview', ['READ COMMITTED', 'REPEATABLE READ'], 'after each resume'],
] as const)('with locks by %s, under %s', (protocol, levels, judged) => {
  beforeAll(() => useLocks(owner, protocol));
  afterAll(() => useLocks(owner, 'value'));

  test(`writers go on while tviews are suspended and resumed, exact ${judged} (seed ${seed})`, async () => {
    const random = Random.of(seed);
    const statements = [
      () => `UPDATE tb_category SET name = 'n${random.int(1, 9)}' WHERE pk_category = ${random.int(1, 4)}`,
      () => `UPDATE tb_product SET fk_category = ${random.int(1, 4)} WHERE pk_product = ${random.int(1, 20)}`,
      () => `UPDATE tb_review SET fk_product = ${random.int(1, 20)} WHERE pk_review = ${random.int(1, 60)}`,
      () =>
        `INSERT INTO tb_review VALUES (${random.int(100, 160)}, ${random.int(1, 20)}, 1) ON CONFLICT DO NOTHING`,
      () => `DELETE FROM tb_review WHERE pk_review = ${random.int(100, 160)}`,
    ];
    let over = false;
    let committed = 0;
    const write = async (): Promise<void> => {
      const client = await database.client(database.app);
      while (!over) {
        try {
          await client.query(`BEGIN ISOLATION LEVEL ${random.pick(levels)}`);
          for (let i = random.int(1, 3); i > 0; i--) await client.query(random.pick(statements)());
          await client.query(random.chance(0.8) ? 'COMMIT' : 'ROLLBACK');
          committed += 1;
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^(40001|40P01)$/) });
          await client.query('ROLLBACK');
        }
      }
      await client.end();
    };
    const writers = random.list(4, write);
    try {
      for (let i = 0; i < byEffort(1, 3); i++) {
        const tview = random.pick(['shop.tv_product', 'shop.tv_category']);
        await retried(() => suspend(tview));
        for (const before = committed; committed < before + 10; ) await setTimeout(5);
        await retried(() => resume(tview));
        if (judged === 'after each resume') {
          const found = await verifyTview(executorOf(owner), tview, { pageSize: 5 });
          expect(divergentRows(found)).toBe(0);
        }
      }
    } finally {
      over = true;
      await Promise.all(writers);
    }
    await repairPending(executorOf(owner));
    expect(await owed(database)).toEqual(nothing);
  });
});

/** DDL may be the one that PostgreSQL ends when writers and it have locked each other out. */
async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if ((error as { code?: string }).code !== '40P01' || attempt === 20) throw error;
    }
  }
}
