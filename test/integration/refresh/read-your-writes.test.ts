/** Inside a transaction a tview shows what the transaction has written, also where the proxy could not claim the write. */
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Blog, blogRows, exact, freshBlog } from '../../kit/blog.ts';
import { connectTo } from '../../kit/clients.ts';
import { testProxy } from '../../kit/proxy.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
  await blog.owner.query(`
    CREATE PROCEDURE rename(author integer, name text) LANGUAGE sql
      BEGIN ATOMIC UPDATE tb_author SET name = rename.name WHERE pk_author = rename.author; END;
    CREATE TABLE request (author integer, name text);
    CREATE FUNCTION serve() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN UPDATE tb_author SET name = NEW.name WHERE pk_author = NEW.author; RETURN NULL; END $$;
    CREATE TRIGGER serve AFTER INSERT ON request FOR EACH ROW EXECUTE FUNCTION serve();
    GRANT SELECT ON tv_post, tv_author, tv_feed TO PUBLIC;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
  `);
});
afterAll(() => blog.database.drop());
beforeEach(async () => {
  await blog.owner.query(blogRows);
});

/** Each renames author 1 to "seen" in a way that the text of the statement does not show, or not with certainty. */
const writes: Record<string, string> = {
  DO: `DO $$ BEGIN UPDATE tb_author SET name = 'seen' WHERE pk_author = 1; END $$`,
  CALL: `CALL rename(1, 'seen')`,
  'several statements at once': `SELECT 1; UPDATE tb_author SET name = 'seen' WHERE pk_author = 1`,
  "a user's trigger": `INSERT INTO request VALUES (1, 'seen')`,
};

async function withClient(url: string, use: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = await connectTo(url);
  try {
    await use(client);
  } finally {
    await client.end();
  }
}

const name = `SELECT data->>'name' AS name FROM tv_author WHERE pk_author = 1`;

for (const poolMode of ['transaction', 'session'] as const) {
  describe(`in ${poolMode} mode`, () => {
    test.for(Object.keys(writes))('a write by %s is seen before COMMIT', async (how) => {
      const proxy = await testProxy(blog.database, { poolMode });
      await withClient(proxy.url(blog.database.app), async (client) => {
        await client.query('BEGIN');
        await client.query(writes[how]!);
        expect((await client.query(name)).rows).toEqual([{ name: 'seen' }]);
        await client.query('COMMIT');
        expect((await client.query(name)).rows).toEqual([{ name: 'seen' }]);
      });
      expect(await blog.state()).toEqual(exact);
    });

    test('a savepoint rolled back takes it with it, whether it was read or not', async () => {
      const proxy = await testProxy(blog.database, { poolMode });
      await withClient(proxy.url(blog.database.app), async (client) => {
        await client.query('BEGIN');
        await client.query('SAVEPOINT s');
        await client.query(writes.DO!);
        expect((await client.query(name)).rows).toEqual([{ name: 'seen' }]);
        await client.query('ROLLBACK TO s');
        expect((await client.query(name)).rows).toEqual([{ name: 'author 1' }]);
        await client.query(writes.CALL!);
        expect((await client.query(name)).rows).toEqual([{ name: 'seen' }]);
        await client.query('COMMIT');
      });
      expect(await blog.state()).toEqual(exact);
    });

    test('a read-only transaction can run DO and read a tview', async () => {
      const proxy = await testProxy(blog.database, { poolMode });
      await withClient(proxy.url(blog.database.app), async (client) => {
        await client.query('BEGIN READ ONLY');
        await client.query('DO $$ BEGIN END $$');
        expect((await client.query(name)).rows).toEqual([{ name: 'author 1' }]);
        await client.query('COMMIT');
      });
    });
  });
}
