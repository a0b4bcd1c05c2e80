/** Who waits, who is refused, what is cancelled, and what a client is told when a server goes away. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { query } from '../../../proxy/wire/messages/requests.ts';
import { cancelRequest, startupMessage } from '../../../proxy/wire/messages/startup.ts';
import { connectTo, metric, until, vanish } from '../../kit/clients.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { startFlakyNetwork } from '../../kit/flaky-network.ts';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';
import { freePort } from '../../kit/proxy-process.ts';
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

const waiting = (proxy: TestProxy): number =>
  proxy.pools().reduce((sum, { clients }) => sum + clients.waiting!, 0);

/** Queries of the application that run now, as PostgreSQL sees them. */
async function running(text: string): Promise<number> {
  const { rows } = await admin.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename = $1 AND state = 'active' AND query LIKE $2",
    [database.app.role, `%${text}%`],
  );
  return rows[0]!.n;
}

async function terminateServers(): Promise<void> {
  await admin.query('SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1', [
    database.app.role,
  ]);
}

/** Sends a CancelRequest; resolves when the proxy has closed that connection, as libpq waits for it. */
async function cancel(proxy: TestProxy, client: pg.Client): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const secret = Buffer.alloc(4);
  secret.writeInt32BE(secretKey);
  const { connect } = await import('node:net');
  const socket = connect(proxy.port, '127.0.0.1');
  socket.resume();
  socket.write(cancelRequest(processID, secret));
  await once(socket, 'close');
}

