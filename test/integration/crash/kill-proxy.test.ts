/** The proxy dies, or its connection to PostgreSQL does, at any moment: acknowledged means kept, and nothing is stale. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type Blog, freshBlog } from '../../kit/blog.ts';
import { cutAtCommit, killUnderLoad } from '../../kit/crash.ts';
import { byEffort } from '../../kit/effort.ts';
import { startFlakyNetwork } from '../../kit/flaky-network.ts';
import { testProxy } from '../../kit/proxy.ts';
import { proxyProcess } from '../../kit/proxy-process.ts';
import { seed } from '../../kit/seed.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
});
afterAll(() => blog.database.drop());

const kills = byEffort(6, 15);

// Each proxy has to start, which takes what else the machine does.
test(`kill -9 under load loses nothing that was acknowledged (TVIEWS_TEST_SEED=${seed})`, {
  timeout: 240_000,
}, async () => {
  const proxy = await proxyProcess(blog.database, { poolMode: 'transaction', poolSize: 4 });
  onTestFinished(() => proxy.remove());
  const acknowledged = await killUnderLoad(blog, proxy, { kills, writers: 6, seed });
  expect(acknowledged).toBeGreaterThanOrEqual(kills);
});

for (const extended of [false, true]) {
  test(`a connection that breaks inside flush and COMMIT leaves all or nothing (${extended ? 'extended' : 'simple'} protocol)`, async () => {
    const network = await startFlakyNetwork(blog.database);
    onTestFinished(() => network.close());
    const proxy = await testProxy(
      { ...blog.database, host: network.host, port: network.port },
      { poolSize: 1 },
    );
    // Every part of the packet, and its last bytes one by one.
    const outcome = await cutAtCommit(blog, network, proxy.url(blog.database.app), extended, (length) => [
      ...Array.from({ length: 10 }, (_, index) => Math.floor((length * index) / 10)),
      ...[length - 2, length - 1, length],
    ]);
    expect(outcome.vanished).toBeGreaterThanOrEqual(10);
    // The whole packet arrived and only its answer was lost: nobody was told, and it is committed.
    expect(outcome.committed).toBeGreaterThanOrEqual(1);
  });
}
