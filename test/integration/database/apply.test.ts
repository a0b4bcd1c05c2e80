/** Installing and removing: our schema, definitions, and everything that goes with them. */
import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { applyTview } from '../../../src/database/apply.ts';
import { dropTview } from '../../../src/database/drop.ts';
import { listTviews, readRegistry, status } from '../../../src/database/list.ts';
import { init, uninstall } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { inTransaction } from '../../../src/database/session.ts';
import { verifyTview } from '../../../src/database/verify.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { apply, categoryDefinition, create, productDefinition, tables } from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;

beforeEach(async () => {
  database = await freshDatabase({ schema: 'shop', sql: tables });
  owner = await database.client();
});
afterEach(() => database.drop());

const drop = (name: string, ifExists = false) =>
  inTransaction(executorOf(owner), () =>
    dropTview(executorOf(owner), { kind: 'drop', schema: null, name, ifExists }),
  );

describe('init', () => {
  test('installs the schema once, for a role that is no superuser', async () => {
    expect((await init(executorOf(owner))).applied).not.toEqual([]);
    expect(await init(executorOf(owner))).toEqual({ applied: [], followed: [] });
    expect(await status(executorOf(owner))).toMatchObject({
      installed: true,
      pendingMigrations: [],
      blindTables: [],
      changedFamilies: [],
    });
  });

  test('run by two at once installs it once', async () => {
    const other = await database.client();
    const both = await Promise.all([init(executorOf(owner)), init(executorOf(other))]);
    expect(both.map(({ applied }) => applied.length).toSorted()).toEqual([0, expect.any(Number)]);
  });

  test('of a role that may not create a schema says so', async () => {
    const app = await database.client(database.app);
    await expect(init(executorOf(app))).rejects.toMatchObject({ code: '42501' });
    await init(executorOf(owner));
    await expect(init(executorOf(app))).rejects.toMatchObject({
      code: '42501',
      message: 'must be owner of schema tviews',
    });
  });

  test('again keeps tviews working, their functions made anew', async () => {
    await init(executorOf(owner));
    await apply(owner, 'tv_product', productDefinition);
    await init(executorOf(owner));
    await owner.query(`UPDATE tb_category SET name = 'after'`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });
});

test('uninstall refuses while tviews exist, and with cascade leaves nothing', async () => {
  await init(executorOf(owner));
  await apply(owner, 'tv_product', productDefinition);
  await apply(owner, 'tv_category', categoryDefinition);
  await expect(uninstall(executorOf(owner))).rejects.toMatchObject({
    code: '2BP01',
    detail: 'tview shop.tv_product\ntview shop.tv_category',
  });
  await uninstall(executorOf(owner), { cascade: true });
  const { rows } = await owner.query(`
    SELECT relname AS name FROM pg_class WHERE relname ~ '^t?v_(product|category)'
    UNION ALL SELECT tgname FROM pg_trigger WHERE tgname ~ 'tviews'
    UNION ALL SELECT nspname FROM pg_namespace WHERE nspname = 'tviews'`);
  expect(rows).toEqual([]);
  expect(await status(executorOf(owner))).toMatchObject({ installed: false });
});

describe('CREATE TVIEW', () => {
  beforeEach(async () => {
    await init(executorOf(owner));
  });

  test('fills the table in the schema of the search_path', async () => {
    const applied = await apply(owner, 'tv_product', productDefinition);
    expect(applied).toMatchObject({
      action: 'created',
      table: { schema: 'shop', name: 'tv_product' },
      rows: 20,
    });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    expect((await owner.query('SHOW search_path')).rows).toEqual([{ search_path: 'shop, public' }]);
    expect(await listTviews(executorOf(owner))).toMatchObject([
      { schema: 'shop', name: 'tv_product', key: ['pk_product'] },
    ]);
  });

  test('again with the same meaning changes nothing', async () => {
    await apply(owner, 'tv_product', productDefinition);
    const { rows } = await owner.query(`SELECT 'tv_product'::regclass::oid AS oid`);
    const spelled = `-- the same\n${productDefinition.replace('FROM tb_product', 'FROM   shop.tb_product')} -- end`;
    expect(await apply(owner, 'tv_product', spelled)).toMatchObject({ action: 'unchanged' });
    expect(await apply(owner, 'tv_product', spelled, { key: ['pk_product'] })).toMatchObject({
      action: 'unchanged',
    });
    expect((await owner.query(`SELECT 'tv_product'::regclass::oid AS oid`)).rows).toEqual(rows);
  });

  test('again in a database that was restored from a dump, where tables have other oids, changes nothing', async () => {
    await apply(owner, 'tv_product', productDefinition);
    // To PostgreSQL they are numbers in a document. In another order than those of the tables they belong to, too.
    await owner.query(`
      UPDATE tviews.tview SET plan = jsonb_set(plan, '{sources}', (
        SELECT jsonb_agg(s || jsonb_build_object('oid', 4000000000 - (s->>'oid')::bigint) ORDER BY ord)
        FROM jsonb_array_elements(plan->'sources') WITH ORDINALITY AS s (s, ord)
      ))`);
    expect(await apply(owner, 'tv_product', productDefinition)).toMatchObject({ action: 'unchanged' });
  });

  test('again is no longer the same once a view below it reads another table', async () => {
    await owner.query('CREATE VIEW below AS SELECT pk_product, name FROM tb_product');
    const definition = 'SELECT pk_product, name FROM below';
    await apply(owner, 'tv_product', definition);
    expect(await apply(owner, 'tv_product', definition)).toMatchObject({ action: 'unchanged' });
    await owner.query(`CREATE OR REPLACE VIEW below AS SELECT p.pk_product, c.name
                       FROM tb_product p JOIN tb_category c ON c.pk_category = p.fk_category`);
    await expect(apply(owner, 'tv_product', definition)).rejects.toMatchObject({ code: '42P07' });
    expect(await apply(owner, 'tv_product', definition, { ifExists: 'replace' })).toMatchObject({
      action: 'replaced',
    });
    await owner.query(`UPDATE tb_category SET name = 'seen'`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('again is no longer the same once a view below links the same columns otherwise', async () => {
    await owner.query(`
      CREATE TABLE pair (a int PRIMARY KEY, b int NOT NULL);
      INSERT INTO pair VALUES (1, 2), (2, 1), (3, 3);
      CREATE VIEW named_pair AS SELECT a AS x, b AS y FROM pair`);
    const definition =
      'SELECT p.pk_product, n.x, n.y FROM tb_product p JOIN named_pair n ON n.x = p.pk_product';
    await apply(owner, 'tv_product', definition);
    await owner.query('CREATE OR REPLACE VIEW named_pair AS SELECT b AS x, a AS y FROM pair');
    expect(await apply(owner, 'tv_product', definition, { ifExists: 'replace' })).toMatchObject({
      action: 'replaced',
    });
    await owner.query('UPDATE pair SET b = 7 WHERE a = 1');
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('with another definition is an error, IF NOT EXISTS skips it, OR REPLACE builds it anew', async () => {
    const other = "SELECT pk_product, jsonb_build_object('only', name) AS data FROM tb_product";
    await apply(owner, 'tv_product', productDefinition);
    await owner.query('GRANT SELECT ON tv_product TO PUBLIC');
    await expect(apply(owner, 'tv_product', other)).rejects.toMatchObject({ code: '42P07' });
    expect(await apply(owner, 'tv_product', other, { ifExists: 'skip' })).toMatchObject({
      action: 'skipped',
    });
    expect(await apply(owner, 'tv_product', other, { ifExists: 'replace' })).toMatchObject({
      action: 'replaced',
      rows: 20,
    });
    const { rows } = await owner.query(
      `SELECT has_table_privilege('pg_monitor', 'tv_product', 'SELECT') AS kept`,
    );
    expect(rows).toEqual([{ kept: true }]);
    await owner.query(`UPDATE tb_product SET name = 'after'; UPDATE tb_category SET name = 'of no effect'`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    // The category is nobody's source any more.
    expect((await readRegistry(executorOf(owner)))!.sources.map(({ name }) => name)).toEqual(['tb_product']);
    expect(
      (
        await owner.query(
          `SELECT FROM pg_trigger WHERE tgrelid = 'tb_category'::regclass AND NOT tgisinternal`,
        )
      ).rows,
    ).toEqual([]);
  });

  test('refuses to replace or drop what another tview reads', async () => {
    await apply(owner, 'tv_product', productDefinition);
    await apply(owner, 'tv_category', categoryDefinition);
    const other = 'SELECT pk_product, fk_category, jsonb_build_object() AS data FROM tb_product';
    await expect(apply(owner, 'tv_product', other, { ifExists: 'replace' })).rejects.toMatchObject({
      code: '2BP01',
      detail: 'tview shop.tv_category reads it',
    });
    await expect(drop('tv_product')).rejects.toMatchObject({ code: '2BP01' });
    await drop('tv_category');
    await drop('tv_product');
    expect((await readRegistry(executorOf(owner)))!.sources).toEqual([]);
    await owner.query(`UPDATE tb_product SET name = 'nobody cares'`);
  });

  test('of a taken name says so, and leaves nothing behind', async () => {
    await owner.query('CREATE TABLE tv_product (); CREATE VIEW v_category AS SELECT 1');
    await expect(apply(owner, 'tv_product', productDefinition)).rejects.toMatchObject({ code: '42P07' });
    await owner.query('DROP TABLE tv_product');
    await expect(apply(owner, 'tv_category', 'SELECT 1 AS pk_category')).rejects.toMatchObject({
      code: '42P07',
    });
    expect((await owner.query(`SELECT to_regclass('v_product') AS view`)).rows).toEqual([{ view: null }]);
  });

  test('with two rows for one key names the key', async () => {
    await expect(
      apply(
        owner,
        'tv_product',
        "SELECT fk_category AS pk_product, jsonb_build_object('n', name) AS data FROM tb_product",
        {
          key: ['pk_product'],
        },
      ),
    ).rejects.toMatchObject({ code: '21000', detail: expect.stringMatching(/^Key \(pk_product\)=\(\d\)/) });
  });

  test('points errors into the query as it was written', async () => {
    await expect(apply(owner, 'tv_product', 'SELECT wrong FROM tb_product')).rejects.toMatchObject({
      code: '42703',
      position: 8,
    });
  });

  test('needs a READ COMMITTED transaction', async () => {
    const statement = create('tv_product', productDefinition);
    await expect(applyTview(executorOf(owner), statement)).rejects.toMatchObject({ code: '25P01' });
    await owner.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await expect(applyTview(executorOf(owner), statement)).rejects.toMatchObject({ code: '0A000' });
    await owner.query('ROLLBACK');
  });

  test('rolled back leaves no trace', async () => {
    await owner.query('BEGIN');
    await applyTview(executorOf(owner), create('tv_product', productDefinition));
    await owner.query(`UPDATE tb_product SET name = 'inside'`);
    await owner.query('ROLLBACK');
    await owner.query(`UPDATE tb_product SET name = 'outside'`);
    expect(await listTviews(executorOf(owner))).toEqual([]);
  });

  test('of a role without the schema says who owns it', async () => {
    const app = await database.client(database.app);
    await expect(apply(app, 'tv_product', productDefinition)).rejects.toMatchObject({ code: '42501' });
  });

  test('by another member of the owning role works and keeps working', async () => {
    const admin = await database.client(database.superuser);
    await admin.query('SET search_path = shop');
    await apply(admin, 'tv_product', productDefinition);
    const app = await database.client(database.app);
    await app.query(`UPDATE tb_product SET name = 'by the application' WHERE pk_product = 1`);
    await apply(
      owner,
      'tv_other',
      "SELECT pk_product, jsonb_build_object('n', name) AS data FROM tb_product",
      {
        key: ['pk_product'],
      },
    );
    await app.query(`UPDATE tb_product SET name = 'again' WHERE pk_product = 1`);
    // The owner may not read the superuser's view; the comparison runs with the rights of who applied.
    expect(await divergence(admin, 'shop.tv_product')).toEqual(inStep);
    expect(await divergence(admin, 'shop.tv_other')).toEqual(inStep);
    expect(await verifyTview(executorOf(owner), 'tv_product')).toMatchObject({
      missing: 0,
      surplus: 0,
      different: 0,
    });
  });
});

describe('a source that', () => {
  const productNames = `SELECT p.pk_product, p.name, c.name AS category
    FROM tb_product p JOIN tb_category c ON c.pk_category = p.fk_category`;
  const ratings = "SELECT r.pk_review, jsonb_build_object('rating', r.rating) AS data FROM tb_review r";
  const categories = "SELECT c.pk_category, jsonb_build_object('name', c.name) AS data FROM tb_category c";
  const moved = async () => (await status(executorOf(owner))).moved;
  const shop = (name: string) => ({ schema: 'shop', name });

  beforeEach(async () => {
    await init(executorOf(owner));
    await apply(owner, 'tv_product', productNames);
  });

  test('is renamed goes on being heard, whatever is created then', async () => {
    await owner.query('ALTER TABLE tb_product RENAME TO tb_article');
    await apply(owner, 'tv_review', ratings);
    await owner.query(`UPDATE tb_article SET name = 'renamed'; DELETE FROM tb_article WHERE pk_product > 10`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('is renamed is told by status, stops what would be made with its old name, and is followed by init', async () => {
    await owner.query('ALTER TABLE tb_product RENAME TO tb_article');
    expect(await moved()).toEqual([
      { tview: shop('tv_product'), was: shop('tb_product'), now: shop('tb_article') },
    ]);
    await expect(
      apply(owner, 'tv_over', 'SELECT p.pk_product, p.name FROM tv_product p'),
    ).rejects.toMatchObject({
      code: '55000',
      message: 'tview shop.tv_product was created when shop.tb_article was called shop.tb_product',
      hint: expect.stringContaining('Run "tviews init"'),
    });
    await init(executorOf(owner));
    expect(await moved()).toEqual([]);
    await apply(owner, 'tv_over', 'SELECT p.pk_product, p.name FROM tv_product p');
  });

  test('is renamed is known by its new name once the tview is replaced', async () => {
    await owner.query('ALTER TABLE tb_category RENAME TO tb_family');
    const again = productNames.replace('tb_category', 'tb_family');
    await expect(apply(owner, 'tv_product', again)).rejects.toMatchObject({ code: '55000' });
    expect(await apply(owner, 'tv_product', again, { ifExists: 'replace' })).toMatchObject({
      action: 'replaced',
    });
    await owner.query(`UPDATE tb_family SET name = 'renamed'`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    expect(await moved()).toEqual([]);
  });

  test('makes place for another table of its name is told by status', async () => {
    await owner.query(`
      ALTER TABLE tb_product RENAME TO tb_product_old;
      CREATE TABLE tb_product (LIKE tb_product_old INCLUDING ALL)`);
    expect(await moved()).toEqual([
      { tview: shop('tv_product'), was: shop('tb_product'), now: shop('tb_product_old') },
    ]);
    // A writer in between may have been misled to the other table: every row is looked at.
    expect((await init(executorOf(owner))).followed).toMatchObject([{ outcome: 'changed' }]);
    expect(await moved()).toEqual([]);
    await owner.query(`UPDATE tb_product_old SET name = 'still the source'`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    await drop('tv_product');
    await owner.query(`INSERT INTO tb_product_old SELECT 900, 1, 'nobody cares'`);
  });

  test('is dropped with the definition leaves a tview that says how to get rid of it', async () => {
    await apply(owner, 'tv_category', categories);
    await owner.query('DROP TABLE tb_product CASCADE');
    expect(await moved()).toEqual([
      { tview: shop('tv_product'), was: shop('v_product'), now: null },
      { tview: shop('tv_product'), was: shop('tb_product'), now: null },
    ]);
    await expect(apply(owner, 'tv_review', ratings)).rejects.toMatchObject({
      code: '55000',
      message: 'tview shop.tv_product is broken: shop.v_product does not exist any more',
      hint: expect.stringContaining('Run DROP TVIEW shop.tv_product'),
    });
    await init(executorOf(owner));
    await drop('tv_product');
    await apply(owner, 'tv_review', ratings);
    await owner.query(`UPDATE tb_category SET name = 'writable again'`);
    expect(await divergence(owner, 'shop.tv_category')).toEqual(inStep);
  });

  test('is dropped with the definition makes place for a definition without it', async () => {
    await owner.query('DROP TABLE tb_product CASCADE');
    await apply(owner, 'tv_product', categories.replace('pk_category', 'pk_category AS pk_product'), {
      ifExists: 'replace',
    });
    await owner.query(`UPDATE tb_category SET name = 'after'`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('is a tview whose table was dropped by hand can be dropped as a tview', async () => {
    await owner.query('DROP TABLE tv_product');
    await drop('tv_product');
    await owner.query(`UPDATE tb_product SET name = 'writable again'`);
    expect((await readRegistry(executorOf(owner)))!.sources).toEqual([]);
  });
});

test('writes to partitions are seen, by whichever name', async () => {
  await init(executorOf(owner));
  await owner.query(`
    CREATE TABLE tb_event (pk_event int PRIMARY KEY, what text) PARTITION BY RANGE (pk_event);
    CREATE TABLE tb_event_low PARTITION OF tb_event FOR VALUES FROM (0) TO (100);
    CREATE TABLE tb_event_high PARTITION OF tb_event FOR VALUES FROM (100) TO (200)`);
  await apply(owner, 'tv_event', `SELECT pk_event, jsonb_build_object('what', what) AS data FROM tb_event`);
  await owner.query(`
    INSERT INTO tb_event VALUES (1, 'a'), (2, 'b'), (101, 'c');
    INSERT INTO tb_event_high VALUES (102, 'd');
    UPDATE tb_event_low SET what = 'direct' WHERE pk_event = 1;
    UPDATE tb_event SET pk_event = 103 WHERE pk_event = 2;
    TRUNCATE tb_event_low`);
  expect(await divergence(owner, 'shop.tv_event')).toEqual(inStep);
  const { rows } = await owner.query('SELECT pk_event FROM tv_event ORDER BY 1');
  expect(rows.map(({ pk_event }) => pk_event as number)).toEqual([101, 102, 103]);
  await owner.query(`CREATE TABLE tb_event_more PARTITION OF tb_event FOR VALUES FROM (200) TO (300)`);
  expect((await status(executorOf(owner))).blindTables).toEqual([
    { schema: 'shop', name: 'tb_event_more', events: ['truncate'] },
  ]);
});
