/** A server that takes connections and says nothing: the proxy neither waits for it for ever nor gives it up for ever. */
import { expect, onTestFinished, test } from 'vitest';
import { freshBlog } from '../../kit/blog.ts';
import { connectTo, until } from '../../kit/clients.ts';
import { startFlakyNetwork } from '../../kit/flaky-network.ts';
import { testProxy } from '../../kit/proxy.ts';

test('the proxy starts beside a mute server, and reads the registry when it speaks', async () => {
  const blog = await freshBlog();
  onTestFinished(() => blog.database.drop());
  const network = await startFlakyNetwork(blog.database);
  onTestFinished(() => network.close());
  network.holdNewConnections();
  const proxy = await testProxy(
    { ...blog.database, host: network.host, port: network.port },
    { pgbouncer: { server_connect_timeout: 1, server_login_retry: 0 } },
  );
  expect((await proxy.ready()).ok).toBe(true);
  network.letGo();
  const client = await connectTo(proxy.url(blog.database.app));
  // Claimed, as soon as it has: a transaction reads its own writes.
  await until('the registry is read', async () => {
    await client.query('BEGIN');
    await client.query("UPDATE tb_post SET title = 'seen' WHERE pk_post = 1");
    const { rows } = await client.query<{ title: string }>(
      "SELECT data->>'title' AS title FROM tv_post WHERE pk_post = 1",
    );
    await client.query('ROLLBACK');
    return rows[0]!.title === 'seen';
  });
  await client.end();
});
