/** Two writers at once: exact by waiting under READ COMMITTED; above it by 40001, or by a second look after COMMIT. */
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { dropTview } from '../../../src/database/drop.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { inTransaction } from '../../../src/database/session.ts';
import type { FreshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { apply, nothing, noticesOf, owed, product, shop, tables, untilWaiting, useLocks } from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;
let one: pg.Client;
let two: pg.Client;

beforeAll(async () => {
  database = await shop();
  owner = await database.client();
  one = await database.client(database.app);
  two = await database.client(database.app);
});
afterAll(() => database.drop());
afterEach(async () => {
  await one.query('ROLLBACK');
  await two.query('ROLLBACK');
  await owner.query(`TRUNCATE tb_review, tb_product, tb_category; ${tables.slice(tables.indexOf('INSERT'))}`);
});

/**
 * Both write; the second commits while the first, flushed already, still holds its locks.
 * @returns whether the second had to wait
 */
async function race(first: string, second: string): Promise<boolean> {
  await one.query('BEGIN');
  await two.query('BEGIN');
  await one.query(first);
  await two.query(second);
  await one.query('SET CONSTRAINTS ALL IMMEDIATE');
  const committed = two.query('COMMIT').then(() => false);
  const waited = await Promise.race([committed, untilWaiting(two, owner).then(() => true)]);
  await one.query('COMMIT');
  await committed;
  return waited;
}

describe.each([
  'value',
  'tview',
] as const)('with locks by %s, two transactions stay exact when', (protocol) => {
  beforeAll(() => useLocks(owner, protocol));
  // Of other products, in other categories.
  const apart = 'a parent goes and a child of another comes';
  const pairs: Record<string, [string, string]> = {
    'both insert a child of one parent': [
      'INSERT INTO tb_review VALUES (3001, 1, 1)',
      'INSERT INTO tb_review VALUES (3002, 1, 2)',
    ],
    'a new row refers to a row being renamed': [
      `UPDATE tb_category SET name = 'renamed' WHERE pk_category = 2`,
      `INSERT INTO tb_product VALUES (301, 2, 'new')`,
    ],
    'a row is re-pointed to one being renamed': [
      `UPDATE tb_product SET fk_category = 3 WHERE pk_product = 1`,
      `UPDATE tb_category SET name = 'target' WHERE pk_category = 3`,
    ],
    [apart]: [
      'DELETE FROM tb_product WHERE pk_product = 19',
      'UPDATE tb_review SET fk_product = 2 WHERE pk_review = 20',
    ],
    'a source is truncated in one': ['TRUNCATE tb_review', `UPDATE tb_category SET name = 'beside'`],
  };
  for (const [what, [first, second]] of Object.entries(pairs)) {
    const waits = protocol === 'tview' || what !== apart;
    test(what, async () => {
      expect(await race(first, second)).toBe(waits);
      expect(await owed(database)).toEqual(nothing);
    });
    if (!first.startsWith('TRUNCATE')) {
      test(`${what}, the other way round`, async () => {
        expect(await race(second, first)).toBe(waits);
        expect(await owed(database)).toEqual(nothing);
      });
    }
  }
});

describe.each(['REPEATABLE READ', 'SERIALIZABLE'])('with locks by tview, under %s', (level) => {
  beforeAll(() => useLocks(owner, 'tview'));

  test('a flush that could not see an earlier one fails with 40001', async () => {
    await one.query(`BEGIN ISOLATION LEVEL ${level}`);
    await one.query('SELECT count(*) FROM tb_product');
    await two.query(`UPDATE tb_category SET name = name || '.' WHERE pk_category = 1`);
    await one.query(`UPDATE tb_product SET name = name || '.' WHERE pk_product = 8`);
    await expect(one.query('COMMIT')).rejects.toMatchObject({
      code: '40001',
      message: 'could not serialize access due to concurrent refresh of tview "shop.tv_product"',
    });
    expect(await owed(database)).toEqual(nothing);
  });

  test('a flush whose snapshot is younger than the last one goes through, more than once', async () => {
    await two.query(`UPDATE tb_category SET name = name || '.' WHERE pk_category = 1`);
    await one.query(`BEGIN ISOLATION LEVEL ${level}`);
    await one.query(`UPDATE tb_product SET name = 'first' WHERE pk_product = 8`);
    await one.query('SET CONSTRAINTS ALL IMMEDIATE');
    await one.query(`UPDATE tb_product SET name = 'second' WHERE pk_product = 8`);
    await one.query('COMMIT');
    expect(await product(owner, 8)).toMatchObject({ name: 'second' });
    expect(await owed(database)).toEqual(nothing);
  });

  test('an earlier flusher that is still running fails the later one too', async () => {
    await one.query(`BEGIN ISOLATION LEVEL ${level}`);
    await two.query('BEGIN');
    await two.query(`UPDATE tb_category SET name = name || '.' WHERE pk_category = 1`);
    await two.query('SET CONSTRAINTS ALL IMMEDIATE');
    await one.query(`UPDATE tb_product SET name = name || '.' WHERE pk_product = 8`);
    const committed = one.query('COMMIT').then(
      () => 'committed',
      (error: { code: string }) => error.code,
    );
    await untilWaiting(one, owner);
    await two.query('COMMIT');
    expect(await committed).toBe('40001');
    expect(await owed(database)).toEqual(nothing);
  });

  test('a writer whose snapshot is older than the tview is told to try again', async () => {
    await owner.query(`
      CREATE TABLE tb_parent (id int PRIMARY KEY);
      CREATE TABLE tb_child (id int PRIMARY KEY, fk_parent int NOT NULL, x int);
      CREATE INDEX ON tb_child (fk_parent);
      INSERT INTO tb_parent VALUES (1), (2);
      INSERT INTO tb_child VALUES (1, 1, 1)`);
    await one.query(`BEGIN ISOLATION LEVEL ${level}`);
    await one.query('SELECT FROM tb_product');
    await two.query('DELETE FROM tb_parent WHERE id = 1');
    await apply(owner, 'tv_child', 'SELECT c.id, c.x FROM tb_child c JOIN tb_parent p ON p.id = c.fk_parent');
    try {
      await one.query('UPDATE tb_child SET x = 2');
      await expect(one.query('COMMIT')).rejects.toMatchObject({ code: '40001' });
      await one.query(`BEGIN ISOLATION LEVEL ${level}; UPDATE tb_child SET x = 2; COMMIT`);
      expect(await divergence(owner, 'shop.tv_child')).toEqual(inStep);
    } finally {
      await inTransaction(executorOf(owner), () =>
        dropTview(executorOf(owner), { kind: 'drop', schema: null, name: 'tv_child', ifExists: false }),
      );
      await owner.query('DROP TABLE tb_child, tb_parent');
    }
  });

  test('tickets that came with a dump of an older cluster stop nobody', async () => {
    // What pg_dump writes.
    await owner.query(
      `SELECT setval('tviews.ticket_1', 123456789012, true), setval('tviews.ticket_2', 123456789012, true)`,
    );
    await one.query(`BEGIN ISOLATION LEVEL ${level}`);
    await one.query(`UPDATE tb_product SET name = 'restored' WHERE pk_product = 8`);
    await one.query('COMMIT');
    expect(await owed(database)).toEqual(nothing);
  });
});

describe.each(['REPEATABLE READ', 'SERIALIZABLE'])('with locks by value, under %s', (level) => {
  beforeAll(() => useLocks(owner, 'value'));
  const pending = async (): Promise<number> =>
    (await owner.query<{ count: number }>('SELECT count(*)::int FROM tviews.repair')).rows[0]!.count;
  const repairAll = async (): Promise<void> => {
    while (Number((await owner.query('SELECT tviews.repair() AS left')).rows[0]!.left) > 0);
  };

  describe('of a row that no other transaction writes', () => {
    beforeAll(async () => {
      await owner.query(`
        CREATE TABLE tb_parent (id int PRIMARY KEY, name text);
        CREATE TABLE tb_child (id int PRIMARY KEY, fk_parent int NOT NULL REFERENCES tb_parent);
        CREATE INDEX ON tb_child (fk_parent);
        INSERT INTO tb_parent VALUES (1, 'old')`);
      await apply(
        owner,
        'tv_child',
        'SELECT c.id, p.name FROM tb_child c JOIN tb_parent p ON p.id = c.fk_parent',
      );
    });
    afterAll(async () => {
      await inTransaction(executorOf(owner), () =>
        dropTview(executorOf(owner), { kind: 'drop', schema: null, name: 'tv_child', ifExists: false }),
      );
      await owner.query('DROP TABLE tb_child, tb_parent');
    });

    test('what a flush could not see is made good after COMMIT', async () => {
      const notices = noticesOf(one);
      await one.query(`BEGIN ISOLATION LEVEL ${level}`);
      await one.query('SELECT FROM tb_parent');
      await two.query(`UPDATE tb_parent SET name = 'new'`);
      await one.query('INSERT INTO tb_child VALUES (1, 1)');
      await one.query('COMMIT');
      expect(notices).toMatchObject([{ code: 'TV002' }]);
      expect(await divergence(owner, 'shop.tv_child')).toEqual({ ...inStep, different: 1 });
      expect(await pending()).toBe(1);
      await repairAll();
      expect(await divergence(owner, 'shop.tv_child')).toEqual(inStep);
      expect(await pending()).toBe(0);
    });

    test('a writer whose snapshot is older than the tview loses nothing', async () => {
      await one.query(`BEGIN ISOLATION LEVEL ${level}`);
      await one.query('SELECT FROM tb_parent');
      await apply(owner, 'tv_younger', 'SELECT c.id, c.fk_parent FROM tb_child c');
      await one.query('INSERT INTO tb_child VALUES (2, 1)');
      await one.query('COMMIT');
      await repairAll();
      expect(await divergence(owner, 'shop.tv_younger')).toEqual(inStep);
      await inTransaction(executorOf(owner), () =>
        dropTview(executorOf(owner), { kind: 'drop', schema: null, name: 'tv_younger', ifExists: false }),
      );
    });
  });

  test('a transaction that is rolled back leaves nothing to repair', async () => {
    await one.query(`BEGIN ISOLATION LEVEL ${level}`);
    await one.query(`INSERT INTO tb_product VALUES (302, 2, 'mine')`);
    await one.query('SET CONSTRAINTS ALL IMMEDIATE');
    await one.query('ROLLBACK');
    expect(await pending()).toBe(0);
  });

  test('whoever waits for a repair in progress has it done', async () => {
    await one.query(`BEGIN ISOLATION LEVEL ${level}`);
    await one.query(`INSERT INTO tb_product VALUES (303, 2, 'mine')`);
    await one.query('COMMIT');
    const other = await database.client();
    await other.query('BEGIN');
    await other.query('SELECT tviews.repair()');
    const repaired = repairAll();
    await untilWaiting(owner, other);
    await other.query('COMMIT');
    await repaired;
    expect(await pending()).toBe(0);
  });

  test('a repair is none of a transaction that keeps its snapshot', async () => {
    await owner.query(`BEGIN ISOLATION LEVEL ${level}`);
    await expect(owner.query('SELECT tviews.repair()')).rejects.toMatchObject({ code: '25001' });
    await owner.query('ROLLBACK');
  });
});

test('a tview created while a writer is in progress has what the writer wrote', async () => {
  await one.query('BEGIN');
  await one.query(`INSERT INTO tb_review VALUES (4001, 3, 5)`);
  const created = apply(
    owner,
    'tv_review',
    "SELECT r.pk_review, jsonb_build_object('rating', r.rating, 'product', p.name) AS data FROM tb_review r JOIN tb_product p ON p.pk_product = r.fk_product",
  );
  const watcher = await database.client();
  await untilWaiting(owner, watcher);
  await one.query('COMMIT');
  await created;
  const { rows } = await owner.query(
    `SELECT data->>'rating' AS rating FROM tv_review WHERE pk_review = 4001`,
  );
  expect(rows).toEqual([{ rating: '5' }]);
  expect(await owed(database)).toEqual(nothing);
});

test('many writers of few rows leave nothing behind', async () => {
  const writers = await Promise.all(Array.from({ length: 6 }, () => database.client(database.app)));
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 48271) % 0x7fffffff;
    return seed % below;
  };
  const failures: unknown[] = [];
  await Promise.all(
    writers.map(async (writer, w) => {
      for (let i = 0; i < 40; i++) {
        const statements = [
          `UPDATE tb_category SET name = 'n${random(1000)}' WHERE pk_category = ${1 + random(4)}`,
          `UPDATE tb_product SET fk_category = ${1 + random(4)} WHERE pk_product = ${1 + random(18)}`,
          `UPDATE tb_review SET fk_product = ${1 + random(18)} WHERE pk_review = ${1 + random(60)}`,
          `INSERT INTO tb_review VALUES (${10000 + w * 1000 + i}, ${1 + random(18)}, 1)`,
          `DELETE FROM tb_review WHERE pk_review = ${10000 + w * 1000 + random(40)}`,
        ];
        const chosen = Array.from({ length: 1 + random(2) }, () => statements[random(statements.length)]!);
        try {
          await writer.query(`BEGIN; ${chosen.join('; ')}; COMMIT`);
        } catch (error) {
          await writer.query('ROLLBACK');
          // Of PostgreSQL's own: rows updated in different order, a product that is gone, a review inserted twice.
          const { code } = error as { code: string };
          if (!['40P01', '23503', '23505'].includes(code)) failures.push(error);
        }
      }
    }),
  );
  expect(failures).toEqual([]);
  expect(await owed(database)).toEqual(nothing);
});
