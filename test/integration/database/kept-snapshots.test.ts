/** What transactions that keep their snapshot leave to be looked at again, where locks are on values. */
import type pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { repairPending } from '../../../src/database/repair.ts';
import { applyText } from '../../kit/blog.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { untilWaiting } from './support.ts';

async function installed(
  sql: string,
  tviews: string,
): Promise<{ database: FreshDatabase; owner: pg.Client; one: pg.Client; two: pg.Client }> {
  const database = await freshDatabase({ sql });
  onTestFinished(() => database.drop());
  const owner = await database.client();
  await init(executorOf(owner));
  await applyText(owner, tviews);
  return {
    database,
    owner,
    one: await database.client(database.app),
    two: await database.client(database.app),
  };
}

const family = `
  CREATE TABLE tb_parent (id int PRIMARY KEY, name text);
  CREATE TABLE tb_child (id int PRIMARY KEY, fk_parent int);
  CREATE INDEX ON tb_child (fk_parent);
  INSERT INTO tb_parent VALUES (1, 'old');`;
const children =
  'CREATE TVIEW tv_child AS SELECT c.id, p.name FROM tb_child c JOIN tb_parent p ON p.id = c.fk_parent;';

test('a tview over a tview is told of rows that are right already, beside those that are not', async () => {
  const { owner, one } = await installed(
    `CREATE TABLE tb_category (pk_category int PRIMARY KEY, name text);
     CREATE TABLE tb_product (pk_product int PRIMARY KEY, fk_category int, name text);
     CREATE TABLE tb_order (pk_order int PRIMARY KEY);
     CREATE TABLE tb_line (pk_line int PRIMARY KEY, fk_order int, fk_product int);
     INSERT INTO tb_category VALUES (1, 'c1'), (2, 'c2');
     INSERT INTO tb_product VALUES (2, 2, 'p2');
     INSERT INTO tb_order VALUES (9);`,
    `CREATE TVIEW tv_product AS
       SELECT p.pk_product, p.name, c.name AS cname FROM tb_product p JOIN tb_category c ON c.pk_category = p.fk_category;
     CREATE TVIEW tv_order AS
       SELECT o.pk_order, (
         SELECT jsonb_agg(t.name || t.cname ORDER BY l.pk_line)
         FROM tb_line l JOIN tv_product t ON t.pk_product = l.fk_product WHERE l.fk_order = o.pk_order
       ) AS data
       FROM tb_order o;`,
  );
  await one.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM tb_product');
  await owner.query('INSERT INTO tb_line VALUES (1, 9, 2)');
  await owner.query(`UPDATE tb_category SET name = 'new' WHERE pk_category = 1`);
  await one.query(`UPDATE tb_product SET name = 'renamed' WHERE pk_product = 2`);
  await one.query(`INSERT INTO tb_product VALUES (3, 1, 'p3')`);
  await one.query('COMMIT');
  expect(await repairPending(executorOf(owner))).toEqual({ tried: 1, failures: [] });
  expect(await divergence(owner, 'public.tv_product')).toEqual(inStep);
  expect(await divergence(owner, 'public.tv_order')).toEqual(inStep);
});

test('what cannot be repaired keeps nothing else waiting, and says why', async () => {
  const { owner, one, two } = await installed(
    `${family}
     CREATE TABLE tb_a (id int PRIMARY KEY, x int);
     CREATE TABLE tb_b (id int PRIMARY KEY, fk_a int, y int);
     INSERT INTO tb_a VALUES (1, 1); INSERT INTO tb_b VALUES (1, 1, 2);`,
    `${children}
     CREATE TVIEW tv_b AS
       SELECT b.id, 10 / CASE WHEN b.y = a.x THEN 0 ELSE 1 END AS z FROM tb_b b JOIN tb_a a ON a.id = b.fk_a;`,
  );
  // Each is sound with what the other's was.
  await one.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM tb_a');
  await two.query('UPDATE tb_a SET x = 5');
  await one.query('UPDATE tb_b SET y = 5');
  await one.query('COMMIT');
  await one.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM tb_parent');
  await two.query(`UPDATE tb_parent SET name = 'new'`);
  await one.query('INSERT INTO tb_child VALUES (1, 1)');
  await one.query('COMMIT');
  expect(await repairPending(executorOf(owner))).toEqual({ tried: 2, failures: ['division by zero'] });
  expect(await divergence(owner, 'public.tv_child')).toEqual(inStep);
  await owner.query('UPDATE tb_a SET x = 6');
  expect(await repairPending(executorOf(owner))).toEqual({ tried: 1, failures: [] });
  expect(await divergence(owner, 'public.tv_b')).toEqual(inStep);
});