describe('a full pool', () => {
  test('lets its clients wait and serves them in the order they came', async () => {
    const proxy = await testProxy(database, { poolSize: 1 });
    const holder = await open(proxy);
    await holder.query('BEGIN');
    const clients = await Promise.all(Array.from({ length: 8 }, () => open(proxy)));
    const served: number[] = [];
    const answers: Promise<unknown>[] = [];
    for (const [index, client] of clients.entries()) {
      answers.push(client.query('SELECT 1').then(() => served.push(index)));
      await until('it waits', () => waiting(proxy) === index + 1);
    }
    await holder.query('COMMIT');
    await Promise.all(answers);
    expect(served).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  test('never has more servers than its size', async () => {
    const proxy = await testProxy(database, { poolSize: 3 });
    const clients = await Promise.all(Array.from({ length: 20 }, () => open(proxy)));
    const seen = await Promise.all(
      clients.map(
        async (client) =>
          (await client.query('SELECT pg_backend_pid() AS pid, pg_sleep(0.01)')).rows[0].pid as number,
      ),
    );
    expect(new Set(seen).size).toBeLessThanOrEqual(3);
    const { rows } = await admin.query('SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename = $1', [
      database.app.role,
    ]);
    expect(rows[0].n).toBeLessThanOrEqual(3);
  });

  test('tells a client that has waited for query_wait_timeout, and goes on', async () => {
    const proxy = await testProxy(database, { poolSize: 1, pgbouncer: { query_wait_timeout: 1 } });
    const holder = await open(proxy);
    await holder.query('BEGIN');
    const late = await open(proxy);
    await expect(late.query('SELECT 1')).rejects.toMatchObject({
      severity: 'FATAL',
      code: '53300',
      message: 'query_wait_timeout',
    });
    await holder.query('COMMIT');
    expect((await (await open(proxy)).query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  test('gives nothing to a client that vanished while it waited', async () => {
    const proxy = await testProxy(database, { poolSize: 1 });
    await admin.query('CREATE TABLE IF NOT EXISTS written (by text)');
    await admin.query('GRANT ALL ON written TO PUBLIC');
    const holder = await open(proxy);
    await holder.query('BEGIN');
    const gone = await open(proxy);
    gone.query("INSERT INTO written VALUES ('nobody')").catch(() => {}); // its connection goes away
    await until('it waits', () => waiting(proxy) === 1);
    vanish(gone);
    await until('it waits no more', () => waiting(proxy) === 0);
    await holder.query('COMMIT');
    await (await open(proxy)).query('SELECT 1');
    expect((await admin.query('SELECT * FROM written')).rows).toEqual([]);
  });
});

describe('max_client_conn', () => {
  test('refuses one client too many with 53300 and lets the next in when one has gone', async () => {
    const proxy = await testProxy(database, { pgbouncer: { max_client_conn: 2 } });
    const first = await open(proxy);
    await open(proxy);
    await expect(open(proxy)).rejects.toMatchObject({
      code: '53300',
      message: 'no more connections allowed (max_client_conn)',
    });
    await first.end();
    await until('one has gone', () => proxy.pools()[0]!.clients.idle === 1);
    await open(proxy);
  });

  test('holds when all come at once, before the first server is there', async () => {
    const proxy = await testProxy(database, { pgbouncer: { max_client_conn: 3 } });
    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, () => open(proxy)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: '53300' });
    }
  });
});

describe('cancel', () => {
  test('stops the query that runs, and only that; the session goes on', async () => {
    const proxy = await testProxy(database, { poolSize: 2 });
    const [client, other] = [await open(proxy), await open(proxy)];
    const slow = client.query('SELECT pg_sleep(60)');
    const untouched = other.query("SELECT pg_sleep(0.5), 'untouched' AS answer");
    await until('both run', async () => (await running('pg_sleep')) === 2);
    const stopped = expect(slow).rejects.toMatchObject({ code: '57014' });
    await cancel(proxy, client);
    await stopped;
    expect((await untouched).rows[0].answer).toBe('untouched');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  test('reaches a client that waits for a server', async () => {
    const proxy = await testProxy(database, { poolSize: 1 });
    const holder = await open(proxy);
    await holder.query('BEGIN');
    const client = await open(proxy);
    const stopped = expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '57014' });
    await until('it waits', () => waiting(proxy) === 1);
    await cancel(proxy, client);
    await stopped;
    expect((await holder.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  test('with a key nobody has does nothing', async () => {
    const proxy = await testProxy(database, { poolSize: 1 });
    const client = await open(proxy);
    const answer = client.query("SELECT pg_sleep(0.2), 'done' AS answer");
    await until('it runs', async () => (await running('pg_sleep')) === 1);
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    await cancel(proxy, { processID, secretKey: secretKey ^ 1 } as unknown as pg.Client);
    expect((await answer).rows[0].answer).toBe('done');
  });

  /** The cancel request is on its way to the server, held up in the network, when its session gives the server back. */
  for (const poolMode of ['transaction', 'session'] as const) {
    test(`that arrives late hits no query of the next client (${poolMode} mode)`, async () => {
      const network = await startFlakyNetwork(database);
      onTestFinished(() => network.close());
      const proxy = await testProxy(
        { ...database, port: network.port, host: network.host },
        { poolMode, poolSize: 1 },
      );
      const client = await open(proxy);
      const slow = client.query('SELECT pg_sleep(0.3)');
      await until('it runs', async () => (await running('pg_sleep')) === 1);
      network.holdNewConnections();
      const cancelled = cancel(proxy, client);
      await until('the cancel is on its way', async () => network.held === 1);
      await slow;
      await client.end();
      const [next, third] = [connectTo(proxy.url(database.app)), connectTo(proxy.url(database.app))];
      const answers = [next, third].map(async (connecting) => {
        const connected = await connecting;
        const { rows } = await connected.query("SELECT pg_sleep(0.1), 'unharmed' AS answer");
        await connected.end();
        return rows[0].answer as string;
      });
      await until('both wait', () => waiting(proxy) === 2);
      network.letGo();
      await cancelled;
      expect(await Promise.all(answers)).toEqual(['unharmed', 'unharmed']);
    });
  }

  test('under way while its server is to be reset: one client gets the server, not two, and the reset works', async () => {
    const network = await startFlakyNetwork(database);
    onTestFinished(() => network.close());
    const proxy = await testProxy(
      { ...database, port: network.port, host: network.host },
      { poolMode: 'session', poolSize: 1, pgbouncer: { server_reset_query: 'SELECT pg_sleep(0.2)' } },
    );
    const client = await open(proxy);
    await client.query('SELECT 1');
    const others = await Promise.all([open(proxy), open(proxy)]);
    const answers = others.map(async (other, index) => {
      await other.query(`SET work_mem = ${1000 + index}`);
      const { rows } = await other.query("SELECT pg_sleep(0.05), current_setting('work_mem') AS mine");
      await other.end();
      return rows[0].mine as string;
    });
    await until('both wait', () => waiting(proxy) === 2);
    network.holdNewConnections();
    const cancelled = cancel(proxy, client);
    await until('the cancel is on its way', () => network.held === 1);
    await client.end();
    await until('its server has been given back', () => proxy.pools()[0]!.servers.settling === 1);
    network.letGo();
    await cancelled;
    expect(await Promise.all(answers)).toEqual(['1000kB', '1001kB']);
    expect(await metric(proxy.metrics, 'tviews_closes_total', 'server_reset_query failed')).toBe(0);
  });
});

describe('a client that vanishes', () => {
  test('in the middle of a query has it cancelled on the server', async () => {
    const proxy = await testProxy(database, { poolSize: 1 });
    const client = await open(proxy);
    client.query('SELECT pg_sleep(60)').catch(() => {}); // its connection goes away
    await until('it runs', async () => (await running('pg_sleep')) === 1);
    vanish(client);
    await until('it runs no more', async () => (await running('pg_sleep')) === 0);
    expect((await (await open(proxy)).query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  test('in the middle of a transaction has it rolled back', async () => {
    const proxy = await testProxy(database, { poolSize: 1 });
    await admin.query('CREATE TABLE IF NOT EXISTS abandoned (x int); GRANT ALL ON abandoned TO PUBLIC');
    const client = await open(proxy);
    await client.query('BEGIN');
    await client.query('INSERT INTO abandoned VALUES (1)');
    vanish(client);
    expect((await (await open(proxy)).query('SELECT * FROM abandoned')).rows).toEqual([]);
  });
});

describe('a server that goes away', () => {
  test('while idle is replaced: the next client notices nothing', async () => {
    const proxy = await testProxy(database, { poolSize: 1 });
    const client = await open(proxy);
    await client.query('SELECT 1');
    await until('it is idle', () => proxy.pools()[0]!.servers.idle === 1);
    await terminateServers();
    await until('the proxy has heard', () => proxy.pools()[0]!.servers.idle === 0);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  for (const when of ['in a transaction', 'in a query'] as const) {
    test(`${when} is told to its client, with PostgreSQL's reason first, and to nobody else`, async () => {
      const proxy = await testProxy(database, { poolSize: 1 });
      const raw = await RawClient.connect(proxy.url(database.app));
      const other = await open(proxy);
      raw.send(query('BEGIN'));
      await raw.untilReady();
      if (when === 'in a query') {
        raw.send(query('SELECT pg_sleep(60)'));
        await until('it runs', async () => (await running('pg_sleep')) === 1);
      }
      await terminateServers();
      const told = [];
      for (let message = await raw.next(); message !== null; message = await raw.next()) told.push(message);
      expect(shown(told).filter((text) => text.startsWith('E'))).toEqual([
        'E(57P01 terminating connection due to administrator command)',
        'E(08006 server closed the connection unexpectedly)',
      ]);
      expect((await other.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    });
  }

  test('does not take down clients that wait: they get the next one', async () => {
    const proxy = await testProxy(database, { poolSize: 1 });
    const holder = await open(proxy);
    await holder.query('BEGIN');
    const client = await open(proxy);
    const answer = client.query('SELECT 1 AS one');
    await until('it waits', () => waiting(proxy) === 1);
    await terminateServers();
    expect((await answer).rows).toEqual([{ one: 1 }]);
  });
});

describe('PostgreSQL down', () => {
  test('at the start is told to clients with the address, and over when it is back', async () => {
    const port = await freePort();
    const proxy = await testProxy(
      { ...database, port, host: '127.0.0.1' },
      { pgbouncer: { server_login_retry: 1 } },
    );
    expect(await open(proxy).catch((error: unknown) => error)).toMatchObject({
      code: expect.stringMatching(/^(08|57)/) as unknown,
      message: expect.stringContaining(`127.0.0.1`) as unknown,
    });
    expect(await proxy.ready()).toMatchObject({ ok: false });
    const network = await startFlakyNetwork(database, port);
    onTestFinished(() => network.close());
    await until('clients get in', async () => {
      const client = await open(proxy).catch(() => null);
      if (client === null) return false;
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
      return true;
    });
    expect(await proxy.ready()).toEqual({ ok: true });
  });

  test('while a client waits beside a server that still works is not asked again and again', async () => {
    const network = await startFlakyNetwork(database);
    onTestFinished(() => network.close());
    const proxy = await testProxy(
      { ...database, port: network.port, host: network.host },
      {
        poolSize: 2,
        pgbouncer: { server_login_retry: 60, query_wait_timeout: 1 },
        tviews: { refresh: 'off' },
      },
    );
    const holder = await open(proxy);
    await holder.query('BEGIN');
    network.refuseNewConnections();
    await expect((await open(proxy)).query('SELECT 1')).rejects.toMatchObject({
      message: 'query_wait_timeout',
    });
    expect(network.refused).toBe(1);
    expect((await holder.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  test('is not asked again and again while it is known to be down', async () => {
    const attempts: Socket[] = [];
    const broken: Server = createServer((socket) => {
      attempts.push(socket);
      socket.destroy();
    }).listen(0, '127.0.0.1');
    await once(broken, 'listening');
    onTestFinished(() => void broken.close());
    const { port } = broken.address() as { port: number };
    const proxy = await testProxy(
      { ...database, port, host: '127.0.0.1' },
      { pgbouncer: { server_login_retry: 60 }, tviews: { refresh: 'off' } },
    );
    for (let round = 0; round < 5; round += 1)
      await expect(open(proxy)).rejects.toMatchObject({ severity: 'FATAL' });
    expect(attempts).toHaveLength(1);
  });
});

test('a client that sends garbage for a startup packet is closed and disturbs nobody', async () => {
  const proxy = await testProxy(database, { poolSize: 1 });
  const client = await open(proxy);
  const { connect } = await import('node:net');
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.alloc(8, 0xff),
    startupMessage(new Map()).subarray(0, 6),
  ]) {
    const socket = connect(proxy.port, '127.0.0.1');
    socket.resume();
    socket.end(bytes);
    await once(socket, 'close');
  }
  expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  expect(await metric(proxy.metrics, 'tviews_client_logins_total')).toBe(1);
});
