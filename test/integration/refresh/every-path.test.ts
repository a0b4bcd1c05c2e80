/** However a change reaches the sources, every tview equals its definition after the commit, and the queue is empty. */
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { bind, execute, parse, query, sync } from '../../../proxy/wire/messages/requests.ts';
import { type Blog, blogRows, exact, freshBlog } from '../../kit/blog.ts';
import { testProxy } from '../../kit/proxy.ts';
import { RawClient } from '../../kit/raw-client.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
  await blog.owner.query(`
    CREATE PROCEDURE rename_twice() LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE tb_author SET name = name || ' once' WHERE pk_author = 1;
      COMMIT;
      UPDATE tb_author SET name = name || ' twice' WHERE pk_author = 2;
      COMMIT;
      UPDATE tb_post SET title = 'after both' WHERE pk_post = 3;
    END $$;
    -- A trigger of the user's own that writes a source during COMMIT.
    CREATE TABLE audited (id integer PRIMARY KEY);
    CREATE FUNCTION write_source() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE tb_post SET views = views + 1 WHERE pk_post = NEW.id;
      RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON audited DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION write_source();
    GRANT INSERT, DELETE ON audited TO PUBLIC;
    GRANT SELECT ON tv_post, tv_author, tv_feed TO PUBLIC;
  `);
});
afterAll(() => blog.database.drop());

const one = (client: pg.Client, sql: string) =>
  client.query(sql).then((result) => result.rows[0] as Record<string, unknown>);

