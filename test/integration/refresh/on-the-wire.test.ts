/** What a flush costs on the wire: one per transaction, in the packet that carries COMMIT. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bind, execute, parse, query, sync } from '../../../proxy/wire/messages/requests.ts';
import { type Blog, exact, freshBlog } from '../../kit/blog.ts';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';
import { RawClient } from '../../kit/raw-client.ts';
import { roundTrips, type TappedMessage, type WireTap, wireTap } from '../../kit/wire-tap.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
  await blog.owner.query(
    'CREATE TABLE tb_other (id integer PRIMARY KEY, n integer); INSERT INTO tb_other VALUES (1, 0)',
  );
});
afterAll(() => blog.database.drop());

async function tapped(): Promise<{ tap: WireTap; proxy: TestProxy; client: RawClient }> {
  const tap = await wireTap(blog.database.host, blog.database.port, blog.database.app.role);
  const proxy = await testProxy({ ...blog.database, port: tap.port });
  const client = await RawClient.connect(proxy.url(blog.database.app));
  client.send(query('SELECT 1'));
  await client.untilReady();
  tap.take();
  return { tap, proxy, client };
}

const changes = (messages: readonly TappedMessage[]): number =>
  messages.filter(({ type, body, direction }) => direction === '<' && type === 'N' && body.includes('TV001'))
    .length;
const calls = (messages: readonly TappedMessage[]): number =>
  messages.filter(({ type, direction }) => direction === '>' && type === 'F').length;

async function transaction(client: RawClient, statements: readonly string[]): Promise<void> {
  for (const statement of ['BEGIN', ...statements, 'COMMIT']) {
    client.send(query(statement));
    await client.untilReady();
  }
}

test('a flush before COMMIT travels in the packet of the COMMIT and adds no round trip', async () => {
  const { tap, client } = await tapped();
  await transaction(client, ['UPDATE tb_other SET n = n + 1']);
  const without = tap.take();
  await transaction(client, ["UPDATE tb_author SET name = 'wired' WHERE pk_author = 1"]);
  const withFlush = tap.take();
  expect(calls(without)).toBe(0);
  expect(calls(withFlush)).toBe(2); // the claim, the flush
  expect(roundTrips(withFlush)).toBe(roundTrips(without));
  const commit = withFlush.findIndex(
    ({ type, body }) => type === 'Q' && body.toString().startsWith('COMMIT'),
  );
  expect(withFlush[commit - 1]).toMatchObject({ direction: '>', type: 'F', piece: withFlush[commit]!.piece });
  client.close();
  expect(await blog.state()).toEqual(exact);
});

test('nor does one before a COMMIT in the extended protocol', async () => {
  const { tap, client } = await tapped();
  const run = async (text: string) => {
    client.send(parse('', text), bind({ statement: '' }), execute(), sync);
    await client.untilReady();
  };
  for (const text of ['BEGIN', 'UPDATE tb_other SET n = n + 1', 'COMMIT']) await run(text);
  const without = roundTrips(tap.take());
  for (const text of ['BEGIN', "UPDATE tb_author SET name = 'extended' WHERE pk_author = 2", 'COMMIT'])
    await run(text);
  const messages = tap.take();
  expect(calls(messages)).toBe(2);
  expect(roundTrips(messages)).toBe(without);
  client.close();
  expect(await blog.state()).toEqual(exact);
});

test('a flush before a read travels in the packet of the read', async () => {
  const { tap, client } = await tapped();
  await transaction(client, [
    "UPDATE tb_author SET name = 'read' WHERE pk_author = 3",
    'SELECT * FROM tv_author WHERE pk_author = 3',
  ]);
  const messages = tap.take();
  const read = messages.findIndex(({ type, body }) => type === 'Q' && body.toString().startsWith('SELECT'));
  expect(messages[read - 1]).toMatchObject({ direction: '>', type: 'F', piece: messages[read]!.piece });
  client.close();
});

test('a transaction of 1,000 single-row updates is flushed once', async () => {
  const { tap, proxy, client } = await tapped();
  const updates = Array.from(
    { length: 1_000 },
    (_, i) => `UPDATE tb_post SET views = ${i + 1} WHERE pk_post = ${1 + (i % 20)}`,
  );
  await transaction(client, updates);
  const messages = tap.take();
  expect(changes(messages)).toBe(1_000);
  expect(calls(messages)).toBe(2);
  expect(proxy.metrics.totals.flushes).toBe(1);
  client.close();
  expect(await blog.state()).toEqual(exact);
}, 30_000);

test('an update of 1,000 rows fires one trigger and sends one change', async () => {
  const { tap, client } = await tapped();
  await blog.owner.query(
    "INSERT INTO tb_post SELECT 1000 + i, 1 + i % 5, 'bulk' FROM generate_series(1, 1000) i",
  );
  await transaction(client, ['UPDATE tb_post SET views = views + 1 WHERE pk_post > 1000']);
  const messages = tap.take();
  expect(changes(messages)).toBe(1);
  expect(calls(messages)).toBe(2);
  client.close();
  expect(await blog.state()).toEqual(exact);
});

test('a transaction that only reads, or writes what no tview reads, is not touched', async () => {
  const { tap, client } = await tapped();
  await transaction(client, ['SELECT * FROM tv_author', 'INSERT INTO tb_other VALUES (2, 2)', 'SELECT 1']);
  expect(calls(tap.take())).toBe(0);
  client.close();
});

test('an update that changes nothing is no change', async () => {
  const { tap, client } = await tapped();
  await transaction(client, ['UPDATE tb_author SET name = name']);
  expect(changes(tap.take())).toBe(0);
  client.close();
});

test('a change of a column that a tview does not look at is none of its business', async () => {
  const { proxy, client } = await tapped();
  await transaction(client, ['UPDATE tb_post SET views = views + 1 WHERE pk_post = 1']);
  const { text } = await proxy.metrics.scrape();
  expect(text).toContain('tviews_refreshed_rows_total{tview="public.tv_post",op="write"} 1');
  expect(text).toContain('tview="public.tv_feed"');
  expect(text).not.toContain('tview="public.tv_author"');
  // Both kinds of change in one transaction: whoever looks at either is told.
  await transaction(client, [
    'UPDATE tb_post SET views = views + 1 WHERE pk_post = 1',
    'UPDATE tb_post SET fk_author = 1 + fk_author % 5 WHERE pk_post = 2',
  ]);
  expect((await proxy.metrics.scrape()).text).toContain('tview="public.tv_author"');
  client.close();
  expect(await blog.state()).toEqual(exact);
});