test('nobody can leave what is of a source that does not exist yet', async () => {
  const { owner, one } = await installed(family, children);
  await one.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  await one.query(`SELECT tviews.flush('[{"tview": 1, "r": []}, {"s": 99, "r": [{"id": "abc"}]}]', false)`);
  await one.query('COMMIT');
  const { rows } = await owner.query<{ changes: unknown }>('SELECT changes FROM tviews.repair');
  expect(rows).toEqual([{ changes: [{ tview: 1, r: [] }] }]);
});

test('lastval() is the writer’s own', async () => {
  const { one } = await installed(
    'CREATE TABLE tb_a (pk_a int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, x int)',
    'CREATE TVIEW tv_a AS SELECT a.pk_a, a.x FROM tb_a a;',
  );
  await one.query('BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO tb_a (x) VALUES (7); COMMIT');
  expect((await one.query('SELECT lastval() AS last')).rows).toEqual([{ last: '1' }]);
});

test.each([
  'REPEATABLE READ',
  'SERIALIZABLE',
])('two rows of one key in a snapshot are a conflict: %s', async (level) => {
  const { owner, one, two } = await installed(
    `CREATE TABLE tb_a (k int PRIMARY KEY, x int); INSERT INTO tb_a VALUES (6, 1);
     CREATE TABLE tb_b (k int PRIMARY KEY, a int); INSERT INTO tb_b VALUES (1, 6);`,
    `CREATE TVIEW tv_a WITH (key = 'k') AS SELECT a.k, a.x FROM tb_a a;
     CREATE TVIEW tv_b WITH (key = 'k') AS SELECT b.k, (SELECT a.x FROM tb_a a WHERE a.k = b.a) AS x FROM tb_b b;`,
  );
  await one.query(`BEGIN ISOLATION LEVEL ${level}; SELECT FROM tb_a`);
  await two.query('DELETE FROM tb_a WHERE k = 6');
  await one.query('INSERT INTO tb_a VALUES (6, 2)');
  await expect(one.query('COMMIT')).rejects.toMatchObject({ code: '40001' });
  await one.query(`BEGIN ISOLATION LEVEL ${level}; INSERT INTO tb_a VALUES (6, 2); COMMIT`);
  await repairPending(executorOf(owner));
  expect(await divergence(owner, 'public.tv_a')).toEqual(inStep);
  expect(await divergence(owner, 'public.tv_b')).toEqual(inStep);
});

test('functions that are made anew by a superuser keep the rights of the one who applied', async () => {
  const { database, owner } = await installed(family, children);
  const superuser = await database.client(database.superuser);
  await superuser.query(`
    DO $$ DECLARE f regprocedure; BEGIN
      FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'tviews'::regnamespace AND proname ~ '^(refresh|compare)_' LOOP
        EXECUTE format('DROP FUNCTION %s', f);
      END LOOP;
    END $$`);
  await init(executorOf(superuser));
  const { rows } = await owner.query<{ owner: string }>(
    `SELECT DISTINCT proowner::regrole::text AS owner FROM pg_proc WHERE pronamespace = 'tviews'::regnamespace AND proname ~ '^(refresh|compare)_'`,
  );
  expect(rows).toEqual([{ owner: database.owner.role }]);
});

