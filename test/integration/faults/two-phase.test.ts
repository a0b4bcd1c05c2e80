/**
 * Two-phase commit through crashes: the flush ran at PREPARE TRANSACTION, so a prepared transaction needs neither its
 * session nor its proxy nor the queue, which is unlogged and empty after recovery.
 */
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { type Blog, blogRows, blogState, exact, freshBlog } from '../../kit/blog.ts';
import { connectTo, until, vanish } from '../../kit/clients.ts';
import { type CrashingPostgres, startCrashingPostgres } from '../../kit/crashing-postgres.ts';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';
import { type ProxyProcess, proxyProcess } from '../../kit/proxy-process.ts';

let postgres: CrashingPostgres;
let blog: Blog;
beforeAll(async () => {
  postgres = await startCrashingPostgres();
  blog = await freshBlog({ server: postgres.url });
  await blog.owner.end();
});
afterAll(() => postgres.remove());
beforeEach(() => asOwner((owner) => owner.query(blogRows)));

const GID = 'two phases';
const TITLE = "SELECT data->>'title' AS title FROM tv_post WHERE pk_post = 1";

/** A connection for each question: no connection outlives a crash. */
async function asOwner<T>(work: (owner: pg.Client) => Promise<T>): Promise<T> {
  const owner = await connectTo(blog.database.owner.url);
  try {
    return await work(owner);
  } finally {
    vanish(owner);
  }
}

const prepared = (): Promise<string[]> =>
  asOwner(async (owner) => {
    const { rows } = await owner.query<{ gid: string }>('SELECT gid FROM pg_prepared_xacts');
    return rows.map(({ gid }) => gid);
  });

/** Advisory locks, and by whom: a prepared transaction has no process. */
const locks = (): Promise<readonly (number | null)[]> =>
  asOwner(async (owner) => {
    const { rows } = await owner.query<{ pid: number | null }>(
      "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted",
    );
    return rows.map(({ pid }) => pid);
  });

const title = (): Promise<string> =>
  asOwner(async (owner) => (await owner.query<{ title: string }>(TITLE)).rows[0]!.title);

async function prepare(url: string, isolation = ''): Promise<void> {
  const client = await connectTo(url);
  await client.query(`BEGIN ${isolation}`);
  await client.query("UPDATE tb_post SET title = 'prepared' WHERE pk_post = 1");
  await client.query("INSERT INTO tb_comment (fk_post, body) VALUES (1, 'prepared')");
  await client.query(`PREPARE TRANSACTION '${GID}'`);
  await client.end();
}

async function finish(url: string, how: 'COMMIT' | 'ROLLBACK'): Promise<void> {
  const client = await connectTo(url);
  await client.query(`${how} PREPARED '${GID}'`);
  await client.end();
}

const throughProxy = (options: { poolMode?: 'session' | 'transaction' } = {}): Promise<TestProxy> =>
  // After a crash the first login may come while PostgreSQL still starts.
  testProxy(blog.database, { ...options, pgbouncer: { server_login_retry: 0 } });

for (const how of ['COMMIT', 'ROLLBACK'] as const) {
  for (const [first, second] of [
    ['proxy', 'other proxy'],
    ['proxy', 'direct'],
    ['direct', 'proxy'],
  ] as const) {
    test(`prepared by ${first}, an immediate stop of PostgreSQL, ${how} PREPARED by ${second}`, async () => {
      const [one, other] = [await throughProxy(), await throughProxy({ poolMode: 'session' })];
      const urlOf = (route: 'proxy' | 'other proxy' | 'direct'): string => {
        if (route === 'direct') return blog.database.app.url;
        return (route === 'proxy' ? one : other).url(blog.database.app);
      };
      await prepare(urlOf(first));
      expect(await title()).toBe('post 1');
      await postgres.stopImmediately();
      // As it was before: prepared, invisible, its locks held by nobody's process, and nothing in the queue.
      expect(await prepared()).toEqual([GID]);
      expect(await asOwner(blogState)).toEqual(exact);
      const held = await locks();
      expect(held.length).toBeGreaterThan(0);
      expect(held.every((pid) => pid === null)).toBe(true);
      expect(await title()).toBe('post 1');
      // Another writer of the same tviews waits for it, after the crash as before.
      const writer = await connectTo(urlOf(first === 'direct' ? 'direct' : 'other proxy'));
      await writer.query('BEGIN');
      await writer.query("UPDATE tb_author SET name = 'waits' WHERE pk_author = 2");
      let written = false;
      const waiting = writer.query('COMMIT').then(() => {
        written = true;
      });
      await until('the writer waits', () =>
        asOwner(async (owner) => {
          const { rows } = await owner.query(
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
          );
          return rows.length > 0;
        }),
      );
      expect(written).toBe(false);
      await finish(urlOf(second), how);
      await waiting;
      await writer.end();
      expect(await title()).toBe(how === 'COMMIT' ? 'prepared' : 'post 1');
      expect(await asOwner(blogState)).toEqual(exact);
      expect(await locks()).toEqual([]);
      expect(await prepared()).toEqual([]);
    });
  }
}

