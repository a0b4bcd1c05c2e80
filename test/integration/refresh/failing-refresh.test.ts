/** A refresh that fails: the client hears why at COMMIT, nothing is half done, and the session goes on. */
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bind, execute, parse, query, sync } from '../../../proxy/wire/messages/requests.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { applyText } from '../../kit/blog.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { testProxy } from '../../kit/proxy.ts';
import { field, RawClient, describe as shown } from '../../kit/raw-client.ts';

let database: FreshDatabase;
let owner: pg.Client;
beforeAll(async () => {
  database = await freshDatabase({
    sql: 'CREATE TABLE tb_ratio (pk_ratio integer PRIMARY KEY, a integer NOT NULL, b integer NOT NULL)',
  });
  owner = await database.client();
  await init(executorOf(owner));
  await applyText(
    owner,
    "CREATE TVIEW tv_ratio AS SELECT r.pk_ratio, jsonb_build_object('q', r.a / r.b) AS data FROM tb_ratio r;",
  );
  await owner.query('GRANT SELECT ON tv_ratio TO PUBLIC');
});
afterAll(() => database.drop());
beforeEach(() => owner.query('TRUNCATE tb_ratio; INSERT INTO tb_ratio VALUES (1, 6, 3), (2, 8, 2)'));

async function unchanged(): Promise<void> {
  expect((await owner.query('SELECT * FROM tb_ratio ORDER BY 1')).rows).toEqual([
    { pk_ratio: 1, a: 6, b: 3 },
    { pk_ratio: 2, a: 8, b: 2 },
  ]);
  expect(await divergence(owner, 'public.tv_ratio')).toEqual(inStep);
}

for (const poolMode of ['transaction', 'session'] as const) {
  describe(`in ${poolMode} mode`, () => {
    test('COMMIT by a simple query answers with the error, then idle; the tview is named', async () => {
      const proxy = await testProxy(database, { poolMode, poolSize: 1 });
      const client = await RawClient.connect(proxy.url(database.app));
      client.send(query('BEGIN'));
      await client.untilReady();
      client.send(query('UPDATE tb_ratio SET b = 0 WHERE pk_ratio = 1'));
      expect(shown(await client.untilReady())).toEqual(['C(UPDATE 1)', 'Z(T)']);
      client.send(query('COMMIT'));
      const answer = await client.untilReady();
      expect(shown(answer)).toEqual(['E(22012 division by zero)', 'Z(I)']);
      expect(field(answer[0]!.body, 'D')).toContain('tv_ratio');
      await unchanged();
      client.send(query('UPDATE tb_ratio SET a = 9 WHERE pk_ratio = 1'));
      expect(shown(await client.untilReady())).toEqual(['C(UPDATE 1)', 'Z(I)']);
      expect(await divergence(owner, 'public.tv_ratio')).toEqual(inStep);
      client.close();
    });

    test('a SET of the transaction is taken back, and the client is told', async () => {
      const proxy = await testProxy(database, { poolMode, poolSize: 1 });
      const client = await RawClient.connect(proxy.url(database.app));
      client.send(query('SHOW TimeZone'));
      const before = shown(await client.untilReady());
      client.send(query('BEGIN'), query("SET TimeZone = 'Asia/Tokyo'"));
      await client.untilReady(2);
      client.send(query('UPDATE tb_ratio SET b = 0 WHERE pk_ratio = 1'));
      await client.untilReady();
      client.send(query('COMMIT'));
      expect(shown(await client.untilReady())).toEqual(['E(22012 division by zero)', 'S', 'Z(I)']);
      client.send(query('SHOW TimeZone'));
      expect(shown(await client.untilReady())).toEqual(before);
      client.close();
    });

    test('COMMIT in the extended protocol: the error, nothing else up to Sync, then idle', async () => {
      const proxy = await testProxy(database, { poolMode, poolSize: 1 });
      const client = await RawClient.connect(proxy.url(database.app));
      const run = (text: string) => [parse('', text), bind({ statement: '' }), execute()];
      client.send(...run('BEGIN'), sync);
      await client.untilReady();
      client.send(...run('UPDATE tb_ratio SET b = 0 WHERE pk_ratio = 1'), sync);
      await client.untilReady();
      client.send(...run('COMMIT'), sync);
      expect(shown(await client.untilReady())).toEqual(['1', 'E(22012 division by zero)', 'Z(I)']);
      await unchanged();
      // Behind a COMMIT that failed, the rest of the same batch is not run.
      client.send(...run('BEGIN'), ...run('UPDATE tb_ratio SET b = 0 WHERE pk_ratio = 2'), sync);
      await client.untilReady();
      client.send(query('UPDATE tb_ratio SET a = 7 WHERE pk_ratio = 2'));
      await client.untilReady();
      client.send(...run('COMMIT'), ...run('UPDATE tb_ratio SET a = 100'), sync, query('SELECT 1'));
      const answers = shown(await client.untilReady(2));
      expect(answers.filter((answer) => answer.startsWith('E'))).toEqual(['E(22012 division by zero)']);
      expect(answers.slice(-4)).toEqual(['T', 'D(00010000000131)', 'C(SELECT 1)', 'Z(I)']);
      await unchanged();
      client.close();
    });

    test('a flush before a read fails the read and the transaction', async () => {
      const proxy = await testProxy(database, { poolMode, poolSize: 1 });
      const client = await RawClient.connect(proxy.url(database.app));
      client.send(query('BEGIN'));
      await client.untilReady();
      client.send(query('UPDATE tb_ratio SET b = 0 WHERE pk_ratio = 1'));
      await client.untilReady();
      client.send(query('SELECT * FROM tv_ratio'));
      expect(shown(await client.untilReady())).toEqual(['E(22012 division by zero)', 'Z(E)']);
      client.send(query('COMMIT'));
      expect(shown(await client.untilReady())).toEqual(['C(ROLLBACK)', 'Z(I)']);
      await unchanged();
      client.close();
    });

    test('several statements with COMMIT among them: none is run', async () => {
      const proxy = await testProxy(database, { poolMode, poolSize: 1 });
      const client = await RawClient.connect(proxy.url(database.app));
      client.send(query('BEGIN'));
      await client.untilReady();
      client.send(query('UPDATE tb_ratio SET b = 0 WHERE pk_ratio = 1'));
      await client.untilReady();
      client.send(query('COMMIT; INSERT INTO tb_ratio VALUES (3, 1, 1)'));
      expect(shown(await client.untilReady())).toEqual(['E(22012 division by zero)', 'Z(E)']);
      client.send(query('ROLLBACK'));
      expect(shown(await client.untilReady())).toEqual(['C(ROLLBACK)', 'Z(I)']);
      await unchanged();
      client.close();
    });

    test('autocommit: the statement fails, nothing is kept', async () => {
      const proxy = await testProxy(database, { poolMode, poolSize: 1 });
      const client = await database.client({ ...database.app, url: proxy.url(database.app) });
      await expect(client.query('UPDATE tb_ratio SET b = 0')).rejects.toMatchObject({ code: '22012' });
      await unchanged();
      await client.end();
    });

    test('node-postgres gets the error from COMMIT and goes on with the same client', async () => {
      const proxy = await testProxy(database, { poolMode, poolSize: 1 });
      const client = await database.client({ ...database.app, url: proxy.url(database.app) });
      await client.query('BEGIN');
      await client.query('UPDATE tb_ratio SET b = $1', [0]);
      await expect(client.query('COMMIT')).rejects.toMatchObject({
        code: '22012',
        detail: expect.stringContaining('tv_ratio'),
      });
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
      await unchanged();
      await client.end();
    });
  });
}
