/** Definitions of which a change may reach every row: exact, because each such change computes every row. */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listTviews } from '../../../src/database/list.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { verifyTview } from '../../../src/database/verify.ts';
import type { CreateTview } from '../../../src/definition/plan.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { apply, tables } from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;

beforeAll(async () => {
  const rates = `
    CREATE TABLE tb_rate (currency text PRIMARY KEY, factor numeric(6, 2) NOT NULL, note text);
    CREATE TABLE tb_event (what text);
    INSERT INTO tb_rate VALUES ('EUR', 1), ('USD', 1.1)`;
  database = await freshDatabase({ schema: 'shop', sql: `${tables}; ${rates}` });
  owner = await database.client();
  await init(executorOf(owner));
});
afterAll(() => database.drop());

interface Unbounded {
  readonly name: string;
  readonly query: string;
  readonly key: readonly string[];
  readonly fullRefresh: CreateTview['fullRefresh'];
}

const all = (name: string, key: readonly string[], query: string): Unbounded => ({
  name,
  query,
  key,
  fullRefresh: '*',
});

/** Constructs that cannot be mapped, kinds of keys that no source has, and some that need the option no more and may have it. */
const unbounded: readonly Unbounded[] = [
  {
    name: 'cross_join',
    query: `SELECT p.pk_product, jsonb_agg(r.factor * p.price ORDER BY r.currency) AS prices
            FROM tb_product p CROSS JOIN tb_rate r GROUP BY p.pk_product`,
    key: ['pk_product'],
    fullRefresh: [{ schema: null, name: 'tb_rate' }],
  },
  {
    name: 'number_of_rows',
    query: 'SELECT c.pk_category, (SELECT count(*) FROM tb_event) AS events FROM tb_category c',
    key: ['pk_category'],
    fullRefresh: [{ schema: 'shop', name: 'tb_event' }],
  },
  all(
    'range_join',
    ['pk_product'],
    `SELECT p.pk_product, count(q.pk_product) AS cheaper FROM tb_product p LEFT JOIN tb_product q ON q.price < p.price
     GROUP BY p.pk_product`,
  ),
  all(
    'spread_key',
    ['pk_product', 'currency'],
    'SELECT p.pk_product, r.currency, p.price * r.factor AS price FROM tb_product p CROSS JOIN tb_rate r',
  ),
  all(
    'computed_key',
    ['letter'],
    'SELECT substr(p.name, 1, 9) AS letter, count(*) AS n FROM tb_product p GROUP BY 1',
  ),
  all(
    'newest',
    ['pk_product'],
    'SELECT p.pk_product, p.name FROM tb_product p ORDER BY p.pk_product DESC LIMIT 3',
  ),
  all(
    'either',
    ['kind', 'id'],
    `SELECT 'c' AS kind, c.pk_category AS id, c.name FROM tb_category c
     UNION ALL SELECT 'p', p.pk_product, p.name FROM tb_product p WHERE p.price > 2`,
  ),
  all(
    'ranked',
    ['pk_product'],
    'SELECT p.pk_product, rank() OVER (ORDER BY p.price) AS place FROM tb_product p',
  ),
  all(
    'chain',
    ['n'],
    `WITH RECURSIVE chain (n, name) AS (
       SELECT c.pk_category, c.name FROM tb_category c WHERE c.pk_category = 1
       UNION ALL SELECT c.pk_category, c.name FROM chain JOIN tb_category c ON c.pk_category = chain.n + 1
     ) SELECT n, name FROM chain`,
  ),
  all(
    'both',
    ['id'],
    `SELECT COALESCE(c.pk_category, r.pk_review) AS id, c.name, r.rating FROM tb_category c
     FULL JOIN tb_review r ON r.pk_review = c.pk_category`,
  ),
  all(
    'rolled_up',
    ['category'],
    'SELECT COALESCE(p.fk_category, 0) AS category, count(*) AS n, sum(p.price) AS price FROM tb_product p GROUP BY ROLLUP (p.fk_category)',
  ),
];