test('the proxy that sent PREPARE TRANSACTION is killed: the next one commits it', async () => {
  const proxy: ProxyProcess = await proxyProcess(blog.database);
  onTestFinished(() => proxy.remove());
  await proxy.start();
  await prepare(proxy.url(blog.database.app));
  await proxy.kill();
  expect(await prepared()).toEqual([GID]);
  await proxy.start();
  await finish(proxy.url(blog.database.app), 'COMMIT');
  expect(await title()).toBe('prepared');
  expect(await asOwner(blogState)).toEqual(exact);
});

test('a crash before PREPARE TRANSACTION leaves nothing to finish', async () => {
  const proxy = await throughProxy();
  for (const url of [blog.database.app.url, proxy.url(blog.database.app)]) {
    const client = await connectTo(url);
    await client.query('BEGIN');
    await client.query("UPDATE tb_post SET title = 'lost' WHERE pk_post = 1");
    // Read through the proxy this flushes: the tview's row is written, and goes with the rest.
    await client.query(TITLE);
    await postgres.stopImmediately();
    await expect(client.query(`PREPARE TRANSACTION '${GID}'`)).rejects.toThrow();
    vanish(client);
    expect(await prepared()).toEqual([]);
    expect(await title()).toBe('post 1');
    expect(await asOwner(blogState)).toEqual(exact);
    expect(await locks()).toEqual([]);
  }
});

test('a snapshot older than COMMIT PREPARED gets 40001, through a crash of PostgreSQL too', async () => {
  const proxy = await throughProxy();
  for (const url of [blog.database.app.url, proxy.url(blog.database.app)]) {
    await asOwner((owner) => owner.query(blogRows));
    await prepare(url);
    await postgres.stopImmediately();
    const reader = await connectTo(url);
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await reader.query('SELECT FROM tb_post');
    await finish(url, 'COMMIT');
    // The same row of tv_post, by way of another table's row: PostgreSQL alone would see no conflict.
    await reader.query("INSERT INTO tb_comment (fk_post, body) VALUES (1, 'from before')");
    await expect(reader.query('COMMIT')).rejects.toMatchObject({ code: '40001' });
    await reader.end();
    expect(await title()).toBe('prepared');
    expect(await asOwner(blogState)).toEqual(exact);
  }
});

test('kill -9 of a backend empties the queue of those who lost their transactions, and of nobody else', async () => {
  const proxy = await throughProxy();
  await prepare(proxy.url(blog.database.app));
  const victim = await connectTo(blog.database.app.url);
  await victim.query('BEGIN');
  // Not claimed: this is a row of the queue.
  await victim.query("UPDATE tb_post SET title = 'never' WHERE pk_post = 2");
  const { rows } = await victim.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  expect(await postgres.killBackend(rows[0]!.pid)).toBe(true);
  vanish(victim);
  expect(await prepared()).toEqual([GID]);
  await finish(proxy.url(blog.database.app), 'COMMIT');
  expect(await title()).toBe('prepared');
  expect(await asOwner(blogState)).toEqual(exact);
  expect(await locks()).toEqual([]);
});
