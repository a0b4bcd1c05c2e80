/** Many clients share few servers, in every mood a client can be in: nothing of one session reaches another. */
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  bind,
  execute,
  flush,
  parse,
  query,
  sync,
  terminate,
} from '../../../proxy/wire/messages/requests.ts';
import { type Blog, blogRows, exact, freshBlog } from '../../kit/blog.ts';
import { connectTo, metric, until, vanish } from '../../kit/clients.ts';
import { isLong } from '../../kit/effort.ts';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';
import { Random } from '../../kit/random.ts';
import { RawClient, describe as shown } from '../../kit/raw-client.ts';
import { seed } from '../../kit/seed.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
  const { owner, app, superuser } = blog.database;
  await blog.owner.query('GRANT SELECT ON tv_post, tv_author, tv_feed TO PUBLIC');
  const admin = await blog.database.client(superuser);
  // Locks of tviews are taken one flush at a time, so transactions that read between writes can deadlock: find out soon.
  for (const { role } of [owner, app])
    await admin.query(`ALTER ROLE "${role}" SET deadlock_timeout = '20ms'`);
  await admin.end();
});
afterAll(() => blog.database.drop());
beforeEach(async () => {
  await blog.owner.query(blogRows);
});

/** How many comments there are with this text. */
const comments = async (client: { query: pg.Client['query'] }, body = 'not committed') =>
  (await client.query('SELECT count(*)::int AS n FROM tb_comment WHERE body = $1', [body])).rows[0] as {
    n: number;
  };

/** What a transaction may end with because of others, and not because of a leak. */
const isCollision = (error: unknown): boolean =>
  ['40P01', '40001'].includes((error as { code?: string }).code ?? '');

/**
 * One client: writes its own post (so that rows are never fought over) with titles that say `dirty` as long as they must
 * not be seen by others, and looks for dirt of others all the time.
 */
class Inhabitant {
  readonly #id: number;
  readonly #url: string;
  readonly #dice: Random;
  #client: pg.Client | null = null;
  /** Named statements are gone after DISCARD ALL; node-postgres does not know. */
  #epoch = 0;
  #applicationName = '';
  #count = 0;

  constructor(id: number, url: string, runSeed: number) {
    this.#id = id;
    this.#url = url;
    this.#dice = Random.of(runSeed + id * 7919);
  }

  async live(steps: number): Promise<void> {
    for (let step = 0; step < steps; step += 1) {
      this.#client ??= await this.#connect();
      const act = this.#dice.pick(this.#acts);
      try {
        await act.call(this, this.#client);
      } catch (error) {
        if (!isCollision(error)) throw error;
        await this.#client.query('ROLLBACK');
      }
    }
    await this.#client?.end();
  }

  async #connect(): Promise<pg.Client> {
    this.#applicationName = '';
    return connectTo(this.#url);
  }

  #title(kind: 'dirty' | 'clean'): string {
    this.#count += 1;
    return `${kind}:${this.#id}:${this.#count}`;
  }

  async #write(client: pg.Client, title: string): Promise<void> {
    const text = 'UPDATE tb_post SET title = $2 WHERE pk_post = $1';
    const values = [1000 + this.#id, title];
    await client.query(
      this.#dice.below(2) === 0 ? { text, values } : { name: `write ${this.#epoch}`, text, values },
    );
  }

