/** Writes that no proxy sees: the queue and its deferred trigger keep the tviews exact at every COMMIT. */
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { FreshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { apply, nothing, owed, product, shop, tables } from './support.ts';

let database: FreshDatabase;
let app: pg.Client;
let owner: pg.Client;
let version: number;

beforeAll(async () => {
  database = await shop();
  app = await database.client(database.app);
  owner = await database.client();
  const { rows } = await owner.query<{ version: number }>(
    `SELECT current_setting('server_version_num')::int AS version`,
  );
  version = rows[0]!.version;
});
afterAll(() => database.drop());

beforeEach(async () => {
  await app.query('ROLLBACK');
  // Every test starts from the same rows; that this keeps the tviews in step is part of what is tested.
  await owner.query(`TRUNCATE tb_review, tb_product, tb_category; ${tables.slice(tables.indexOf('INSERT'))}`);
});

/** Every shape, with the statements that make it. */
const shapes: Record<string, string> = {
  'a single update': `UPDATE tb_product SET name = 'renamed' WHERE pk_product = 3`,
  'an insert of a parent and a child': `
    BEGIN;
    INSERT INTO tb_product VALUES (100, 1, 'new');
    INSERT INTO tb_review VALUES (1000, 100, 5);
    COMMIT`,
  'a delete that cascades over a foreign key': 'DELETE FROM tb_product WHERE pk_product = 5',
  'a row that moves to another parent': 'UPDATE tb_review SET fk_product = 7 WHERE pk_review = 1',
  'a row that loses its parent': 'UPDATE tb_review SET fk_product = NULL WHERE pk_review = 1',
  'a change of a primary key': 'UPDATE tb_review SET pk_review = pk_review + 1000',
  'an upsert of both kinds': `
    INSERT INTO tb_product VALUES (1, 2, 'upserted'), (101, 2, 'inserted')
    ON CONFLICT (pk_product) DO UPDATE SET name = EXCLUDED.name, fk_category = EXCLUDED.fk_category`,
  'a statement that modifies in two common table expressions': `
    WITH gone AS (DELETE FROM tb_review WHERE fk_product = 2 RETURNING rating),
         renamed AS (UPDATE tb_category SET name = name || '!' RETURNING 1)
    INSERT INTO tb_review SELECT 2000 + row_number() OVER (), 3, rating FROM gone`,
  'a rename that reaches many rows': `UPDATE tb_category SET name = 'all of them'`,
  'truncation of a leaf': 'TRUNCATE tb_review',
  'truncation of the root': 'TRUNCATE tb_product, tb_review',
  'a savepoint rolled back between two writes': `
    BEGIN;
    UPDATE tb_product SET name = 'one' WHERE pk_product = 1;
    SAVEPOINT s;
    UPDATE tb_product SET name = 'two' WHERE pk_product = 2;
    DELETE FROM tb_review;
    ROLLBACK TO s;
    UPDATE tb_product SET name = 'three' WHERE pk_product = 3;
    COMMIT`,
  'an exception block that swallows a write': `
    DO $$ BEGIN
      UPDATE tb_product SET name = 'kept' WHERE pk_product = 1;
      BEGIN
        UPDATE tb_product SET name = 'undone' WHERE pk_product = 2;
        RAISE 'undo';
      EXCEPTION WHEN raise_exception THEN NULL;
      END;
    END $$`,
  'constraints made immediate in the middle': `
    BEGIN;
    UPDATE tb_product SET name = 'before' WHERE pk_product = 1;
    SET CONSTRAINTS ALL IMMEDIATE;
    UPDATE tb_product SET name = 'after' WHERE pk_product = 1;
    UPDATE tb_category SET name = 'after' WHERE pk_category = 1;
    COMMIT`,
  'immediate constraints rolled back to a savepoint': `
    BEGIN;
    UPDATE tb_product SET name = 'before' WHERE pk_product = 1;
    SAVEPOINT s;
    SET CONSTRAINTS ALL IMMEDIATE;
    UPDATE tb_product SET name = 'inside' WHERE pk_product = 2;
    ROLLBACK TO s;
    UPDATE tb_product SET name = 'after' WHERE pk_product = 3;
    COMMIT`,
  'several statements in one simple query': `
    UPDATE tb_product SET name = 'x' WHERE pk_product = 1; UPDATE tb_category SET name = 'y' WHERE pk_category = 2`,
  'a row inserted and deleted again': `
    BEGIN; INSERT INTO tb_product VALUES (102, 1, 'short'); DELETE FROM tb_product WHERE pk_product = 102; COMMIT`,
};

describe('the tviews are exact and the queue is empty after', () => {
  for (const [shape, sql] of Object.entries(shapes)) {
    test(shape, async () => {
      await app.query(sql);
      expect(await owed(database)).toEqual(nothing);
    });
  }

  test('MERGE with every action', async ({ skip }) => {
    if (version < 150000) skip('MERGE came with 15');
    await app.query(`
      MERGE INTO tb_product AS p
      USING (VALUES (1, 'merged'), (2, 'gone'), (103, 'new')) AS s (pk, name) ON s.pk = p.pk_product
      WHEN MATCHED AND s.name = 'gone' THEN DELETE
      WHEN MATCHED THEN UPDATE SET name = s.name
      WHEN NOT MATCHED THEN INSERT VALUES (s.pk, 1, s.name)`);
    expect(await product(owner, 1)).toMatchObject({ name: 'merged' });
    expect(await product(owner, 2)).toBeUndefined();
    expect(await product(owner, 103)).toMatchObject({ name: 'new' });
    expect(await owed(database)).toEqual(nothing);
  });

  test('COPY', async () => {
    const { spawn } = await import('node:child_process');
    const psql = spawn('psql', ['-X', '-q', database.app.url, '-c', 'COPY shop.tb_product FROM STDIN'], {
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    psql.stdin.end(Array.from({ length: 50 }, (_, i) => `${200 + i}\t1\tcopied ${i}\t2.50\t\\N\n`).join(''));
    expect(await new Promise((resolve) => psql.once('close', resolve))).toBe(0);
    expect(await product(owner, 249)).toMatchObject({ name: 'copied 49' });
    expect(await owed(database)).toEqual(nothing);
  });

  test('a failed transaction', async () => {
    await app.query('BEGIN');
    await app.query(`UPDATE tb_product SET name = 'never' WHERE pk_product = 1`);
    await expect(app.query('SELECT 1/0')).rejects.toMatchObject({ code: '22012' });
    await app.query('COMMIT');
    expect(await product(owner, 1)).toMatchObject({ name: 'product 1' });
    expect(await owed(database)).toEqual(nothing);
  });

  test('a procedure with COMMIT and ROLLBACK inside', async () => {
    await owner.query(`
      CREATE OR REPLACE PROCEDURE write_in_steps() LANGUAGE plpgsql AS $$
      BEGIN
        UPDATE tb_product SET name = 'step 1' WHERE pk_product = 1;
        COMMIT;
        UPDATE tb_product SET name = 'step 2' WHERE pk_product = 2;
        ROLLBACK;
        DELETE FROM tb_review WHERE fk_product = 3;
        COMMIT;
        UPDATE tb_category SET name = 'step 4' WHERE pk_category = 4;
      END $$`);
    await app.query('CALL write_in_steps()');
    expect(await product(owner, 1)).toMatchObject({ name: 'step 1' });
    expect(await product(owner, 2)).toMatchObject({ name: 'product 2' });
    expect(await product(owner, 3)).toMatchObject({ ratings: null });
    expect(await owed(database)).toEqual(nothing);
  });

  test('a deferred trigger of the user that writes a source during COMMIT', async () => {
    await owner.query(`
      CREATE OR REPLACE FUNCTION review_automatically() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO tb_review VALUES (5000 + NEW.pk_product, NEW.pk_product, 3);
        RETURN NULL;
      END $$;
      CREATE CONSTRAINT TRIGGER review_automatically AFTER INSERT ON tb_product
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION review_automatically()`);
    try {
      await app.query(`INSERT INTO tb_product VALUES (104, 1, 'reviewed'), (105, 2, 'reviewed too')`);
      expect(await product(owner, 104)).toMatchObject({ ratings: [3] });
      expect(await product(owner, 105)).toMatchObject({ ratings: [3] });
      expect(await owed(database)).toEqual(nothing);
    } finally {
      await owner.query('DROP TRIGGER review_automatically ON tb_product');
    }
  });

  test('a prepared transaction, committed by another session', async () => {
    const id = `prepared ${database.name}`;
    await app.query('BEGIN');
    await app.query(`UPDATE tb_category SET name = 'prepared' WHERE pk_category = 1`);
    await app.query(`UPDATE tb_product SET name = 'prepared' WHERE pk_product = 1`);
    await app.query(`PREPARE TRANSACTION '${id}'`);
    expect(await product(owner, 1)).toMatchObject({ name: 'product 1' });
    const other = await database.client(database.app);
    await other.query(`COMMIT PREPARED '${id}'`);
    expect(await product(owner, 1)).toMatchObject({ name: 'prepared' });
    expect(await owed(database)).toEqual(nothing);
  });

  test('a prepared transaction that is rolled back', async () => {
    const id = `undone ${database.name}`;
    await app.query('BEGIN');
    await app.query(`UPDATE tb_product SET name = 'prepared' WHERE pk_product = 1`);
    await app.query(`PREPARE TRANSACTION '${id}'`);
    await app.query(`ROLLBACK PREPARED '${id}'`);
    expect(await product(owner, 1)).toMatchObject({ name: 'product 1' });
    expect(await owed(database)).toEqual(nothing);
  });

  test('two thousand statements in one transaction', async () => {
    await app.query(`
      DO $$ BEGIN
        FOR i IN 1..2000 LOOP
          UPDATE tb_product SET price = i WHERE pk_product = 1 + i % 20;
        END LOOP;
      END $$`);
    expect(await owed(database)).toEqual(nothing);
  });
});

test('lastval() after a write is what it was before tviews', async () => {
  const writer = await database.client(database.app);
  await expect(
    writer.query('UPDATE tb_product SET price = price + 1; SELECT lastval()'),
  ).rejects.toMatchObject({
    code: '55000', // Not yet defined in this session.
  });
  await owner.query('CREATE TABLE IF NOT EXISTS tb_order (pk_order serial PRIMARY KEY)');
  await writer.query('INSERT INTO tb_order DEFAULT VALUES');
  await writer.query('UPDATE tb_product SET price = price + 1');
  const { rows } = await writer.query('SELECT lastval()::int AS id, max(pk_order) AS max FROM tb_order');
  expect(rows[0]!.id).toBe(rows[0]!.max);
});

test("the writer's settings change nothing in a stored document", async () => {
  await app.query(`SET extra_float_digits = -10; SET TimeZone = 'Asia/Kolkata'; SET bytea_output = 'escape'`);
  await app.query('UPDATE tb_product SET price = price + 0.10');
  await app.query('RESET ALL');
  expect(await owed(database)).toEqual(nothing);
});

test("the writer's settings change nothing in what a definition computes", async () => {
  await owner.query(`
    CREATE TABLE tb_setting (
      id int PRIMARY KEY, word text, at timestamptz, list text, tags int[], price money, body text
    );
    CREATE INDEX ON tb_setting USING gin (tags);
    INSERT INTO tb_setting SELECT i, 'word', '2026-01-01 00:00+00', '{NULL}', '{7,NULL}', i, '<a/>'
    FROM generate_series(1, 20) AS i;
    CREATE TABLE tb_tag (id int PRIMARY KEY, tags int[], price money, label text);
    CREATE INDEX ON tb_tag (tags);
    CREATE INDEX ON tb_tag (price)`);
  await apply(
    owner,
    'tv_setting',
    `SELECT s.id, quote_ident(s.word) AS quoted, format('%I', s.word) AS formatted, s.at AT TIME ZONE 'IST' AS local,
       s.list::text[] AS list, s.price::text AS price, to_char(s.at, 'TMMonth') AS month,
       (SELECT jsonb_agg(t.label ORDER BY t.id) FROM tb_tag t WHERE t.tags = s.tags) AS by_tags,
       (SELECT jsonb_agg(t.label ORDER BY t.id) FROM tb_tag t WHERE t.price = s.price) AS by_price
     FROM tb_setting s`,
  );
  const settings = {
    quote_all_identifiers: 'on',
    timezone_abbreviations: 'India',
    array_nulls: 'off',
    xmlbinary: 'hex',
    xmloption: 'document',
    gin_fuzzy_search_limit: '1',
  };
  const current = async () => {
    const names = Object.keys(settings).map((name) => `current_setting('${name}') AS ${name}`);
    return (await app.query(`SELECT ${names.join(', ')}`)).rows[0]!;
  };
  for (const [name, value] of Object.entries(settings)) await app.query(`SET ${name} = '${value}'`);
  await app.query('BEGIN');
  await app.query(
    `UPDATE tb_setting SET word = 'other'; INSERT INTO tb_tag VALUES (1, ARRAY[7, NULL], 3, 'tag')`,
  );
  await app.query('SET CONSTRAINTS ALL IMMEDIATE');
  expect(await current()).toEqual(settings);
  await app.query('COMMIT');
  expect(await current()).toEqual(settings);
  await app.query('RESET ALL');
  expect(await divergence(owner, 'shop.tv_setting')).toEqual(inStep);
});

test('an update of columns no definition reads is no change', async () => {
  await app.query('BEGIN');
  await app.query(`UPDATE tb_product SET internal_note = 'seen by nobody'`);
  await app.query('UPDATE tb_product SET name = name, price = price');
  const { rows } = await owner.query('SELECT xmin FROM tv_product ORDER BY pk_product');
  await app.query('COMMIT');
  expect((await owner.query('SELECT xmin FROM tv_product ORDER BY pk_product')).rows).toEqual(rows);
});

test('a change that is equal and yet different is seen', async () => {
  await app.query('UPDATE tb_product SET price = 1.00 WHERE pk_product = 1');
  const { rows } = await owner.query(`SELECT data->>'price' AS price FROM tv_product WHERE pk_product = 1`);
  expect(rows).toEqual([{ price: '1.00' }]);
  expect(await owed(database)).toEqual(nothing);
});
