/** A pool's servers from login to the last byte: what they are asked in between, and what becomes of one that fails at it. */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startProxy } from '../../../proxy/main.ts';
import { query } from '../../../proxy/wire/messages/requests.ts';
import { loadSettings } from '../../../src/config/load.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { createMetrics } from '../../../src/observe/metrics.ts';
import { connectTo, metric, until, vanish } from '../../kit/clients.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { proxyFile, type TestProxy, testProxy } from '../../kit/proxy.ts';
import { RawClient, describe as shown } from '../../kit/raw-client.ts';

let database: FreshDatabase;
let admin: pg.Client;
beforeAll(async () => {
  database = await freshDatabase();
  admin = await database.client(database.superuser);
});
afterAll(() => database.drop());

async function open(proxy: TestProxy): Promise<pg.Client> {
  const client = await connectTo(proxy.url(database.app));
  onTestFinished(() => client.end().catch(() => {})); // some are closed by the test, one way or another
  return client;
}

/** The application's connections, as PostgreSQL sees them. */
async function connections(which = 'true'): Promise<number> {
  const { rows } = await admin.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename = $1 AND ${which}`,
    [database.app.role],
  );
  return rows[0]!.n;
}

const pid = async (client: pg.Client): Promise<number> =>
  ((await client.query('SELECT pg_backend_pid() AS pid')).rows[0] as { pid: number }).pid;

describe('server_reset_query', () => {
  test('that fails costs the server, and the next client gets a clean one', async () => {
    const proxy = await testProxy(database, {
      poolMode: 'session',
      poolSize: 1,
      pgbouncer: { server_reset_query: 'SELECT 1/0' },
    });
    const first = await open(proxy);
    await first.query("SET statement_timeout = '7s'");
    const used = await pid(first);
    await first.end();
    const second = await open(proxy);
    expect(await pid(second)).not.toBe(used);
    expect((await second.query('SHOW statement_timeout')).rows).not.toEqual([{ statement_timeout: '7s' }]);
    await until('the used one is gone', async () => (await connections(`pid = ${used}`)) === 0);
  });

  test('whose server dies under it is counted as one close, and the waiting client is served', async () => {
    const proxy = await testProxy(database, {
      poolMode: 'session',
      poolSize: 1,
      pgbouncer: { server_reset_query: 'SELECT pg_sleep(60)' },
    });
    const first = await open(proxy);
    const used = await pid(first);
    await first.end();
    const second = await open(proxy);
    const answer = second.query('SELECT 1 AS one');
    await until('it waits', () => proxy.pools().some(({ clients }) => clients.waiting === 1));
    const closes = await metric(proxy.metrics, 'tviews_closes_total');
    await admin.query('SELECT pg_terminate_backend($1)', [used]);
    expect((await answer).rows).toEqual([{ one: 1 }]);
    expect((await metric(proxy.metrics, 'tviews_closes_total')) - closes).toBe(1);
  });

  test('reaches a server whose client took its answers too slowly and vanished', async () => {
    const proxy = await testProxy(database, { poolMode: 'session', poolSize: 1 });
    const first = await open(proxy);
    const used = await pid(first);
    const { stream } = (first as unknown as { connection: { stream: { pause(): void } } }).connection;
    stream.pause();
    first.query("SELECT repeat('x', 100000) FROM generate_series(1, 60)").catch(() => {}); // it goes with the client
    await until(
      'all of it is sent, or nothing more is taken',
      async () =>
        (
          await admin.query<{ waits: boolean }>(
            "SELECT state = 'idle' OR wait_event = 'ClientWrite' AS waits FROM pg_stat_activity WHERE pid = $1",
            [used],
          )
        ).rows[0]?.waits === true,
    );
    vanish(first);
    const second = await open(proxy);
    expect((await second.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });
});

describe('connect_query', () => {
  test('that fails is told to the client, and leaves no connection behind', async () => {
    const file = proxyFile(database, { pgbouncer: { server_login_retry: 0 } }).replace(
      /(port=\d+)/,
      "$1 connect_query='SELECT 1/0'",
    );
    const settings = loadSettings({ file: 'test.ini', read: () => file, env: {} });
    const logins = new Map([[database.app.role, database.app.password]]);
    const proxy = await startProxy(
      { ...settings, logins },
      { log: silentLogger(), metrics: createMetrics({ process: false }) },
    );
    onTestFinished(() => proxy.close());
    const url = new URL(database.app.url);
    url.port = String(proxy.port);
    url.hostname = '127.0.0.1';
    const before = await connections();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await expect(connectTo(url.href)).rejects.toThrow('division by zero');
    }
    await until('no connection is left', async () => (await connections()) <= before);
  });
});

describe('server_lifetime', () => {
  test('of zero: each server is used once, and it is used', async () => {
    const proxy = await testProxy(database, { poolSize: 1, pgbouncer: { server_lifetime: 0 } });
    const client = await open(proxy);
    const pids = new Set<number>();
    for (let transaction = 0; transaction < 3; transaction += 1) pids.add(await pid(client));
    expect(pids.size).toBe(3);
  });
});

describe('statement mode', () => {
  test('runs single statements, and closes a client that opens a transaction block', async () => {
    const proxy = await testProxy(database, { poolMode: 'statement', poolSize: 1 });
    const raw = await RawClient.connect(proxy.url(database.app));
    raw.send(query('SELECT 1'));
    expect(shown(await raw.untilReady())).toEqual(['T', 'D(00010000000131)', 'C(SELECT 1)', 'Z(I)']);
    raw.send(query('BEGIN'));
    expect(shown([(await raw.next())!, (await raw.next())!])).toEqual([
      'C(BEGIN)',
      'E(08P01 transaction blocks not allowed in statement pooling mode)',
    ]);
    expect(await raw.next()).toBeNull();
    // Its server is not reused.
    expect((await (await open(proxy)).query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await until(
      'its block is closed with it',
      async () => (await connections("state LIKE 'idle in%'")) === 0,
    );
  });

  test('gives the server to others between statements', async () => {
    const proxy = await testProxy(database, { poolMode: 'statement', poolSize: 1 });
    const [first, second] = [await open(proxy), await open(proxy)];
    expect(await pid(first)).toBe(await pid(second));
  });
});

test('a port that is taken is told by the error alone', async () => {
  const taken = await testProxy(database);
  const file = proxyFile(database, { pgbouncer: { listen_port: taken.port } });
  const settings = loadSettings({ file: 'test.ini', read: () => file, env: {} });
  const logged: unknown[] = [];
  const log = Object.assign(Object.create(silentLogger()), {
    error: (...line: unknown[]) => logged.push(line),
    child: () => log,
  });
  await expect(startProxy(settings, { log, metrics: createMetrics({ process: false }) })).rejects.toThrow(
    `cannot listen on 127.0.0.1:${taken.port}: another program listens there`,
  );
  expect(logged).toEqual([]);
});