/** Each runs as the application's role, through the proxy. */
const paths: Record<string, (client: pg.Client, url: string) => Promise<void>> = {
  'explicit transaction': async (client) => {
    await client.query('BEGIN');
    await client.query("UPDATE tb_author SET name = 'renamed' WHERE pk_author = 1");
    await client.query('DELETE FROM tb_comment WHERE fk_post = 2');
    await client.query("INSERT INTO tb_post VALUES (100, 3, 'new')");
    await client.query('COMMIT');
  },
  'explicit transaction with parameters (extended protocol)': async (client) => {
    await client.query('BEGIN');
    await client.query({ text: 'UPDATE tb_author SET name = $2 WHERE pk_author = $1', values: [2, 'bound'] });
    await client.query({ text: 'UPDATE tb_post SET fk_author = $2 WHERE pk_post = $1', values: [4, 5] });
    await client.query({ name: 'done', text: 'COMMIT', values: [] });
  },
  autocommit: async (client) => {
    await client.query("UPDATE tb_author SET name = 'auto' WHERE pk_author = 3");
    await client.query({
      text: 'INSERT INTO tb_comment (fk_post, body) VALUES ($1, $2)',
      values: [5, 'hello'],
    });
    await client.query({ name: 'd', text: 'DELETE FROM tb_comment WHERE fk_post = $1', values: [6] });
  },
  'several statements in one Query': async (client) => {
    await client.query(
      "UPDATE tb_author SET name = 'm1' WHERE pk_author = 1; UPDATE tb_post SET title = 'm2' WHERE pk_post = 1",
    );
  },
  'BEGIN and COMMIT inside one Query': async (client) => {
    await client.query(
      "BEGIN; UPDATE tb_author SET name = 'in one' WHERE pk_author = 4; COMMIT; UPDATE tb_post SET title = 'behind' WHERE pk_post = 9",
    );
  },
  'a claimed transaction that ends inside a Query of several statements': async (client) => {
    await client.query('BEGIN');
    await client.query("UPDATE tb_author SET name = 'claimed' WHERE pk_author = 1");
    await client.query(
      "UPDATE tb_author SET name = 'not' WHERE pk_author = 2; COMMIT; UPDATE tb_post SET title = 'z' WHERE pk_post = 2",
    );
  },
  'a pipeline up to one Sync': async (_client, url) => {
    const raw = await RawClient.connect(url);
    raw.send(
      ...[
        parse('', "UPDATE tb_author SET name = 'p1' WHERE pk_author = 1"),
        bind({ statement: '' }),
        execute(),
      ],
      ...[
        parse('', "UPDATE tb_post SET title = 'p2' WHERE pk_post = 1"),
        bind({ statement: '' }),
        execute(),
        sync,
      ],
    );
    await raw.untilReady();
    raw.close();
  },
  'a pipeline with BEGIN and COMMIT in it': async (_client, url) => {
    const raw = await RawClient.connect(url);
    const run = (text: string) => [parse('', text), bind({ statement: '' }), execute()];
    raw.send(
      ...run('BEGIN'),
      ...run("UPDATE tb_author SET name = 'pb' WHERE pk_author = 2"),
      ...run('COMMIT'),
      sync,
    );
    await raw.untilReady();
    raw.close();
  },
  'COMMIT pipelined behind the writes of a claimed transaction': async (_client, url) => {
    const raw = await RawClient.connect(url);
    const run = (text: string) => [parse('', text), bind({ statement: '' }), execute()];
    raw.send(query('BEGIN'));
    await raw.untilReady();
    raw.send(query("UPDATE tb_author SET name = 'first' WHERE pk_author = 1"));
    await raw.untilReady();
    raw.send(...run("UPDATE tb_author SET name = 'second' WHERE pk_author = 2"), ...run('COMMIT'), sync);
    await raw.untilReady();
    raw.send(query('BEGIN'), query("UPDATE tb_post SET title = 'q' WHERE pk_post = 7"), query('COMMIT'));
    await raw.untilReady(3);
    raw.close();
  },
  COPY: async (_client, url) => {
    const raw = await RawClient.connect(url);
    for (const begin of [false, true]) {
      if (begin) {
        raw.send(query('BEGIN'));
        await raw.untilReady();
      }
      raw.send(query('COPY tb_comment (fk_post, body) FROM STDIN'));
      const line = Buffer.from('8\tcopied\n9\tcopied too\n');
      const head = Buffer.from([0x64, 0, 0, 0, line.length + 4]);
      raw.send(head, line, Buffer.from([0x63, 0, 0, 0, 4]));
      await raw.untilReady();
      if (begin) {
        raw.send(query('COMMIT'));
        await raw.untilReady();
      }
    }
    raw.close();
  },
  'ON CONFLICT': async (client) => {
    await client.query('BEGIN');
    await client.query(
      "INSERT INTO tb_author VALUES (1, 'x'), (50, 'y') ON CONFLICT (pk_author) DO UPDATE SET name = EXCLUDED.name || '!'",
    );
    await client.query('COMMIT');
    await client.query(
      "INSERT INTO tb_post VALUES (1, 2, 'taken over') ON CONFLICT (pk_post) DO UPDATE SET fk_author = EXCLUDED.fk_author",
    );
  },
  'a data-modifying CTE': async (client) => {
    await client.query('BEGIN');
    await client.query(`
      WITH gone AS (DELETE FROM tb_comment WHERE fk_post IN (3, 4) RETURNING fk_post),
           moved AS (UPDATE tb_post SET fk_author = 1 WHERE pk_post = 4 RETURNING pk_post)
      INSERT INTO tb_post SELECT 200 + fk_post, 2, 'was ' || fk_post FROM gone GROUP BY fk_post`);
    await client.query('COMMIT');
  },
  MERGE: async (client) => {
    await client.query('BEGIN');
    await client.query(`
      MERGE INTO tb_author a USING (VALUES (1, 'merged'), (2, NULL), (60, 'inserted')) AS v (id, name) ON a.pk_author = v.id
      WHEN MATCHED AND v.name IS NULL THEN DELETE
      WHEN MATCHED THEN UPDATE SET name = v.name
      WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.name)`);
    await client.query('COMMIT');
  },
  'a foreign key that cascades over two tables': async (client) => {
    await client.query('DELETE FROM tb_author WHERE pk_author = 4');
    await client.query('BEGIN');
    await client.query('DELETE FROM tb_author WHERE pk_author = 5');
    await client.query('COMMIT');
  },
  'a savepoint rolled back': async (client) => {
    await client.query('BEGIN');
    await client.query("UPDATE tb_author SET name = 'kept' WHERE pk_author = 1");
    await client.query('SAVEPOINT s');
    await client.query("UPDATE tb_author SET name = 'dropped' WHERE pk_author = 2");
    await client.query('ROLLBACK TO SAVEPOINT s');
    await client.query("UPDATE tb_author SET name = 'also kept' WHERE pk_author = 3");
    await client.query('COMMIT');
  },
  'a savepoint rolled back behind a flush before a read': async (client) => {
    await client.query('BEGIN');
    await client.query("UPDATE tb_author SET name = 'outer' WHERE pk_author = 1");
    await client.query('SAVEPOINT s');
    await client.query("UPDATE tb_author SET name = 'inner' WHERE pk_author = 2");
    expect(await one(client, "SELECT data->>'name' AS name FROM tv_author WHERE pk_author = 2")).toEqual({
      name: 'inner',
    });
    await client.query('ROLLBACK TO SAVEPOINT s');
    expect(await one(client, "SELECT data->>'name' AS name FROM tv_author WHERE pk_author = 1")).toEqual({
      name: 'outer',
    });
    await client.query('COMMIT');
  },
  'a savepoint rolled back to before the claim': async (client) => {
    await client.query('BEGIN');
    await client.query('SAVEPOINT s');
    await client.query("UPDATE tb_author SET name = 'dropped' WHERE pk_author = 2");
    await client.query('ROLLBACK TO SAVEPOINT s');
    await client.query("UPDATE tb_author SET name = 'kept' WHERE pk_author = 3");
    await client.query('COMMIT');
  },
  'a savepoint rolled back, and nothing behind it but COMMIT': async (client) => {
    await client.query('BEGIN');
    await client.query("UPDATE tb_author SET name = 'alone' WHERE pk_author = 1");
    await client.query('SAVEPOINT s');
    await client.query('ROLLBACK TO SAVEPOINT s');
    await client.query('COMMIT');
  },
  'a transaction that failed': async (client) => {
    await client.query('BEGIN');
    await client.query("UPDATE tb_author SET name = 'never' WHERE pk_author = 1");
    await expect(client.query('SELECT 1/0')).rejects.toMatchObject({ code: '22012' });
    expect((await client.query('COMMIT')).command).toBe('ROLLBACK');
    await client.query("UPDATE tb_author SET name = 'now' WHERE pk_author = 2");
  },
  ROLLBACK: async (client) => {
    await client.query('BEGIN');
    await client.query("UPDATE tb_author SET name = 'never' WHERE pk_author = 1");
    await client.query('ROLLBACK');
  },
  'COMMIT AND CHAIN': async (client) => {
    await client.query('BEGIN');
    await client.query("UPDATE tb_author SET name = 'chain 1' WHERE pk_author = 1");
    await client.query('COMMIT AND CHAIN');
    await client.query("UPDATE tb_author SET name = 'chain 2' WHERE pk_author = 2");
    await client.query('COMMIT AND CHAIN');
    await client.query('COMMIT');
  },
  'PREPARE TRANSACTION, committed and rolled back': async (client) => {
    await client.query('BEGIN');
    await client.query("UPDATE tb_author SET name = 'prepared' WHERE pk_author = 1");
    await client.query("PREPARE TRANSACTION 'one'");
    await client.query('BEGIN');
    await client.query("UPDATE tb_post SET title = 'prepared' WHERE fk_author = 3");
    // The baseline lock of the first is held until it is decided.
    await client
      .query("COMMIT PREPARED 'one'")
      .catch((error: { code: string }) => expect(error.code).toBe('25001'));
    await client.query('ROLLBACK');
    await client.query("COMMIT PREPARED 'one'");
    await client.query('BEGIN');
    await client.query("UPDATE tb_post SET title = 'undone' WHERE fk_author = 3");
    await client.query("PREPARE TRANSACTION 'two'");
    await client.query("ROLLBACK PREPARED 'two'");
  },
  'CALL of a procedure that commits': async (client) => {
    await client.query('CALL rename_twice()');
    await client.query({ text: 'CALL rename_twice()', values: [] });
  },
  "a deferred trigger of the user's that writes a source at COMMIT": async (client) => {
    await client.query('BEGIN');
    await client.query("UPDATE tb_author SET name = 'claimed first' WHERE pk_author = 1");
    await client.query('INSERT INTO audited VALUES (1), (2)');
    await client.query('COMMIT');
    await client.query('INSERT INTO audited VALUES (3)');
  },
  TRUNCATE: async (client) => {
    await client.query('TRUNCATE tb_comment');
    await client.query('BEGIN');
    await client.query("INSERT INTO tb_comment (fk_post, body) VALUES (1, 'after')");
    await client.query('TRUNCATE tb_comment');
    await client.query("INSERT INTO tb_comment (fk_post, body) VALUES (2, 'after')");
    await client.query('COMMIT');
  },
  'a write in a function that is SELECTed': async (client) => {
    await client.query('BEGIN');
    await client.query("SELECT set_config('x.y', '1', true)");
    await client.query("DO $$ BEGIN UPDATE tb_author SET name = 'done' WHERE pk_author = 1; END $$");
    await client.query("UPDATE tb_author SET name = 'and' WHERE pk_author = 2");
    await client.query("DO $$ BEGIN UPDATE tb_author SET name = 'again' WHERE pk_author = 3; END $$");
    await client.query('COMMIT');
  },
};

