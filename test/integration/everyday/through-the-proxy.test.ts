/** Definitions as applications have them, written through the proxy: it claims transactions and flushes them. */
import { expect, test } from 'vitest';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';
import { readExamples } from './example.ts';
import { play } from './play.ts';

test.for(await readExamples())('$name', { timeout: 300_000 }, async (example) => {
  let proxy: TestProxy | undefined;
  await play(example, async (database) => {
    proxy = await testProxy(database, { poolSize: 1 });
    await proxy.ready();
    return await database.client({ ...database.app, url: proxy.url(database.app) });
  });
  expect(proxy!.metrics.totals.rows, 'rows the proxy has flushed').toBeGreaterThan(0);
});