  async #readOwn(client: pg.Client): Promise<string> {
    const { rows } = await client.query<{ title: string }>(
      `SELECT data->>'title' AS title FROM tv_post WHERE pk_post = ${1000 + this.#id}`,
    );
    return rows[0]!.title;
  }

  readonly #acts: readonly ((client: pg.Client) => Promise<void>)[] = [
    async function commits(this: Inhabitant, client) {
      await client.query('BEGIN');
      await this.#write(client, this.#title('dirty'));
      if (this.#dice.below(2) === 0) {
        await client.query({
          text: 'INSERT INTO tb_comment (fk_post, body) VALUES ($1, $2)',
          values: [1000 + this.#id, 'x'],
        });
      }
      await this.#write(client, this.#title('clean'));
      await client.query('COMMIT');
    },
    async function readsItsOwnWrite(this: Inhabitant, client) {
      await client.query('BEGIN');
      const dirty = this.#title('dirty');
      await this.#write(client, dirty);
      expect(await this.#readOwn(client)).toBe(dirty);
      const clean = this.#title('clean');
      await this.#write(client, clean);
      expect(await this.#readOwn(client)).toBe(clean);
      await client.query('COMMIT');
      expect(await this.#readOwn(client)).toBe(clean);
    },
    async function rollsBack(this: Inhabitant, client) {
      const before = await this.#readOwn(client);
      await client.query('BEGIN');
      await this.#write(client, this.#title('dirty'));
      if (this.#dice.below(2) === 0) await this.#readOwn(client);
      await client.query('ROLLBACK');
      expect(await this.#readOwn(client)).toBe(before);
    },
    async function fails(this: Inhabitant, client) {
      const before = await this.#readOwn(client);
      await client.query('BEGIN');
      await this.#write(client, this.#title('dirty'));
      await expect(client.query('SELECT 1/0')).rejects.toMatchObject({ code: '22012' });
      expect((await client.query('COMMIT')).command).toBe('ROLLBACK');
      expect(await this.#readOwn(client)).toBe(before);
    },
    async function usesSavepoints(this: Inhabitant, client) {
      await client.query('BEGIN');
      const clean = this.#title('clean');
      await this.#write(client, clean);
      await client.query('SAVEPOINT s');
      await this.#write(client, this.#title('dirty'));
      if (this.#dice.below(2) === 0) await this.#readOwn(client);
      await client.query('ROLLBACK TO SAVEPOINT s');
      expect(await this.#readOwn(client)).toBe(clean);
      await client.query('COMMIT');
    },
    async function writesWithoutTransaction(this: Inhabitant, client) {
      const clean = this.#title('clean');
      await this.#write(client, clean);
      expect(await this.#readOwn(client)).toBe(clean);
    },
    async function vanishes(this: Inhabitant, client) {
      await client.query('BEGIN');
      await this.#write(client, this.#title('dirty'));
      if (this.#dice.below(2) === 0) client.query('SELECT pg_sleep(10)').catch(() => {}); // it goes with the connection
      vanish(client);
      this.#client = null;
      this.#epoch = 0;
    },
    async function namesItself(this: Inhabitant, client) {
      this.#applicationName = `inhabitant ${this.#id} ${this.#count}`;
      await client.query(`SET application_name = '${this.#applicationName}'`);
    },
    async function namesItselfInVain(this: Inhabitant, client) {
      await client.query('BEGIN');
      await client.query("SET application_name = 'never'");
      await client.query('ROLLBACK');
    },
    async function forgetsEverything(this: Inhabitant, client) {
      await client.query('DISCARD ALL');
      this.#epoch += 1;
      this.#applicationName = '';
    },
    async function looksAround(this: Inhabitant, client) {
      const { rows } = await client.query<{ name: string }>(
        "SELECT current_setting('application_name') AS name",
      );
      expect(rows[0]!.name).toBe(this.#applicationName);
    },
    async function looksForDirt(this: Inhabitant, client) {
      const { rows } = await client.query<{ title: string }>({
        name: `dirt ${this.#epoch}`,
        text: "SELECT data->>'title' AS title FROM tv_post WHERE data->>'title' LIKE 'dirty:%'",
      });
      expect(rows).toEqual([]);
    },
  ];
}

async function populate(proxy: TestProxy, clients: number, steps: number): Promise<void> {
  await blog.owner.query(
    "INSERT INTO tb_post SELECT 1000 + i, 1 + i % 5, 'clean:' || i FROM generate_series(0, $1 - 1) AS i",
    [clients],
  );
  const url = proxy.url(blog.database.app);
  await Promise.all(Array.from({ length: clients }, (_, id) => new Inhabitant(id, url, seed).live(steps)));
}

async function expectNothingLeaked(proxy: TestProxy): Promise<void> {
  expect(await blog.state()).toEqual(exact);
  const { rows } = await blog.owner.query("SELECT 1 FROM tv_post WHERE data->>'title' LIKE 'dirty:%'");
  expect(rows).toEqual([]);
  // Claims were really used: it was the proxy that flushed, and in time.
  expect(await metric(proxy.metrics, 'tviews_flushes_total', 'trigger="commit"')).toBeGreaterThan(0);
  expect(await metric(proxy.metrics, 'tviews_flushes_total', 'trigger="read"')).toBeGreaterThan(0);
  expect(await metric(proxy.metrics, 'tviews_flushes_total', 'trigger="late"')).toBe(0);
  expect(await metric(proxy.metrics, 'tviews_closes_total', 'refresh state was not empty')).toBe(0);
  await until('every server is idle and every client gone', () =>
    proxy
      .pools()
      .every(
        ({ clients, servers }) =>
          servers.active === 0 &&
          servers.settling === 0 &&
          servers.login === 0 &&
          clients.active === 0 &&
          clients.waiting === 0,
      ),
  );
}

describe(`whatever the clients do (TVIEWS_TEST_SEED=${seed})`, () => {
  test('100 clients over 10 servers in transaction mode leave no trace in each other and no stale row', async () => {
    const proxy = await testProxy(blog.database, { poolMode: 'transaction', poolSize: 10 });
    await populate(proxy, 100, isLong ? 200 : 8);
    await expectNothingLeaked(proxy);
    expect(proxy.pools().reduce((sum, { servers }) => sum + servers.idle!, 0)).toBeLessThanOrEqual(10);
  });

  test('20 clients over 5 servers in session mode, reset by DISCARD ALL, neither', async () => {
    const proxy = await testProxy(blog.database, {
      poolMode: 'session',
      poolSize: 5,
      pgbouncer: { server_reset_query: 'DISCARD ALL' },
    });
    await populate(proxy, 20, isLong ? 200 : 10);
    await expectNothingLeaked(proxy);
  });
});

describe("on the very same server, the next client's flush holds only its own changes", () => {
  /** How many keys a flush of this one change recomputes, over all tviews. */
  async function keysOfOneChange(proxy: TestProxy, title: string): Promise<number> {
    const before = await metric(proxy.metrics, 'tviews_refresh_keys_sum');
    const client = await connectTo(proxy.url(blog.database.app));
    await client.query('BEGIN');
    await client.query({ text: 'UPDATE tb_post SET title = $1 WHERE pk_post = 7', values: [title] });
    await client.query('COMMIT');
    await client.end();
    return (await metric(proxy.metrics, 'tviews_refresh_keys_sum')) - before;
  }

  const ends: Record<string, (client: pg.Client) => Promise<void>> = {
    ROLLBACK: async (client) => {
      await client.query('ROLLBACK');
    },
    'an error and COMMIT': async (client) => {
      await client.query('SELECT 1/0').catch(() => {}); // it is meant to fail
      await client.query('COMMIT');
    },
    'an error and ROLLBACK': async (client) => {
      await client.query('SELECT 1/0').catch(() => {}); // it is meant to fail
      await client.query('ROLLBACK');
    },
    'ROLLBACK behind a flush before a read': async (client) => {
      await client.query('SELECT * FROM tv_post');
      await client.query('ROLLBACK');
    },
    'ROLLBACK and DISCARD ALL': async (client) => {
      await client.query('ROLLBACK');
      await client.query('DISCARD ALL');
    },
    "the client's disappearance": async (client) => {
      vanish(client);
    },
    "a polite end of the client's connection": async (client) => {
      await client.end();
    },
  };

  for (const poolMode of ['transaction', 'session'] as const) {
    test.for(Object.keys(ends))(`in ${poolMode} mode, after %s`, async (end) => {
      const proxy = await testProxy(blog.database, { poolMode, poolSize: 1 });
      const alone = await keysOfOneChange(proxy, 'alone');
      expect(alone).toBeGreaterThan(0);
      const first = await connectTo(proxy.url(blog.database.app));
      await first.query('BEGIN');
      await first.query('DELETE FROM tb_comment');
      await first.query("UPDATE tb_author SET name = 'never'");
      await ends[end]!(first);
      if (end !== "the client's disappearance") await first.end();
      const flushed = await metric(proxy.metrics, 'tviews_refresh_keys_sum');
      expect(await keysOfOneChange(proxy, 'after')).toBe(alone);
      expect((await metric(proxy.metrics, 'tviews_refresh_keys_sum')) - flushed).toBe(alone);
      expect(await metric(proxy.metrics, 'tviews_flushes_total', 'trigger="late"')).toBe(0);
      expect(await blog.state()).toEqual(exact);
    });
  }

  test('after a ROLLBACK with the next statement sent right behind it', async () => {
    const proxy = await testProxy(blog.database, { poolSize: 1 });
    const raw = await RawClient.connect(proxy.url(blog.database.app));
    raw.send(query('BEGIN'));
    await raw.untilReady();
    raw.send(query("UPDATE tb_author SET name = 'never'"));
    await raw.untilReady();
    raw.send(query('ROLLBACK'), query('SELECT 1'));
    await raw.untilReady(2);
    raw.close();
    expect(await metric(proxy.metrics, 'tviews_flushes_total')).toBe(0);
    expect(await blog.state()).toEqual(exact);
  });
});

describe('a server stays with a client that has not sent Sync', () => {
  const insert = [
    parse('', "INSERT INTO tb_comment (fk_post, body) VALUES (1, 'not committed')"),
    bind({ statement: '' }),
    execute(),
    flush,
  ];
  async function inserted(raw: RawClient): Promise<string[]> {
    raw.send(...insert);
    const answers = [await raw.next(), await raw.next(), await raw.next()];
    return shown(answers.map((answer) => answer!));
  }

  test('its write is not committed by another client', async () => {
    const proxy = await testProxy(blog.database, { poolSize: 1 });
    const raw = await RawClient.connect(proxy.url(blog.database.app));
    expect(await inserted(raw)).toEqual(['1', '2', 'C(INSERT 0 1)']);
    const other = await connectTo(proxy.url(blog.database.app));
    const answer = other.query('SELECT 1');
    expect(await comments(blog.owner)).toEqual({ n: 0 });
    await until('the other client waits', () => proxy.pools().some(({ clients }) => clients.waiting === 1));
    raw.send(sync);
    await raw.untilReady();
    await answer;
    expect(await comments(blog.owner)).toEqual({ n: 1 });
    raw.close();
    await other.end();
    expect(await blog.state()).toEqual(exact);
  });

  test.for(['vanishes', 'says goodbye'] as const)('when it %s, its write is gone', async (how) => {
    for (const poolMode of ['transaction', 'session'] as const) {
      const proxy = await testProxy(blog.database, {
        poolMode,
        poolSize: 1,
        // No reset that would fail inside a transaction and so hide the leak.
        pgbouncer: { server_reset_query: '' },
      });
      const raw = await RawClient.connect(proxy.url(blog.database.app));
      await inserted(raw);
      if (how === 'says goodbye') raw.send(Buffer.from([0x58, 0, 0, 0, 4]));
      else raw.close();
      const other = await connectTo(proxy.url(blog.database.app));
      await other.query('SELECT 1');
      expect(await comments(other)).toEqual({ n: 0 });
      await other.end();
      expect(await blog.state()).toEqual(exact);
    }
  });

  test('a statement it has parsed is the one it binds', async () => {
    const proxy = await testProxy(blog.database, { poolSize: 1 });
    const raw = await RawClient.connect(proxy.url(blog.database.app));
    raw.send(parse('', "SELECT 'mine'"), flush);
    expect(shown([(await raw.next())!])).toEqual(['1']);
    const other = await connectTo(proxy.url(blog.database.app));
    const answer = other.query({ text: "SELECT 'of the other', $1::int", values: [1] });
    raw.send(bind({ statement: '' }), execute(), sync);
    expect(shown(await raw.untilReady())).toEqual(['2', 'D(0001000000046d696e65)', 'C(SELECT 1)', 'Z(I)']);
    await answer;
    raw.close();
    await other.end();
  });
});

describe('a client that hangs up behind a statement', () => {
  const slow = query(`INSERT INTO tb_comment (fk_post, body) SELECT 1, 'slow' FROM pg_sleep(0.2)`);

  test.for([
    'transaction',
    'session',
  ] as const)('in %s mode: with a goodbye the statement is finished, as PostgreSQL would', async (poolMode) => {
    const proxy = await testProxy(blog.database, { poolMode, poolSize: 1 });
    const raw = await RawClient.connect(proxy.url(blog.database.app));
    raw.send(slow, terminate);
    await until('the write is there', async () => (await comments(blog.owner, 'slow')).n === 1);
    // The server it ran on is gone; the next client has another one.
    const other = await connectTo(proxy.url(blog.database.app));
    expect(await comments(other, 'slow')).toEqual({ n: 1 });
    await other.end();
    raw.close();
    expect(await blog.state()).toEqual(exact);
  });

  test('while a flush of ours waits for a lock: the flush is cancelled and the transaction rolled back', async () => {
    const proxy = await testProxy(blog.database, { poolSize: 1 });
    await blog.owner.query("BEGIN; UPDATE tb_author SET name = 'locks the tviews' WHERE pk_author = 1");
    await blog.owner.query('SET CONSTRAINTS ALL IMMEDIATE');
    const raw = await RawClient.connect(proxy.url(blog.database.app));
    // Posts of that author: his rename and they meet in the flush.
    raw.send(query("BEGIN; UPDATE tb_post SET title = 'waits' WHERE pk_post = 5"));
    await raw.untilReady();
    raw.send(query("UPDATE tb_post SET title = 'waits' WHERE pk_post = 10"));
    await raw.untilReady();
    raw.send(query('DO $$ BEGIN END $$'));
    const waiting = async () =>
      (
        await blog.owner.query(
          "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
      ).rowCount;
    await until('the flush waits', async () => (await waiting()) === 1);
    raw.close();
    await until('nobody waits', async () => (await waiting()) === 0);
    await blog.owner.query('ROLLBACK');
    expect(await blog.state()).toEqual(exact);
  });

  test('with a goodbye behind COMMIT, the transaction is committed and flushed', async () => {
    const proxy = await testProxy(blog.database, { poolSize: 1 });
    const raw = await RawClient.connect(proxy.url(blog.database.app));
    raw.send(query('BEGIN'));
    await raw.untilReady();
    raw.send(slow);
    await raw.untilReady();
    raw.send(query('COMMIT'), terminate);
    await until('the write is there', async () => (await comments(blog.owner, 'slow')).n === 1);
    raw.close();
    expect(await blog.state()).toEqual(exact);
  });
});

describe('what is odd in the protocol does not mix sessions up', () => {
  const run = (text: string) => [parse('', text), bind({ statement: '' }), execute()];

  test('a statement of ours that is followed by another in its pipeline is refused, and the other is not run', async () => {
    const proxy = await testProxy(blog.database, { poolSize: 1 });
    const raw = await RawClient.connect(proxy.url(blog.database.owner));
    const create = run(
      'CREATE TVIEW tv_name WITH (key = pk_author) AS SELECT pk_author, name FROM tb_author',
    );
    const refused =
      'E(25001 a statement that creates or drops a tview cannot be followed by others in a pipeline)';
    for (const next of [run('DELETE FROM tb_comment'), run('DROP TVIEW tv_post')]) {
      raw.send(...create, ...next, sync);
      expect(shown(await raw.untilReady())).toEqual(['1', '2', refused, 'Z(I)']);
      raw.send(query('BEGIN'), ...create, ...next, sync, query('COMMIT'));
      expect(shown(await raw.untilReady(3))).toEqual([
        ...['C(BEGIN)', 'Z(T)', '1', '2', refused, 'Z(E)', 'C(ROLLBACK)', 'Z(I)'],
      ]);
    }
    raw.close();
    expect((await blog.owner.query("SELECT to_regclass('tv_name') AS name")).rows).toEqual([{ name: null }]);
    expect(await blog.state()).toEqual(exact);
  });

  /** A second client uses the only server right behind each of these; it must see its own answers and nothing else. */
  const oddities: Record<string, readonly { readonly send: readonly Buffer[]; readonly until: number }[]> = {
    'an error in a batch, and the rest of it thrown away': [
      {
        send: [
          ...run("UPDATE tb_author SET name = 'x' WHERE pk_author = 1"),
          ...run('SELECT 1/0'),
          ...run('SELECT 2'),
          sync,
        ],
        until: 1,
      },
    ],
    'a claimed transaction in which a batch fails, rolled back with more behind it': [
      { send: [query('BEGIN')], until: 1 },
      { send: [query("UPDATE tb_author SET name = 'x' WHERE pk_author = 1")], until: 1 },
      { send: [...run('SELECT 1/0'), sync, query('ROLLBACK'), ...run('SELECT 1'), sync], until: 3 },
    ],
    'COMMIT with a new transaction in the same packet, and its end': [
      { send: [query('BEGIN')], until: 1 },
      { send: [query("UPDATE tb_author SET name = 'one' WHERE pk_author = 1")], until: 1 },
      {
        send: [
          query('COMMIT'),
          query('BEGIN'),
          query("UPDATE tb_author SET name = 'two' WHERE pk_author = 2"),
          query('ROLLBACK'),
        ],
        until: 4,
      },
    ],
    'COMMIT bound and never executed, then rolled back': [
      { send: [query('BEGIN')], until: 1 },
      { send: [query("UPDATE tb_author SET name = 'x' WHERE pk_author = 1")], until: 1 },
      { send: [parse('', 'COMMIT'), bind({ statement: '' }), sync], until: 1 },
      { send: [query("UPDATE tb_author SET name = 'y' WHERE pk_author = 2")], until: 1 },
      { send: [query('ROLLBACK')], until: 1 },
    ],
    'COMMIT bound and never executed, then committed': [
      { send: [query('BEGIN')], until: 1 },
      { send: [query("UPDATE tb_author SET name = 'x' WHERE pk_author = 1")], until: 1 },
      { send: [parse('c', 'COMMIT'), bind({ statement: 'c' }), sync], until: 1 },
      { send: [query("UPDATE tb_author SET name = 'y' WHERE pk_author = 2")], until: 1 },
      { send: [bind({ statement: 'c' }), execute(), sync], until: 1 },
    ],
    'COMMIT that fails at a deferred constraint': [
      { send: [query('BEGIN')], until: 1 },
      { send: [query("UPDATE tb_author SET name = 'x' WHERE pk_author = 1")], until: 1 },
      { send: [query('INSERT INTO deferred VALUES (1), (1)')], until: 1 },
      { send: [...run('COMMIT'), sync], until: 1 },
    ],
    // PostgreSQL answers "in transaction" to the Query: the batch has become an implicit block, which Sync commits.
    'writes in the implicit block of a batch that goes on behind a Query': [
      {
        send: [...run("UPDATE tb_author SET name = 'x' WHERE pk_author = 1"), query('SELECT 1')],
        until: 1,
      },
      { send: [query("UPDATE tb_author SET name = 'y' WHERE pk_author = 2")], until: 1 },
      { send: [...run("UPDATE tb_author SET name = 'z' WHERE pk_author = 3"), sync], until: 1 },
    ],
    'COPY given up by its client in a claimed transaction': [
      { send: [query('BEGIN')], until: 1 },
      { send: [query("UPDATE tb_author SET name = 'x' WHERE pk_author = 1")], until: 1 },
      {
        send: [
          query('COPY tb_comment (fk_post, body) FROM STDIN'),
          Buffer.from([0x66, 0, 0, 0, 9]),
          Buffer.from('stop\0'),
        ],
        until: 1,
      },
      { send: [query('COMMIT')], until: 1 },
    ],
    'a savepoint rolled back in the packet that commits': [
      { send: [query('BEGIN')], until: 1 },
      { send: [query("UPDATE tb_author SET name = 'x' WHERE pk_author = 1")], until: 1 },
      { send: [query('SAVEPOINT s')], until: 1 },
      { send: [query('SELECT * FROM tv_author')], until: 1 },
      { send: [query('ROLLBACK TO s'), query('COMMIT')], until: 2 },
    ],
  };

  beforeAll(async () => {
    await blog.owner.query(
      'CREATE TABLE deferred (x integer UNIQUE DEFERRABLE INITIALLY DEFERRED); GRANT ALL ON deferred TO PUBLIC',
    );
  });

  test.for(Object.keys(oddities))('%s', async (name) => {
    const proxy = await testProxy(blog.database, { poolSize: 1 });
    const raw = await RawClient.connect(proxy.url(blog.database.app));
    const other = await connectTo(proxy.url(blog.database.app));
    for (const { send, until: answers } of oddities[name]!) {
      raw.send(...send);
      await raw.untilReady(answers);
    }
    await other.query('BEGIN');
    await other.query("UPDATE tb_post SET title = 'of the other' WHERE pk_post = 2");
    const { rows } = await other.query("SELECT data->>'title' AS title FROM tv_post WHERE pk_post = 2");
    expect(rows).toEqual([{ title: 'of the other' }]);
    await other.query('COMMIT');
    raw.send(query('SELECT 1'));
    expect(shown(await raw.untilReady())).toEqual(['T', 'D(00010000000131)', 'C(SELECT 1)', 'Z(I)']);
    raw.close();
    await other.end();
    expect(await blog.state()).toEqual(exact);
    expect(await metric(proxy.metrics, 'tviews_flushes_total', 'trigger="late"')).toBe(0);
    expect(await metric(proxy.metrics, 'tviews_closes_total', 'refresh state was not empty')).toBe(0);
  });
});
