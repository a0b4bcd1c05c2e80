/** Changes of the schema made past the proxy: what `tviews init` makes of them. */
import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { dropTview } from '../../../src/database/drop.ts';
import { status } from '../../../src/database/list.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { repairPending } from '../../../src/database/repair.ts';
import { inTransaction } from '../../../src/database/session.ts';
import type { FreshDatabase } from '../../kit/database.ts';
import { divergence } from '../../kit/oracle.ts';
import { changes, changingSchema, expectExact, type Name, names } from './schema-changes.ts';
import { apply, untilWaiting } from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;
beforeEach(async () => {
  ({ database, owner } = await changingSchema());
});
afterEach(() => database.drop());

describe.each(Object.entries(changes))('%s', (_, change) => {
  test.skipIf(inject('serverVersion') < (change.since ?? 0))('is followed by init', async () => {
    for (const statement of change.ddl) await owner.query(statement);
    const { followed } = await init(executorOf(owner));
    const outcomes = Object.fromEntries(
      followed.map(({ tview, outcome }) => {
        const name = names.find(
          (one) => (change.called?.[one] ?? `shop.${one}`) === `${tview.schema}.${tview.name}`,
        );
        return [name as Name, outcome];
      }),
    );
    expect(outcomes).toEqual(change.outcomes);
    const { rows: records } = await owner.query('SELECT FROM tviews.repair');
    const isChanged = Object.values(change.outcomes).includes('changed');
    if (!isChanged && change.family === undefined) expect(records).toEqual([]);
    expect((await repairPending(executorOf(owner))).failures).toEqual([]);
    await expectExact(owner, change);
    for (const write of change.writes) {
      await owner.query(write);
      await expectExact(owner, change, write);
    }
    const { pendingMigrations: _, queued: __, toRepair: ___, ...found } = await status(executorOf(owner));
    const isRefused = Object.values(change.outcomes).includes('refused');
    if (!isRefused) expect(found).toMatchObject({ blindTables: [], changedFamilies: [], moved: [] });
    // Nothing is left to be followed.
    const again = await init(executorOf(owner));
    expect(again.followed.filter(({ outcome }) => outcome !== 'refused')).toEqual([]);
  });
});

test('names swapped, and a writer in between who was misled: every row is looked at', async () => {
  await owner.query(`
    BEGIN;
    ALTER TABLE product RENAME category TO held;
    ALTER TABLE product RENAME spare TO category;
    ALTER TABLE product RENAME held TO spare;
    -- No product has this number in the column that is called so now.
    UPDATE category SET name = 'misled' WHERE id = 4;
    COMMIT`);
  expect((await divergence(owner, 'shop.tv_product')).different).toBeGreaterThan(0);
  expect((await init(executorOf(owner))).followed).toMatchObject([{ outcome: 'changed' }]);
  await repairPending(executorOf(owner));
  await expectExact(owner, { outcomes: {} });
});

test.skipIf(inject('serverVersion') < 17)(
  'another expression of a generated column in one partition: every row is looked at',
  async () => {
    await owner.query(`
      CREATE TABLE box (id int PRIMARY KEY, n int NOT NULL, twice int GENERATED ALWAYS AS (n * 2) STORED) PARTITION BY LIST (id);
      CREATE TABLE box_1 PARTITION OF box FOR VALUES IN (1);
      CREATE TABLE box_2 PARTITION OF box FOR VALUES IN (2);
      INSERT INTO box VALUES (1, 5), (2, 6)`);
    await apply(owner, 'tv_box', 'SELECT b.id, b.twice FROM box b');
    await owner.query('CREATE TABLE box_3 PARTITION OF box FOR VALUES IN (3)');
    expect((await init(executorOf(owner))).followed).toEqual([]);
    await owner.query('ALTER TABLE box_1 ALTER COLUMN twice SET EXPRESSION AS (n * 20)');
    expect((await init(executorOf(owner))).followed).toMatchObject([{ outcome: 'changed' }]);
    await repairPending(executorOf(owner));
    expect((await owner.query('SELECT * FROM tv_box ORDER BY id')).rows).toEqual([
      { id: 1, twice: 100 },
      { id: 2, twice: 12 },
    ]);
  },
);

test('another table in the place of one that was renamed, and a writer in between who was misled', async () => {
  await owner.query(`
    BEGIN;
    ALTER TABLE product RENAME TO article;
    CREATE TABLE product (LIKE article INCLUDING ALL);
    UPDATE category SET name = 'misled' WHERE id = 4;
    COMMIT`);
  expect((await divergence(owner, 'shop.tv_product')).different).toBeGreaterThan(0);
  await init(executorOf(owner));
  await repairPending(executorOf(owner));
  await expectExact(owner, { outcomes: {} });
});

