/** As test/integration/crash, for longer: `npx vitest run --project chaos`, TVIEWS_TEST_EFFORT=long for the whole of it. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type Blog, freshBlog } from '../kit/blog.ts';
import { cutAtCommit, killUnderLoad } from '../kit/crash.ts';
import { byEffort } from '../kit/effort.ts';
import { startFlakyNetwork } from '../kit/flaky-network.ts';
import { testProxy } from '../kit/proxy.ts';
import { proxyProcess } from '../kit/proxy-process.ts';
import { seed } from '../kit/seed.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
});
afterAll(() => blog.database.drop());

for (const poolMode of ['transaction', 'session'] as const) {
  test(`kill -9 under load in ${poolMode} mode loses nothing that was acknowledged (TVIEWS_TEST_SEED=${seed})`, async () => {
    const proxy = await proxyProcess(blog.database, { poolMode, poolSize: 8 });
    onTestFinished(() => proxy.remove());
    const kills = byEffort(30, 30, 200);
    expect(await killUnderLoad(blog, proxy, { kills, writers: 8, seed })).toBeGreaterThanOrEqual(kills);
  });

  for (const extended of [false, true]) {
    test(`cut after every byte of flush and COMMIT: all or nothing (${extended ? 'extended' : 'simple'} protocol, ${poolMode} mode)`, async () => {
      const network = await startFlakyNetwork(blog.database);
      onTestFinished(() => network.close());
      const proxy = await testProxy(
        { ...blog.database, host: network.host, port: network.port },
        { poolMode, poolSize: 1 },
      );
      const step = byEffort(5, 5, 1);
      const { committed } = await cutAtCommit(
        blog,
        network,
        proxy.url(blog.database.app),
        extended,
        (length) => [...Array.from({ length: Math.ceil(length / step) }, (_, index) => index * step), length],
      );
      expect(committed).toBeGreaterThanOrEqual(1);
    });
  }
}
