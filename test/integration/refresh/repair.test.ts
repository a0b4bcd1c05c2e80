/**
 * Transactions that keep their snapshot, through the proxy: what they could not see is looked at again before the client
 * hears of COMMIT. The conflict is one PostgreSQL does not see: neither writes a row of the other's, nor one of tv_child's.
 */
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { applyText } from '../../kit/blog.ts';
import { connectTo } from '../../kit/clients.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { testProxy } from '../../kit/proxy.ts';

let database: FreshDatabase;
let owner: pg.Client;
beforeAll(async () => {
  database = await freshDatabase({
    sql: `
      CREATE TABLE tb_parent (id int PRIMARY KEY, name text);
      CREATE TABLE tb_child (id int PRIMARY KEY, fk_parent int NOT NULL REFERENCES tb_parent);
      CREATE INDEX ON tb_child (fk_parent);
      INSERT INTO tb_parent VALUES (1, 'old')`,
  });
  owner = await database.client();
  await init(executorOf(owner));
  await applyText(
    owner,
    'CREATE TVIEW tv_child AS SELECT c.id, p.name FROM tb_child c JOIN tb_parent p ON p.id = c.fk_parent',
  );
});
afterAll(() => database.drop());
beforeEach(async () => {
  await owner.query(`DELETE FROM tb_child; UPDATE tb_parent SET name = 'old'`);
});

const pending = async (): Promise<number> =>
  (await owner.query<{ n: number }>('SELECT count(*)::int AS n FROM tviews.repair')).rows[0]!.n;
const rename = () => owner.query(`UPDATE tb_parent SET name = 'new'`);

async function untilRepaired(): Promise<void> {
  for (let i = 0; i < 500 && (await pending()) > 0; i++)
    await new Promise((resolve) => setTimeout(resolve, 20));
}

describe.each(['REPEATABLE READ', 'SERIALIZABLE'])('under %s', (level) => {
  for (const poolMode of ['transaction', 'session'] as const) {
    test(`a transaction in ${poolMode} mode`, async () => {
      const proxy = await testProxy(database, { poolMode });
      const client = await connectTo(proxy.url(database.app));
      const notices: unknown[] = [];
      client.on('notice', (notice) => notices.push(notice.code));
      await client.query(`BEGIN ISOLATION LEVEL ${level}`);
      await client.query('SELECT FROM tb_parent');
      await rename();
      await client.query('INSERT INTO tb_child VALUES (1, 1)');
      await client.query('COMMIT');
      expect(await pending()).toBe(0);
      expect(await divergence(owner, 'public.tv_child')).toEqual(inStep);
      expect(notices).toEqual([]);
      expect((await client.query('SELECT name FROM tv_child')).rows).toEqual([{ name: 'new' }]);
      await client.end();
    });
  }

  test('a single statement, where that is the default', async () => {
    const proxy = await testProxy(database, { poolMode: 'session' });
    const client = await connectTo(proxy.url(database.app));
    await client.query(`SET default_transaction_isolation = '${level}'`);
    await client.query('INSERT INTO tb_child VALUES (1, 1)');
    expect(await pending()).toBe(0);
    await client.end();
  });

  test('a prepared one, once it is committed', async () => {
    const proxy = await testProxy(database, {});
    const client = await connectTo(proxy.url(database.app));
    await client.query(`BEGIN ISOLATION LEVEL ${level}`);
    await client.query('SELECT FROM tb_parent');
    await rename();
    await client.query('INSERT INTO tb_child VALUES (1, 1)');
    await client.query(`PREPARE TRANSACTION 'kept ${level}'`);
    await client.query(`COMMIT PREPARED 'kept ${level}'`);
    await untilRepaired();
    expect(await divergence(owner, 'public.tv_child')).toEqual(inStep);
    await client.end();
  });

  test('also where that is what the database begins with', async () => {
    await owner.query(
      `ALTER DATABASE ${database.name} SET default_transaction_isolation = '${level.toLowerCase()}'`,
    );
    try {
      const proxy = await testProxy(database, {});
      const client = await connectTo(proxy.url(database.app));
      await client.query('BEGIN; SELECT FROM tb_parent');
      await rename();
      await client.query('INSERT INTO tb_child VALUES (1, 1)');
      await client.query('COMMIT');
      expect(await divergence(owner, 'public.tv_child')).toEqual(inStep);
      await client.end();
      await untilRepaired();
      expect(await pending()).toBe(0);
    } finally {
      await owner.query(`ALTER DATABASE ${database.name} RESET default_transaction_isolation`);
    }
  });

  test('keeps its own client waiting for its own repair alone', async () => {
    const proxy = await testProxy(database, {});
    const blocker = await database.client(database.app);
    await owner.query(`INSERT INTO tviews.repair (changes) VALUES ('[{"tview": 1, "r": [{"id": 70}]}]')`);
    await blocker.query('BEGIN; INSERT INTO tb_child VALUES (70, 1)');
    await blocker.query('SET CONSTRAINTS ALL IMMEDIATE');
    const client = await connectTo(proxy.url(database.app));
    await client.query(`BEGIN ISOLATION LEVEL ${level}`);
    await client.query('INSERT INTO tb_child VALUES (1, 1)');
    await client.query('COMMIT');
    await client.end();
    await blocker.query('COMMIT');
    await untilRepaired();
  });

  test('a repair whose connection is lost takes nothing with it', async () => {
    const proxy = await testProxy(database, {});
    const blocker = await database.client(database.app);
    const client = await connectTo(proxy.url(database.app));
    await client.query(`BEGIN ISOLATION LEVEL ${level}`);
    await client.query('SELECT FROM tb_parent');
    await rename();
    await client.query('INSERT INTO tb_child VALUES (1, 1)');
    await blocker.query('BEGIN; UPDATE tb_parent SET name = name || $$.$$');
    await client.query('COMMIT');
    await blocker.query('SET CONSTRAINTS ALL IMMEDIATE');
    await owner.query(
      `INSERT INTO tviews.repair (changes) VALUES ('[{"s": 1, "r": [{"id": 1}]}, {"s": 2, "r": [{"id": 1, "fk_parent": 1}]}, {"tview": 1, "r": [{"id": 1}]}]')`,
    );
    const terminated = async () =>
      (
        await owner.query<{ n: number }>(
          `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))::int AS n FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = 'tviews repairs' AND wait_event = 'advisory'`,
        )
      ).rows[0]!.n;
    await expect.poll(terminated, { timeout: 5000 }).toBe(1);
    await blocker.query('COMMIT');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.end();
    await owner.query(`DELETE FROM tviews.repair`);
    expect(await divergence(owner, 'public.tv_child')).toEqual(inStep);
  });

  test('one that went past the proxy, when a proxy finds what it has left', async () => {
    const direct = await database.client(database.app);
    await direct.query(`BEGIN ISOLATION LEVEL ${level}`);
    await direct.query('SELECT FROM tb_parent');
    await rename();
    await direct.query('INSERT INTO tb_child VALUES (1, 1)');
    await direct.query('COMMIT');
    expect(await pending()).toBe(1);
    await testProxy(database, {});
    await untilRepaired();
    expect(await pending()).toBe(0);
    expect(await divergence(owner, 'public.tv_child')).toEqual(inStep);
  });
});