const changes: readonly string[] = [
  'UPDATE tb_rate SET factor = factor + 1',
  `INSERT INTO tb_rate VALUES ('GBP', 3)`,
  `INSERT INTO tb_event VALUES ('x'), ('x')`,
  `DELETE FROM tb_event`,
  'UPDATE tb_product SET price = 5 WHERE pk_product < 4',
  `INSERT INTO tb_product VALUES (21, 2, 'new', 7)`,
  'DELETE FROM tb_product WHERE pk_product = 7',
  'UPDATE tb_product SET fk_category = 3 WHERE pk_product = 2',
  `INSERT INTO tb_category VALUES (5, 'five')`,
  `UPDATE tb_category SET name = 'renamed' WHERE pk_category = 2`,
  'UPDATE tb_review SET rating = 9 WHERE pk_review = 3',
  'DELETE FROM tb_review WHERE pk_review > 50',
  'TRUNCATE tb_review',
];

const create = async (
  { name, query, key, fullRefresh }: Unbounded,
  ifExists: CreateTview['ifExists'] = 'error',
) => await apply(owner, `tv_${name}`, query, { key, ifExists, ...(fullRefresh && { fullRefresh }) });

test('every construct stays in step through every kind of change', async () => {
  for (const definition of unbounded) await create(definition);
  const app = await database.client(database.app);
  for (const change of changes) {
    await app.query(change);
    for (const { name } of unbounded) {
      expect(await divergence(owner, `shop.tv_${name}`), `${name} after ${change}`).toEqual(inStep);
    }
  }
});

test('verify finds nothing to mend, and mends what is damaged', async () => {
  const executor = executorOf(owner);
  const vandal = await database.client(database.superuser);
  await vandal.query('SET session_replication_role = replica');
  for (const { name } of unbounded) {
    const fine = { missing: 0, surplus: 0, different: 0 };
    expect(await verifyTview(executor, `shop.tv_${name}`), name).toMatchObject(fine);
    await vandal.query(`DELETE FROM shop.tv_${name} WHERE ctid = (SELECT min(ctid) FROM shop.tv_${name})`);
    expect(await verifyTview(executor, `shop.tv_${name}`, { repair: true }), name).toMatchObject({
      missing: 1,
      repaired: { written: 1, deleted: 0 },
    });
    expect(await divergence(owner, `shop.tv_${name}`), name).toEqual(inStep);
  }
});

describe('the option', () => {
  test('is asked for by the refusal, which lists what it is about', async () => {
    const { name, query, key } = unbounded[0]!;
    await expect(apply(owner, `tv_${name}2`, query, { key })).rejects.toMatchObject({
      code: '0A000',
      message: 'table shop.tb_rate (r) is not linked to the key',
      hint: expect.stringContaining(`WITH (full_refresh = 'shop.tb_rate')`),
    });
    const spread = unbounded.find((definition) => definition.name === 'spread_key')!;
    await expect(apply(owner, 'tv_spread2', spread.query, { key: spread.key })).rejects.toMatchObject({
      hint: expect.stringContaining(`WITH (full_refresh = 'shop.tb_product, shop.tb_rate')`),
    });
  });

  test('of a table that is not read, or does not exist, says so', async () => {
    const { query, key } = unbounded[0]!;
    const named = (name: string) =>
      apply(owner, 'tv_x', query, { key, fullRefresh: [{ schema: null, name }] });
    await expect(named('tb_review')).rejects.toMatchObject({
      message: 'option "full_refresh" names a table that the definition does not read',
      detail: 'It reads shop.tb_product, shop.tb_rate.',
    });
    await expect(named('tb_nothing')).rejects.toMatchObject({ code: '42P01' });
  });

  test('does not let in what depends on more than rows', async () => {
    const query = (value: string) =>
      `SELECT p.pk_product, ${value} AS x FROM tb_product p CROSS JOIN tb_rate r`;
    for (const value of ['now()', 'random()', 'current_user', 'current_date', 'to_jsonb(r)']) {
      await expect(
        apply(owner, 'tv_x', query(value), { key: ['pk_product'], fullRefresh: '*' }),
      ).rejects.toMatchObject({ code: '0A000' });
    }
  });

  test('is shown, and makes a tview another one only where it matters', async () => {
    const shown = (await listTviews(executorOf(owner))).find(({ name }) => name === 'tv_cross_join')!;
    expect(Object.fromEntries(shown.sources.map((source) => [source.name, source.fullRefresh]))).toEqual({
      tb_product: false,
      tb_rate: true,
    });
    const [crossJoin] = unbounded;
    const again = async (fullRefresh: CreateTview['fullRefresh']) =>
      (await create({ ...crossJoin!, fullRefresh }, 'replace')).action;
    expect(await again([{ schema: 'shop', name: 'tb_rate' }])).toBe('unchanged');
    // Nothing more is needed than that.
    expect(await again('*')).toBe('unchanged');
  });

  test('leaves what can be derived derived', async () => {
    const { rows } = await owner.query<{ id: number; s: number; rate: number }>(
      `SELECT t.id, p.id AS s, r.id AS rate FROM tviews.tview AS t, tviews.source AS p, tviews.source AS r
       WHERE t.name = 'tv_cross_join' AND p.relation = 'tb_product'::regclass AND r.relation = 'tb_rate'::regclass`,
    );
    const { id, s, rate } = rows[0]!;
    const keys = async (change: unknown) => {
      const { rows: found } = await owner.query<{ report: { tview: number; keys: number }[] }>(
        'SELECT tviews.flush($1::text::jsonb, false) AS report',
        [JSON.stringify([change])],
      );
      return found[0]!.report.find(({ tview }) => tview === id)?.keys;
    };
    const count = await owner.query<{ n: number }>('SELECT count(*)::int AS n FROM tb_product');
    expect(await keys({ s, r: [{ pk_product: 1 }] })).toBe(1);
    expect(await keys({ s: rate, r: [{}] })).toBe(count.rows[0]!.n);
  });

  test('a column that the definition does not read changes nothing', async () => {
    await owner.query('BEGIN');
    const before = await owner.query('SELECT count(*)::int AS n FROM tviews.queue');
    await owner.query(`UPDATE tb_rate SET note = 'noted'`);
    const after = await owner.query('SELECT count(*)::int AS n FROM tviews.queue');
    await owner.query('ROLLBACK');
    expect(after.rows).toEqual(before.rows);
  });
});