for (const poolMode of ['transaction', 'session'] as const) {
  describe(`through the proxy in ${poolMode} mode`, () => {
    beforeEach(async () => {
      await blog.owner.query(`DELETE FROM audited; ${blogRows}`);
    });

    test.for(Object.keys(paths))('%s', async (name, { skip }) => {
      if (name === 'MERGE' && inject('serverVersion') < 15) skip('MERGE came with PostgreSQL 15');
      const proxy = await testProxy(blog.database, { poolMode, poolSize: 2 });
      const client = await blog.database.client({ ...blog.database.app, url: proxy.url(blog.database.app) });
      await paths[name]!(client, proxy.url(blog.database.app));
      expect(await blog.state()).toEqual(exact);
      // A change that was not flushed before its COMMIT would have been flushed late, and counted.
      expect((await proxy.metrics.scrape()).text).not.toContain('trigger="late"');
      await client.end();
    });
  });
}

test('a write straight to PostgreSQL, past the proxy', async () => {
  const client = await blog.database.client(blog.database.app);
  for (const name of [
    'explicit transaction',
    'autocommit',
    'ON CONFLICT',
    'a savepoint rolled back',
    'TRUNCATE',
  ]) {
    await blog.owner.query(blogRows);
    await paths[name]!(client, blog.database.app.url);
    expect(await blog.state()).toEqual(exact);
  }
});