test.each([
  'near_count',
  'far_count',
  'alone',
  'single',
  'kept',
  'changes',
  'looked_at',
])('a link column may be called %s', async (column) => {
  const { owner, one, two } = await installed(
    `CREATE TABLE tb_user (id int PRIMARY KEY, name text);
       CREATE TABLE tb_post (pk_post int PRIMARY KEY, ${column} int);
       CREATE INDEX ON tb_post (${column});
       INSERT INTO tb_user VALUES (-1, 'u');`,
    `CREATE TVIEW tv_post AS SELECT p.pk_post, u.name FROM tb_post p JOIN tb_user u ON u.id = p.${column};`,
  );
  await one.query('BEGIN; INSERT INTO tb_post VALUES (1, -1), (2, -1)');
  await one.query('SET CONSTRAINTS ALL IMMEDIATE');
  const renamed = two.query(`UPDATE tb_user SET name = 'new'`);
  await untilWaiting(two, owner);
  await one.query('COMMIT');
  await renamed;
  expect(await divergence(owner, 'public.tv_post')).toEqual(inStep);
});

test('a change of many rows locks the tview, not each of its values', async () => {
  const { owner, one } = await installed(family, children);
  await one.query('BEGIN; INSERT INTO tb_child SELECT n, n FROM generate_series(1, 500) AS n');
  await one.query('SET CONSTRAINTS ALL IMMEDIATE');
  const { rows } = await owner.query(
    `SELECT mode, count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY mode`,
  );
  expect(rows).toEqual([{ mode: 'ExclusiveLock', n: 1 }]);
  await one.query('COMMIT');
  expect(await divergence(owner, 'public.tv_child')).toEqual(inStep);
});

test('a proxy of an earlier version claims nothing: its changes go to the queue', async () => {
  const { owner, one } = await installed(family, children);
  const { rows } = await owner.query<{ value: Buffer }>('SELECT value FROM tviews.secret');
  await one.query('BEGIN');
  await one.query('SELECT tviews.claim($1)', [rows[0]!.value]);
  await one.query('INSERT INTO tb_child VALUES (1, 1)');
  await one.query('COMMIT');
  expect(await divergence(owner, 'public.tv_child')).toEqual(inStep);
});

test.each([
  ['one row, which it leaves as it is', 'UPDATE tb_child SET note = note || 1 WHERE fk_parent = 1'],
  ['several rows, which change', 'UPDATE tb_child SET n = n + 1'],
])('brings a row back that was deleted since, and tells the tview above: %s', async (_, write) => {
  const { owner, one, two } = await installed(
    `CREATE TABLE tb_parent (id int PRIMARY KEY);
     CREATE TABLE tb_child (id int PRIMARY KEY, fk_parent int, n int, note text);
     CREATE INDEX ON tb_child (fk_parent);
     INSERT INTO tb_parent VALUES (1), (2);
     INSERT INTO tb_child VALUES (1, 1, 1, ''), (2, 2, 1, '');`,
    `CREATE TVIEW tv_parent AS
       SELECT p.id, (SELECT sum(c.n) FROM tb_child c WHERE c.fk_parent = p.id AND length(c.note) < 9) AS n FROM tb_parent p;
     CREATE TVIEW tv_list AS SELECT t.id, 'listed' AS data FROM tv_parent t;`,
  );
  await one.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM tb_parent');
  await two.query('DELETE FROM tb_parent WHERE id = 1');
  // To its snapshot the row is there, as it was or with a change that is nothing to the tview above.
  const outcome = await one.query(`${write}; COMMIT`).then(
    () => 'committed',
    (error: { code?: string }) => error.code,
  );
  await one.query('ROLLBACK');
  expect(['committed', '40001']).toContain(outcome);
  await two.query('INSERT INTO tb_parent VALUES (1)');
  await repairPending(executorOf(owner));
  for (const tview of ['tv_parent', 'tv_list'])
    expect(await divergence(owner, `public.${tview}`, ['id'])).toEqual(inStep);
});