describe('a key that is proved by nothing but the rows', () => {
  test('and that two rows have when the tview is made is named', async () => {
    const query =
      'SELECT c.pk_category AS id FROM tb_category c UNION ALL SELECT r.pk_review FROM tb_review r';
    await owner.query('INSERT INTO tb_review VALUES (2, 1, 1)');
    await expect(create(all('twice', ['id'], query))).rejects.toMatchObject({
      code: '21000',
      detail: 'Key (id)=(2) is duplicated.',
    });
    await owner.query('DELETE FROM tb_review');
    await create(all('twice', ['id'], query));
  });

  test('is an error of the transaction that gives two rows one key, and names it', async () => {
    await expect(owner.query('INSERT INTO tb_review VALUES (2, 1, 1)')).rejects.toMatchObject({
      code: '21000',
      message: 'definition of tview "shop.tv_twice" gives more than one row for a key',
      detail: 'Key (id)=(2) comes 2 times.',
    });
    expect(await divergence(owner, 'shop.tv_twice')).toEqual(inStep);
  });

  test('is an error of the transaction that gives a row without one', async () => {
    await create(
      all('nothing', ['currency'], 'SELECT NULLIF(r.currency, r.note) AS currency FROM tb_rate r LIMIT 10'),
    );
    await expect(owner.query('UPDATE tb_rate SET note = currency')).rejects.toMatchObject({
      code: '23502',
      message: 'definition of tview "shop.tv_nothing" gives a row whose key is null',
    });
    expect(await divergence(owner, 'shop.tv_nothing')).toEqual(inStep);
  });
});

test('a tview over one that is computed whole is told what really changed, and may itself be computed whole', async () => {
  await apply(owner, 'tv_above', 'SELECT x.pk_product, x.prices FROM tv_cross_join x');
  await create(
    all(
      'far_above',
      ['n'],
      'SELECT count(*) AS n, sum(jsonb_array_length(x.prices)) AS prices FROM tv_above x LIMIT 1',
    ),
  );
  for (const change of [
    'UPDATE tb_rate SET factor = factor + 1',
    `INSERT INTO tb_rate VALUES ('CHF', 3)`,
    'UPDATE tb_product SET price = 6 WHERE pk_product = 1',
    'TRUNCATE tb_rate',
  ]) {
    await owner.query(change);
    for (const name of ['cross_join', 'above', 'far_above']) {
      expect(await divergence(owner, `shop.tv_${name}`), `${name} after ${change}`).toEqual(inStep);
    }
  }
});
