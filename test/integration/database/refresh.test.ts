/** What a flush writes, what it reports, what it costs in statements, and how it fails. */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { rebuild, verifyTview } from '../../../src/database/verify.ts';
import type { FreshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { apply, nothing, owed, shop } from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;

beforeAll(async () => {
  database = await shop();
  owner = await database.client();
});
afterAll(() => database.drop());

const report = async (changes: unknown) => {
  const { rows } = await owner.query<{ report: Record<string, number>[] }>(
    'SELECT tviews.flush($1::text::jsonb, false) AS report',
    [JSON.stringify(changes)],
  );
  return rows[0]!.report.map(({ ms, ...rest }) => rest);
};
const sourceId = async (table: string) => {
  const { rows } = await owner.query<{ id: number }>(
    'SELECT id FROM tviews.source WHERE relation = $1::regclass',
    [table],
  );
  return rows[0]!.id;
};

test('a tview that did not change is not passed on to those that read it', async () => {
  const s = await sourceId('tb_product');
  expect(await report([{ s, r: [{ pk_product: 1 }, { pk_product: 2 }] }])).toEqual([
    { tview: 1, keys: 2, written: 0, deleted: 0, unchanged: 2 },
  ]);
});

test('keys without rows are neither written nor missed', async () => {
  const s = await sourceId('tb_product');
  expect(await report([{ s, r: [{ pk_product: 98 }, { pk_product: null }] }])).toEqual([
    { tview: 1, keys: 2, written: 0, deleted: 0, unchanged: 2 },
  ]);
});

test('the number of statements of a flush does not depend on the number of rows', async () => {
  await owner.query(`
    CREATE TABLE statement_seen (what text);
    CREATE FUNCTION see_statement() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO shop.statement_seen VALUES (TG_TABLE_NAME || ' ' || TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON tv_product
    FOR EACH STATEMENT EXECUTE FUNCTION see_statement();
    CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON tv_category
    FOR EACH STATEMENT EXECUTE FUNCTION see_statement()`);
  const seen = async (rows: number) => {
    await owner.query('BEGIN');
    await owner.query(`UPDATE tb_product SET price = price + 1 WHERE pk_product <= ${rows}`);
    await owner.query('SET CONSTRAINTS ALL IMMEDIATE');
    // The command counter of the transaction: what has written, by whatever way, has moved it.
    const { rows: found } = await owner.query<{ what: string; command: string }>(
      'SELECT what, cmin::text AS command FROM statement_seen ORDER BY cmin::text::int, what',
    );
    await owner.query('ROLLBACK');
    return found;
  };
  const one = await seen(1);
  expect(one.map(({ what }) => what)).toEqual(
    expect.arrayContaining(['tv_product UPDATE', 'tv_category UPDATE']),
  );
  // One key has statements of its own; from two keys on they are the same, however many.
  const two = await seen(2);
  expect(await seen(15)).toEqual(two);
  expect(one.length).toBeLessThanOrEqual(two.length);
  await owner.query('DROP TRIGGER see ON tv_product; DROP TRIGGER see ON tv_category');
});

test('a flush that a trigger on a tview starts leaves the flush around it able to write', async () => {
  // tv_product has the lowest id: behind it comes tv_category, with the guards as the inner flush left them.
  await owner.query(`
    CREATE FUNCTION note_refresh() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE shop.tb_review SET rating = 5 WHERE pk_review = 7;
      RETURN NULL;
    END $$;
    CREATE TRIGGER note_refresh AFTER UPDATE ON tv_product FOR EACH ROW
    WHEN (NEW.pk_product = 1) EXECUTE FUNCTION note_refresh()`);
  await owner.query(`
    BEGIN; SET CONSTRAINTS ALL IMMEDIATE; UPDATE tb_product SET name = 'noted' WHERE pk_product = 1; COMMIT`);
  expect(await owed(database)).toEqual(nothing);
  await expect(owner.query('DELETE FROM tv_product')).rejects.toMatchObject({ code: '55000' });
  await owner.query('DROP TRIGGER note_refresh ON tv_product; DROP FUNCTION note_refresh()');
});

test('a division by zero in the definition fails the COMMIT with its own SQLSTATE and names the refresh function', async () => {
  await apply(
    owner,
    'tv_ratio',
    `SELECT pk_review, jsonb_build_object('ratio', 60 / (rating - 100)) AS data FROM tb_review`,
  );
  const app = await database.client(database.app);
  await app.query('BEGIN');
  await app.query('UPDATE tb_review SET rating = 100 WHERE pk_review = 1');
  await expect(app.query('COMMIT')).rejects.toMatchObject({
    code: '22012',
    where: expect.stringContaining('refresh_tv_ratio_'),
  });
  expect(await owed(database)).toEqual(nothing);
  expect(await divergence(owner, 'shop.tv_ratio')).toEqual(inStep);
});

test('a second row for a key fails the COMMIT and names tview and key', async () => {
  await owner.query('CREATE TABLE tb_label (pk_label int PRIMARY KEY, fk_product int, label text)');
  await owner.query(`INSERT INTO tb_label VALUES (1, 1, 'one')`);
  await apply(
    owner,
    'tv_label',
    `SELECT fk_product, jsonb_build_object('label', label) AS data FROM tb_label WHERE fk_product IS NOT NULL`,
    { key: ['fk_product'] },
  );
  await expect(owner.query(`INSERT INTO tb_label VALUES (2, 1, 'two')`)).rejects.toMatchObject({
    code: '21000',
    message: 'definition of tview "shop.tv_label" gives more than one row for a key',
    detail: 'Key (fk_product)=(1) comes 2 times.',
  });
  await owner.query(`INSERT INTO tb_label VALUES (3, NULL, 'unlinked'), (4, 2, 'fine')`);
  expect(await divergence(owner, 'shop.tv_label')).toEqual(inStep);
});

test('a composite key of text, one part in another collation, follows its rows', async () => {
  await owner.query(`
    CREATE TABLE tb_stock (
      warehouse text COLLATE "C", sku varchar(20), quantity int, PRIMARY KEY (warehouse, sku)
    );
    INSERT INTO tb_stock VALUES ('north', 'a', 1), ('north', 'b', 2), ('süd', 'a', 3)`);
  await apply(
    owner,
    'tv_stock',
    `SELECT warehouse, sku, jsonb_build_object('quantity', quantity) AS data FROM tb_stock`,
    { key: ['warehouse', 'sku'] },
  );
  await owner.query(`
    UPDATE tb_stock SET warehouse = 'ost' WHERE warehouse = 'süd';
    DELETE FROM tb_stock WHERE sku = 'b';
    INSERT INTO tb_stock VALUES ('ost', 'c', 4)`);
  expect(await divergence(owner, 'shop.tv_stock')).toEqual(inStep);
});

describe('verify', () => {
  test('counts what differs, shows keys, and repairs it with the tviews above', async () => {
    const admin = await database.client(database.superuser);
    await admin.query(`SET tviews.flushing = 'on'`);
    await admin.query(`
      DELETE FROM shop.tv_product WHERE pk_product = 3;
      UPDATE shop.tv_product SET data = '{}' WHERE pk_product IN (4, 5);
      INSERT INTO shop.tv_product VALUES (777, 1, '{}')`);
    const executor = executorOf(owner);
    const found = await verifyTview(executor, 'tv_product');
    expect(found).toMatchObject({
      missing: 1,
      surplus: 1,
      different: 2,
      unorderedAggregate: false,
      repaired: null,
    });
    expect(found.rows).toContainEqual({
      kind: 'surplus',
      key: { pk_product: 777 },
      differences: [],
      more: false,
    });
    expect(await verifyTview(executor, 'shop.tv_product', { repair: true })).toMatchObject({
      repaired: { written: 3, deleted: 1 },
    });
    expect(await verifyTview(executor, 'tv_product')).toMatchObject({ missing: 0, surplus: 0, different: 0 });
    expect(await owed(database)).toEqual(nothing);
  });

  test('rebuild computes every row and writes only what differs', async () => {
    expect(await rebuild(executorOf(owner), 'tv_product')).toEqual({ rows: 20, written: 0, deleted: 0 });
  });

  test('of a name that is no tview says so', async () => {
    await expect(verifyTview(executorOf(owner), 'tb_product')).rejects.toMatchObject({ code: '42704' });
  });
});

test('of two equal rows without a primary key, a change of one is a change', async () => {
  await owner.query(`
    CREATE TABLE tb_hit (fk_category int, pages int);
    INSERT INTO tb_hit VALUES (1, 5), (1, 5), (2, 1), (NULL, 1)`);
  await apply(
    owner,
    'tv_hits',
    `SELECT c.pk_category, jsonb_build_object('pages', (
       SELECT sum(h.pages) FROM tb_hit h WHERE h.fk_category = c.pk_category
     )) AS data FROM tb_category c`,
  );
  await owner.query('DELETE FROM tb_hit WHERE ctid = (SELECT min(ctid) FROM tb_hit)');
  expect(await divergence(owner, 'shop.tv_hits')).toEqual(inStep);
  await owner.query('INSERT INTO tb_hit VALUES (1, 5)');
  await owner.query('UPDATE tb_hit SET fk_category = 2 WHERE ctid = (SELECT max(ctid) FROM tb_hit)');
  expect(await divergence(owner, 'shop.tv_hits')).toEqual(inStep);
  await owner.query('UPDATE tb_hit SET fk_category = 3 - fk_category');
  expect(await divergence(owner, 'shop.tv_hits')).toEqual(inStep);
});

test('a key that is equal and yet different is written as it is now', async ({ skip }) => {
  await owner.query(
    `CREATE TABLE tb_version (version numeric PRIMARY KEY); INSERT INTO tb_version VALUES (1.0), (2)`,
  );
  await apply(owner, 'tv_version', `SELECT version, jsonb_build_object('v', 'x') AS data FROM tb_version`, {
    key: ['version'],
  });
  await owner.query('UPDATE tb_version SET version = 1.00 WHERE version = 1');
  expect(await divergence(owner, 'shop.tv_version')).toEqual(inStep);

  const admin = await database.client(database.superuser);
  const { rows } = await admin.query(`SELECT FROM pg_available_extensions WHERE name = 'citext'`);
  if (rows.length === 0) skip('this server has no citext');
  await admin.query('CREATE EXTENSION citext SCHEMA public');
  await owner.query(`
    CREATE TABLE tb_user (email public.citext PRIMARY KEY, name text);
    INSERT INTO tb_user VALUES ('Ann@x', 'Ann'), ('bob@x', 'Bob')`);
  await apply(owner, 'tv_user', `SELECT email, jsonb_build_object('name', name) AS data FROM tb_user`, {
    key: ['email'],
  });
  await owner.query(`UPDATE tb_user SET email = 'ANN@x' WHERE name = 'Ann'`);
  expect(await divergence(owner, 'shop.tv_user')).toEqual(inStep);
  // By the type's own equality: the spelling in the change is not the one in the table.
  const s = await sourceId('tb_user');
  const changes = await report([{ s, r: [{ email: 'aNN@x' }] }]);
  expect(changes).toMatchObject([{ keys: 1, written: 0, deleted: 0 }]);
  const { rows: kept } = await owner.query(`SELECT email FROM tv_user ORDER BY email`);
  expect(kept).toEqual([{ email: 'ANN@x' }, { email: 'bob@x' }]);
});

describe('a tview follows its source where', () => {
  /** A table and a tview of the same columns, written one row and several rows at a time. */
  const follows = async (name: string, setup: string, definition: string, writes: readonly string[]) => {
    await owner.query(setup);
    await apply(owner, `tv_${name}`, definition);
    for (const write of writes) {
      await owner.query(write);
      expect(await divergence(owner, `shop.tv_${name}`), write).toEqual(inStep);
    }
  };

  test('a column has a domain that is not null', () =>
    follows(
      'labelled',
      `CREATE DOMAIN label AS text NOT NULL;
       CREATE TABLE tb_labelled (id label PRIMARY KEY, x label);
       INSERT INTO tb_labelled VALUES ('1', 'a'), ('2', 'b')`,
      'SELECT id, x FROM tb_labelled',
      [
        `UPDATE tb_labelled SET x = 'c' WHERE id = '1'`,
        `UPDATE tb_labelled SET x = 'd'`,
        `INSERT INTO tb_labelled VALUES ('3', 'e')`,
        `DELETE FROM tb_labelled WHERE id = '1'`,
        'DELETE FROM tb_labelled',
      ],
    ));

  test('a column is a row', () =>
    follows(
      'address',
      `CREATE TYPE address AS (street text, number int);
       CREATE TABLE tb_address (id int PRIMARY KEY, x address, y address);
       INSERT INTO tb_address VALUES (1, ('a', 1), NULL), (2, ('b', 2), ('c', 3))`,
      'SELECT id, x, y FROM tb_address',
      [
        `UPDATE tb_address SET x = ('z', 1), y = x WHERE id = 1`,
        `UPDATE tb_address SET y = NULL`,
        `INSERT INTO tb_address VALUES (3, NULL, NULL)`,
        `DELETE FROM tb_address WHERE id = 1`,
      ],
    ));

  test('columns are called as the variables of its refresh function', () => {
    const names = [
      'key_1',
      'new_row',
      'computed',
      'keys',
      'changes',
      'everything',
      'images',
      'refresh',
      'written',
    ];
    return follows(
      'variable',
      `CREATE TABLE tb_variable (id int PRIMARY KEY, ${names.map((name) => `${name} int`).join(', ')});
       INSERT INTO tb_variable (id) VALUES (1), (2), (3)`,
      `SELECT id, ${names.join(', ')} FROM tb_variable`,
      names.flatMap((name) => [
        `UPDATE tb_variable SET ${name} = id`,
        `UPDATE tb_variable SET ${name} = 7 WHERE id = 2`,
        `UPDATE tb_variable SET id = 10 - id`,
      ]),
    );
  });

  test('the primary key is of a type that an extension brought', async ({ skip }) => {
    const admin = await database.client(database.superuser);
    const { rows } = await admin.query(`SELECT FROM pg_available_extensions WHERE name = 'ltree'`);
    if (rows.length === 0) skip('this server has no ltree');
    await admin.query('CREATE EXTENSION ltree SCHEMA public');
    await follows(
      'tree',
      `CREATE TABLE tb_tree (path public.ltree PRIMARY KEY, x int);
       INSERT INTO tb_tree VALUES ('a', 1), ('a.b', 2)`,
      'SELECT path, x FROM tb_tree',
      [
        `UPDATE tb_tree SET x = 3`,
        `UPDATE tb_tree SET path = 'c' || path`,
        `INSERT INTO tb_tree VALUES ('d', 1)`,
        `DELETE FROM tb_tree WHERE path = 'd'`,
      ],
    );
  });

  test('a primary key is none any more', async () => {
    await follows(
      'unkeyed',
      `CREATE TABLE tb_unkeyed (id int PRIMARY KEY, fk_category int, x int);
       CREATE INDEX ON tb_unkeyed (fk_category);
       INSERT INTO tb_unkeyed VALUES (1, 1, 1), (2, 2, 2), (3, 2, 2)`,
      `SELECT c.pk_category, (SELECT sum(u.x) FROM tb_unkeyed u WHERE u.fk_category = c.pk_category) AS x
       FROM tb_category c`,
      [
        `ALTER TABLE tb_unkeyed DROP CONSTRAINT tb_unkeyed_pkey;
         ALTER TABLE tb_unkeyed ALTER id DROP NOT NULL;
         UPDATE tb_unkeyed SET id = NULL, x = 10 WHERE id < 3`,
        'UPDATE tb_unkeyed SET x = x + 1',
        'UPDATE tb_unkeyed SET id = x, fk_category = 3 - fk_category',
      ],
    );
  });

  test('a row refers to itself, by foreign keys that follow its key', () =>
    follows(
      'node',
      // What a cascade writes of the same table is in the statement's own transition tables: one row there twice.
      `CREATE TABLE tb_node (
         id int PRIMARY KEY, parent int REFERENCES tb_node ON UPDATE CASCADE, x int, code text UNIQUE,
         like_code text REFERENCES tb_node (code) ON UPDATE CASCADE ON DELETE SET NULL
       );
       CREATE INDEX ON tb_node (parent);
       INSERT INTO tb_node VALUES (1, 1, 1, 'a', 'a'), (4, 4, 4, 'd', 'a'), (5, 4, 5, 'e', 'e');
       CREATE TABLE tb_leaf (id int PRIMARY KEY, node int);
       CREATE INDEX ON tb_leaf (node);
       INSERT INTO tb_leaf SELECT i, i FROM generate_series(1, 90) AS i`,
      'SELECT l.id, n.x FROM tb_leaf l LEFT JOIN tb_node n ON n.id = l.node',
      [
        'UPDATE tb_node SET id = 7 WHERE id = 4',
        'UPDATE tb_node SET id = id + 10',
        `UPDATE tb_node SET code = code || 'x'`,
        `UPDATE tb_node SET id = id + 20, code = code || 'y', x = x + 1`,
        'UPDATE tb_node SET parent = id',
        'UPDATE tb_node SET id = 90 - id, x = 0',
        `DELETE FROM tb_node WHERE code LIKE 'a%'`,
      ],
    ));

  test('keys are compared without case', () =>
    follows(
      'spelling',
      `CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
       CREATE TABLE tb_spelling (id int PRIMARY KEY, k text COLLATE no_case NOT NULL);
       CREATE INDEX ON tb_spelling (k);
       INSERT INTO tb_spelling VALUES (1, 'a')`,
      'SELECT k, count(*) AS n FROM tb_spelling GROUP BY k',
      [
        `INSERT INTO tb_spelling VALUES (2, 'A'), (3, 'b'), (4, 'B')`,
        `UPDATE tb_spelling SET k = 'A' WHERE id = 1`,
        `UPDATE tb_spelling SET k = upper(k)`,
        `DELETE FROM tb_spelling WHERE k = 'a'`,
      ],
    ));
});

test('one changed row leads to its keys by an index, also where a hundred would lead to the whole table', async () => {
  await owner.query(`
    CREATE TABLE tb_group (pk_group int PRIMARY KEY, name text NOT NULL);
    CREATE TABLE tb_member (pk_member int PRIMARY KEY, fk_group int NOT NULL, name text NOT NULL);
    CREATE INDEX ON tb_member (fk_group);
    INSERT INTO tb_group SELECT i, 'group ' || i FROM generate_series(1, 50) AS i;
    INSERT INTO tb_member SELECT i, 1 + i % 50, repeat('member ', 20) FROM generate_series(1, 10000) AS i;
    ANALYZE tb_group, tb_member`);
  await apply(
    owner,
    'tv_member',
    'SELECT m.pk_member, m.name, g.name AS in FROM tb_member m JOIN tb_group g ON g.pk_group = m.fk_group',
  );
  // Of this session, those too that are not told to others yet.
  const scans = async (): Promise<number> => {
    const { rows } = await owner.query<{ scans: number }>(
      `SELECT pg_stat_get_xact_numscans('tb_member'::regclass)::int AS scans`,
    );
    return rows[0]!.scans;
  };
  await owner.query('BEGIN');
  const before = await scans();
  await owner.query(`UPDATE tb_group SET name = 'renamed' WHERE pk_group = 7; SET CONSTRAINTS ALL IMMEDIATE`);
  expect((await scans()) - before).toBe(0);
  await owner.query('COMMIT');
  expect((await owner.query(`SELECT FROM tv_member WHERE "in" = 'renamed'`)).rowCount).toBe(200);
  expect(await divergence(owner, 'shop.tv_member')).toEqual(inStep);
});
