/** Drivers as people use them, with their defaults: node-postgres and postgres.js, in both pool modes. */
import pg from 'pg';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { type Blog, blogRows, exact, freshBlog } from '../../kit/blog.ts';
import { connectTo, metric } from '../../kit/clients.ts';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
  await blog.owner.query('GRANT SELECT ON tv_post, tv_author, tv_feed TO PUBLIC');
});
afterAll(() => blog.database.drop());
beforeEach(async () => {
  await blog.owner.query(blogRows);
});

const flushesAtCommit = (proxy: TestProxy) =>
  metric(proxy.metrics, 'tviews_flushes_total', 'trigger="commit"');

for (const poolMode of ['transaction', 'session'] as const) {
  describe(`node-postgres in ${poolMode} mode`, () => {
    test('queries with and without parameters, of every type, answer as they do without a proxy', async () => {
      const proxy = await testProxy(blog.database, { poolMode });
      const [through, direct] = [
        await connectTo(proxy.url(blog.database.app)),
        await connectTo(blog.database.app.url),
      ];
      const questions: (string | pg.QueryConfig)[] = [
        'SELECT 1, 2.5::numeric, NULL, true, $$text$$',
        'SELECT 1; SELECT 2 AS two',
        {
          text: 'SELECT $1::int + $2::int AS sum, $3::jsonb AS j, $4::text[] AS list',
          values: [1, 2, { a: 1 }, ['x', 'y']],
        },
        {
          text: 'SELECT $1::timestamptz AS at, $2::bytea AS bytes',
          values: [new Date(0), Buffer.from([0, 1, 255])],
        },
        { text: 'SELECT generate_series(1, 1000) AS i', values: [] },
        { text: 'SELECT pk_post, data FROM tv_post ORDER BY pk_post', rowMode: 'array' } as pg.QueryConfig,
        { name: 'one', text: 'SELECT $1::text AS t', values: ['first'] },
        { name: 'one', text: 'SELECT $1::text AS t', values: ['again'] },
      ];
      for (const question of questions) {
        const [got, wanted] = [await through.query(question), await direct.query(question)];
        const shape = (result: pg.QueryResult | pg.QueryResult[]) =>
          [result].flat().map(({ command, rowCount, rows, fields }) => ({ command, rowCount, rows, fields }));
        expect(shape(got)).toEqual(shape(wanted));
      }
      await through.end();
      await direct.end();
    });

    test('errors come with every field, and the connection goes on', async () => {
      const proxy = await testProxy(blog.database, { poolMode });
      const client = await connectTo(proxy.url(blog.database.app));
      await expect(client.query('SELEC 1')).rejects.toMatchObject({ code: '42601', position: '1' });
      await expect(
        client.query({ text: 'INSERT INTO tb_post VALUES ($1, 99, $2)', values: [1, 'x'] }),
      ).rejects.toMatchObject({ code: '23505', table: 'tb_post', constraint: 'tb_post_pkey' });
      await expect(
        client.query({ name: 'bad', text: 'SELECT * FROM nowhere', values: [] }),
      ).rejects.toMatchObject({
        code: '42P01',
      });
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
      await client.end();
    });

    test('a pg.Pool with transactions in it keeps every tview in step', async () => {
      const proxy = await testProxy(blog.database, { poolMode, poolSize: 5 });
      const pool = new pg.Pool({ connectionString: proxy.url(blog.database.app), max: 5 });
      await Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          const client = await pool.connect();
          try {
            await client.query('BEGIN');
            await client.query({
              name: 'rename',
              text: 'UPDATE tb_post SET title = $2 WHERE pk_post = $1',
              values: [index + 1, `pooled ${index}`],
            });
            await client.query(index % 4 === 0 ? 'ROLLBACK' : 'COMMIT');
          } finally {
            client.release();
          }
          await pool.query('INSERT INTO tb_comment (fk_post, body) VALUES ($1, $2)', [index + 1, 'pooled']);
        }),
      );
      await pool.end();
      expect(await blog.state()).toEqual(exact);
      expect(await flushesAtCommit(proxy)).toBe(15);
    });
  });

  describe(`postgres.js in ${poolMode} mode`, () => {
    const open = (proxy: TestProxy): postgres.Sql => {
      const sql = postgres(proxy.url(blog.database.app), { max: 4, onnotice: () => {} });
      onTestFinished(() => sql.end({ timeout: 5 }));
      return sql;
    };

    test('its named statements work on every server connection, however often', async () => {
      const proxy = await testProxy(blog.database, { poolMode, poolSize: 4 });
      const sql = open(proxy);
      for (let round = 0; round < 3; round += 1) {
        const answers = await Promise.all(
          Array.from(
            { length: 30 },
            (_, index) =>
              sql<{ n: number; t: string }[]>`SELECT ${index}::int AS n, ${'t'} || ${index}::text AS t`,
          ),
        );
        expect(answers.map(([row]) => row)).toEqual(
          answers.map((_, index) => ({ n: index, t: `t${index}` })),
        );
      }
    });

    test('transactions by sql.begin commit or roll back as a whole, and read their own writes from tviews', async () => {
      const proxy = await testProxy(blog.database, { poolMode, poolSize: 4 });
      const sql = open(proxy);
      await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          sql.begin(async (tx) => {
            await tx`UPDATE tb_post SET title = ${`begun ${index}`} WHERE pk_post = ${index + 1}`;
          }),
        ),
      );
      const own = await sql.begin(async (tx) => {
        await tx`UPDATE tb_author SET name = ${'read back'} WHERE pk_author = 1`;
        return tx`SELECT data->>'name' AS name FROM tv_author WHERE pk_author = 1`;
      });
      expect([...own]).toEqual([{ name: 'read back' }]);
      await expect(
        sql.begin(async (tx) => {
          await tx`UPDATE tb_author SET name = ${'never'} WHERE pk_author = 1`;
          throw new Error('changed my mind');
        }),
      ).rejects.toThrow('changed my mind');
      expect([...(await sql`SELECT data->>'name' AS name FROM tv_author WHERE pk_author = 1`)]).toEqual([
        { name: 'read back' },
      ]);
      expect(await blog.state()).toEqual(exact);
      expect(await flushesAtCommit(proxy)).toBeGreaterThan(0);
    });

    test('a pipeline inside a transaction is answered in order, and flushed', async () => {
      const proxy = await testProxy(blog.database, { poolMode, poolSize: 4 });
      const sql = open(proxy);
      const answers = await sql.begin((tx) => [
        tx`UPDATE tb_post SET views = views + 1 WHERE pk_post = ${1} RETURNING views`,
        tx`SELECT data->'views' AS views FROM tv_post WHERE pk_post = ${1}`,
        tx`UPDATE tb_post SET views = views + 1 WHERE pk_post = ${1} RETURNING views`,
        tx`SELECT data->'views' AS views FROM tv_post WHERE pk_post = ${1}`,
      ]);
      expect(answers.map((rows) => rows[0]?.views as number)).toEqual([1, 1, 2, 2]);
      expect(await blog.state()).toEqual(exact);
    });

    test('savepoints, unsafe with several statements, and errors between them', async () => {
      const proxy = await testProxy(blog.database, { poolMode, poolSize: 4 });
      const sql = open(proxy);
      await sql.begin(async (tx) => {
        await tx`UPDATE tb_author SET name = ${'kept'} WHERE pk_author = 2`;
        await tx
          .savepoint(async (inner) => {
            await inner`UPDATE tb_author SET name = ${'dropped'} WHERE pk_author = 3`;
            await inner`SELECT 1 / 0`;
          })
          .catch(() => {}); // it is meant to fail
        await tx.unsafe(
          "UPDATE tb_post SET title = 'u1' WHERE pk_post = 4; UPDATE tb_post SET title = 'u2' WHERE pk_post = 5",
        );
      });
      await expect(sql`SELECT * FROM nowhere`).rejects.toMatchObject({ code: '42P01' });
      const several = await sql.unsafe('SELECT 1 AS one; SELECT 2 AS two');
      expect(several.map((rows) => [...(rows as unknown as object[])])).toEqual([[{ one: 1 }], [{ two: 2 }]]);
      expect(await blog.state()).toEqual(exact);
    });

    test('a cursor reads in parts', async () => {
      const proxy = await testProxy(blog.database, { poolMode, poolSize: 1 });
      const sql = open(proxy);
      const seen: number[] = [];
      await sql`SELECT generate_series(1, 25) AS i`.cursor(10, (rows) => {
        seen.push(...rows.map((row) => row.i as number));
      });
      expect(seen).toEqual(Array.from({ length: 25 }, (_, index) => index + 1));
    });

    test('COPY in and out', async () => {
      const proxy = await testProxy(blog.database, { poolMode, poolSize: 2 });
      const sql = open(proxy);
      const { pipeline } = await import('node:stream/promises');
      const { Readable } = await import('node:stream');
      const writable = await sql`COPY tb_comment (fk_post, body) FROM STDIN`.writable();
      await pipeline(Readable.from(['3\tcopied\n', '4\tcopied\n']), writable);
      let text = '';
      const readable =
        await sql`COPY (SELECT fk_post FROM tb_comment WHERE body = 'copied' ORDER BY 1) TO STDOUT`.readable();
      for await (const chunk of readable) text += String(chunk);
      expect(text).toBe('3\n4\n');
      expect(await blog.state()).toEqual(exact);
    });
  });
}
