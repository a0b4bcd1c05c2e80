/**
 * A client vanishes with COMMIT in flight, or the network does, at every step there and back. It cannot know what became
 * of its transaction; the database does: all of it or nothing, and the tviews exact.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { bind, execute, parse, query, sync } from '../../../proxy/wire/messages/requests.ts';
import { type Blog, freshBlog } from '../../kit/blog.ts';
import { connectTo, until } from '../../kit/clients.ts';
import { commit, expectConnectionLoss, expectWhole, prepareBlog, writeAll } from '../../kit/crash.ts';
import { isLong } from '../../kit/effort.ts';
import { type Cut, type FlakyNetwork, startFlakyNetwork } from '../../kit/flaky-network.ts';
import { testProxy } from '../../kit/proxy.ts';
import { RawClient } from '../../kit/raw-client.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
});
afterAll(() => blog.database.drop());
beforeEach(async () => {
  await prepareBlog(blog);
  await blog.owner.query('GRANT ALL ON ledger TO PUBLIC');
});

interface Way {
  readonly url: string;
  readonly network: FlakyNetwork;
}

function at(login: string, port: number): string {
  const url = new URL(login);
  url.port = String(port);
  return url.href;
}

/** Cuts within the packet meant, at each of some points of its length. @returns how many of them were committed */
async function cutAt(
  { url, network }: Way,
  extended: boolean,
  meant: Pick<Cut, 'matches' | 'answer'>,
): Promise<{ readonly committed: number; readonly partly: number; readonly points: number }> {
  let id = 1000;
  const once = async (bytes: number): Promise<{ length: number; isThere: boolean }> => {
    id += 1;
    const client = await connectTo(url);
    await writeAll(client, id, extended);
    const cut = network.cut({ ...meant, bytes });
    const acknowledged = new Set<number>();
    await commit(client, extended).then(
      ({ command }) => command === 'COMMIT' && acknowledged.add(id),
      (error: unknown) => expectConnectionLoss(error),
    );
    const { length } = await cut;
    await client.end();
    const there = await expectWhole(blog, acknowledged, true);
    return { length, isThere: there.has(id) };
  };
  const first = await once(0);
  const step = Math.max(1, Math.floor(first.length / (isLong ? 40 : 5)));
  const points = [
    ...Array.from({ length: Math.ceil(first.length / step) }, (_, index) => index * step),
    first.length,
  ];
  let committed = 0;
  let partly = 0;
  for (const bytes of points) {
    const { isThere } = await once(bytes);
    if (!isThere) continue;
    committed += 1;
    if (bytes < first.length) partly += 1;
  }
  return { committed, partly, points: points.length };
}

const asked: Pick<Cut, 'matches'> = { matches: (packet) => packet.includes('COMMIT\0') };

for (const extended of [false, true]) {
  describe(`COMMIT in the ${extended ? 'extended' : 'simple'} protocol`, () => {
    const throughProxy = async (where: 'client' | 'server'): Promise<Way> => {
      const toServer = await startFlakyNetwork(blog.database);
      onTestFinished(() => toServer.close());
      const proxy = await testProxy(
        { ...blog.database, host: toServer.host, port: toServer.port },
        { poolSize: 2 },
      );
      if (where === 'server') return { url: proxy.url(blog.database.app), network: toServer };
      const toProxy = await startFlakyNetwork({ host: '127.0.0.1', port: proxy.port });
      onTestFinished(() => toProxy.close());
      return { url: at(blog.database.app.url, toProxy.port), network: toProxy };
    };
    const direct = async (): Promise<Way> => {
      const network = await startFlakyNetwork(blog.database);
      onTestFinished(() => network.close());
      return { url: at(blog.database.app.url, network.port), network };
    };

    test('cut on its way from the client to the proxy', async () => {
      const { partly } = await cutAt(await throughProxy('client'), extended, asked);
      // The proxy sends on what is whole, and Execute is enough: then the Sync behind it may be missing.
      if (!extended) expect(partly).toBe(0);
    });

    test('its answer cut on the way from the proxy to the client: it is committed', async () => {
      const outcome = await cutAt(await throughProxy('client'), extended, { ...asked, answer: true });
      expect(outcome.committed).toBe(outcome.points);
    });

    test("the flush's answer cut on the way from PostgreSQL to the proxy", async () => {
      // Mostly committed: COMMIT came in the same packet. In the extended protocol the proxy may not have sent Sync yet.
      await cutAt(await throughProxy('server'), extended, {
        answer: true,
        // FunctionCallResponse; alone in its packet or before what answers COMMIT.
        matches: (packet) => packet.includes('V'),
      });
    });

    test('cut between the client and PostgreSQL, both ways', async () => {
      const way = await direct();
      await cutAt(way, extended, asked);
      await prepareBlog(blog);
      const outcome = await cutAt(way, extended, { ...asked, answer: true });
      expect(outcome.committed).toBe(outcome.points);
    });

    for (const how of ['vanishes', 'closes its side'] as const) {
      test(`a client that ${how} while the flush waits`, async () => {
        const proxy = await testProxy(blog.database, { poolSize: 1 });
        for (const url of [blog.database.app.url, proxy.url(blog.database.app)]) {
          const locker = await blog.database.client();
          const client = await RawClient.connect(url);
          const write = "UPDATE tb_post SET title = 'vanished' WHERE pk_post = 1";
          for (const text of ['BEGIN', write]) {
            client.send(query(text));
            await client.untilReady();
          }
          await locker.query('BEGIN; LOCK TABLE tv_post IN EXCLUSIVE MODE');
          client.send(
            ...(extended
              ? [parse('', 'COMMIT'), bind({ statement: '' }), execute(), sync]
              : [query('COMMIT')]),
          );
          await until('the flush waits', async () => (await waiting()) === 1);
          if (how === 'vanishes') client.close();
          else client.halfClose();
          // The proxy does not let an abandoned flush keep others waiting; PostgreSQL looks at the socket when it has finished.
          if (url !== blog.database.app.url) {
            await until('the abandoned flush was cancelled', async () => (await waiting()) === 0);
          }
          await locker.query('ROLLBACK');
          await locker.end();
          client.close();
          await expectWhole(blog, new Set(), true);
          const { rows } = await blog.owner.query("SELECT FROM tb_post WHERE title = 'vanished'");
          expect(rows.length, url).toBe(url === blog.database.app.url ? 1 : 0);
          await blog.owner.query("UPDATE tb_post SET title = 'here' WHERE pk_post = 1");
          // Its server is not left behind in the middle of something: the only one serves the next client.
          const next = await RawClient.connect(url);
          for (const text of ['BEGIN', "UPDATE tb_post SET title = 'next' WHERE pk_post = 2", 'COMMIT']) {
            next.send(query(text));
            await next.untilReady();
          }
          next.close();
          await expectWhole(blog, new Set(), true);
        }
      });
    }
  });
}

async function waiting(): Promise<number> {
  const { rows } = await blog.owner.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_locks JOIN pg_stat_activity AS a USING (pid)
     WHERE NOT granted AND a.usename = $1`,
    [blog.database.app.role],
  );
  return rows[0]!.n;
}