test('what is left to be looked at, by the names of then, is not lost', async () => {
  // Of which the two writers would change the same row.
  const statement = { kind: 'drop', ifExists: false, schema: null, name: 'tv_category' } as const;
  await inTransaction(executorOf(owner), () => dropTview(executorOf(owner), statement));
  const keeping = await database.client();
  await keeping.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM category');
  await owner.query(`INSERT INTO product (id, category, name) VALUES (50, 2, 'not in his snapshot')`);
  await keeping.query(`UPDATE category SET name = 'renamed' WHERE id = 2; COMMIT`);
  await owner.query('ALTER TABLE category RENAME id TO pk');
  await init(executorOf(owner));
  await repairPending(executorOf(owner));
  await expectExact(owner, { outcomes: { tv_category: 'refused' } });
});

describe('a writer who is waited for, and goes on to what has been looked at', () => {
  const meanwhile = async (statement: string): Promise<void> => {
    const writer = await database.client();
    await writer.query('BEGIN; LOCK TABLE category IN ROW EXCLUSIVE MODE');
    const done = init(executorOf(owner));
    await untilWaiting(owner, writer);
    // So that he looks for a deadlock when it waits for him once more.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await writer.query(statement);
    await writer.query('COMMIT');
    await done;
    await repairPending(executorOf(owner));
    await owner.query(`UPDATE product SET category = 1`);
    await expectExact(owner, { outcomes: {} });
  };

  test('to change it, is not ended', async () => {
    await owner.query('ALTER TABLE product RENAME name TO title');
    await meanwhile('ALTER TABLE review ADD COLUMN more int');
  });

  test('to write it, is not ended', async () => {
    await meanwhile(`SELECT pg_sleep(1); UPDATE product SET name = 'late'; UPDATE review SET rating = 2`);
  });
});

describe('a plan whose oids and numbers mean nothing here', () => {
  const inits = async () => {
    const { followed } = await init(executorOf(owner));
    const { rows } = await owner.query('SELECT FROM tviews.repair');
    return {
      outcomes: followed.map(({ tview, outcome }) => `${tview.name} ${outcome}`),
      records: rows.length,
    };
  };

  test.each([
    ['from another database', `jsonb_set(plan, '{basis,home}', '"elsewhere"')`],
    ['from before there were any', `plan - 'basis'`],
  ])('%s is compared by names', async (_, plan) => {
    await owner.query(`UPDATE tviews.tview SET plan = ${plan}`);
    await owner.query('ALTER TABLE product ADD COLUMN weight numeric');
    expect(await inits()).toEqual({ outcomes: [], records: 0 });
    // From here on it is known again.
    await owner.query('ALTER TABLE review RENAME rating TO stars');
    expect(await inits()).toEqual({ outcomes: ['tv_product renamed'], records: 0 });
    await owner.query(`UPDATE tviews.tview SET plan = ${plan}`);
    await owner.query('ALTER TABLE review RENAME stars TO points');
    expect(await inits()).toEqual({ outcomes: ['tv_product changed'], records: 1 });
    await owner.query('UPDATE review SET points = 1');
    await expectExact(owner, { outcomes: {} });
  });
});

test('a tview that reads one which cannot follow waits for it', async () => {
  await owner.query(`
    ALTER TABLE tv_product RENAME TO tv_article; ALTER TABLE tv_article RENAME data TO document;
    ALTER TABLE category RENAME name TO title`);
  const { followed } = await init(executorOf(owner));
  expect(followed.map(({ outcome, problem }) => [outcome, problem?.message])).toEqual([
    ['refused', 'table shop.tv_article does not have the columns of its view'],
    ['refused', 'tview shop.tv_category reads tview shop.tv_product, which cannot follow'],
  ]);
  await owner.query('ALTER TABLE tv_article RENAME document TO data');
  expect((await init(executorOf(owner))).followed.map(({ outcome }) => outcome)).toEqual([
    'renamed',
    'renamed',
  ]);
  await owner.query(`UPDATE category SET title = title || '!'; UPDATE product SET category = 1 WHERE id = 3`);
  await expectExact(owner, { outcomes: {}, called: { tv_product: 'shop.tv_article' } });
});

test('a tview that is given the name of one whose table was dropped by hand says so', async () => {
  await owner.query('DROP TABLE tv_tag; ALTER TABLE tv_sold RENAME TO tv_tag');
  const { followed } = await init(executorOf(owner));
  expect(followed).toMatchObject([
    {
      outcome: 'refused',
      problem: { message: expect.stringContaining('was given the name of tview shop.tv_tag') },
    },
  ]);
});

test('a change that two look for is followed once', async () => {
  await owner.query('ALTER TABLE product RENAME category TO held');
  const other = await database.client();
  const both = await Promise.all([init(executorOf(owner)), init(executorOf(other))]);
  expect(both.map(({ followed }) => followed.length).toSorted()).toEqual([0, 1]);
});
