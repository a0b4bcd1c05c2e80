/** The background verifier: it finds what went stale, says so everywhere an operator looks, and touches nothing. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { renderStatus } from '../../../proxy/http/status-page.ts';
import { statusPage } from '../../../proxy/service.ts';
import type { OwnerConnection } from '../../../proxy/tviews/owner.ts';
import { Verifier } from '../../../proxy/tviews/verifier.ts';
import { readRegistry } from '../../../src/database/list.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import type { Logger } from '../../../src/observe/log.ts';
import { type Blog, freshBlog } from '../../kit/blog.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { testProxy } from '../../kit/proxy.ts';

let blog: Blog;
/** Writes tviews behind our back. */
let vandal: pg.Client;
beforeEach(async () => {
  blog = await freshBlog();
  vandal = await blog.database.client(blog.database.superuser);
  await vandal.query('SET session_replication_role = replica');
});
afterEach(() => blog.database.drop());

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(10);
}

/** A verifier without a proxy around it, and the lines it logs. */
async function verifier(rows: number) {
  const lines: Record<string, unknown>[] = [];
  const log: Logger = pino({ level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const { host, port, name, owner } = blog.database;
  const connection: OwnerConnection = {
    host,
    port,
    database: name,
    user: owner.role,
    password: owner.password,
    connectTimeoutMs: 10_000,
  };
  const registry = await readRegistry(executorOf(blog.owner));
  const names = new Map(registry!.tviews.map((tview) => [tview.id, `${tview.schema}.${tview.name}`]));
  const tables = new Map(registry!.tviews.map((tview) => [tview.id, tview.name]));
  const snapshot = { tviewNames: names, tviewTables: tables, unverified: new Set<number>() };
  const made = new Verifier('blog', connection, () => snapshot, { intervalMs: 1, rows, restFactor: 0 }, log);
  onTestFinished(() => made.close());
  made.start();
  const of = (tview: string) => made.verified().find((one) => one.tview === `public.${tview}`);
  return { of, lines, names, close: () => made.close() };
}

test('a proxy goes round all tviews, finds what differs, and shows it until it is mended', async () => {
  const proxy = await testProxy(blog.database, { tviews: { verify_interval: 1, verify_rows: 1000 } });
  const page = async (): Promise<string> => (await proxy.metrics.scrape()).text;
  const gauge = (tview: string, value: number): string =>
    `tviews_verify_divergent_rows{database="${blog.database.name}",tview="public.${tview}"} ${value}`;
  const passed = (tview: string): number =>
    proxy.verification().find((one) => one.tview === `public.${tview}`)?.lastPassAt ?? 0;
  await until(() => ['tv_post', 'tv_author', 'tv_feed'].every((tview) => passed(tview) > 0));
  expect(await page()).toContain(gauge('tv_post', 0));
  expect(await page()).toMatch(
    /^tviews_verify_last_pass_timestamp_seconds\{[^}]*tview="public.tv_author"\} \d{10}(\.\d+)?$/m,
  );
  expect(await page()).toMatch(/^tviews_verified_rows_total\{[^}]*tview="public.tv_post"\} [1-9]\d*$/m);

  await vandal.query(
    `UPDATE tv_post SET data = '{}' WHERE pk_post IN (3, 19); DELETE FROM tv_post WHERE pk_post = 11`,
  );
  await until(async () => (await page()).includes(gauge('tv_post', 3)));
  // Over a whole pass, and in what people see.
  const since = passed('tv_post');
  await until(() => passed('tv_post') > since);
  expect(await page()).toContain(gauge('tv_post', 3));
  expect(await page()).toContain(gauge('tv_author', 0));
  expect(renderStatus(statusPage(proxy, proxy.metrics))).toMatch(
    /<td>public\.tv_post<\/td><td class="number">\d+<\/td><td class="number">3<\/td><td>\d{4}-\d\d-\d\dT/,
  );
  // It repairs nothing.
  expect(await divergence(vandal, 'public.tv_post')).toEqual({ missing: 1, surplus: 0, different: 2 });
  await blog.owner.query('UPDATE tb_post SET views = views + 1');
  expect(await divergence(vandal, 'public.tv_post')).toEqual(inStep);
  await until(async () => (await page()).includes(gauge('tv_post', 0)));
});

test('is off where it is told to be, and opens no connection', async () => {
  const proxy = await testProxy(blog.database, { tviews: { verify_interval: 0 } });
  expect(proxy.verification()).toEqual([]);
  const { rows } = await vandal.query(
    `SELECT FROM pg_stat_activity WHERE application_name = 'tviews verify' AND datname = current_database()`,
  );
  expect(rows).toEqual([]);
});

test('an alarm is an error in the log with kinds and keys, and no value of a row', async () => {
  await vandal.query(`
    UPDATE tv_post SET data = '{"secret": 1}' WHERE pk_post = 5;
    INSERT INTO tv_post VALUES (500, 1, '{"secret": 2}')`);
  const { lines } = await verifier(1000);
  await until(() => lines.length > 0);
  expect(lines[0]).toMatchObject({
    level: 50,
    database: 'blog',
    tview: 'public.tv_post',
    missing: 0,
    surplus: 1,
    different: 1,
    msg: 'tview public.tv_post differs from its definition: run "tviews verify public.tv_post --repair"',
  });
  expect(lines[0]!.keys).toHaveLength(2);
  expect(lines[0]!.keys).toContainEqual({ kind: 'surplus', key: { pk_post: 500 } });
  expect(JSON.stringify(lines)).not.toContain('secret');
});

test('nothing is found while others write', async () => {
  const { of, lines } = await verifier(3);
  const app = await blog.database.client(blog.database.app);
  await app.query('SELECT');
  for (let n = 0; (of('tv_feed')?.rows ?? 0) < 60; n++) {
    await blog.owner.query(`UPDATE tb_author SET name = 'a${n}' WHERE pk_author = ${1 + (n % 5)}`);
    await blog.owner.query(`DELETE FROM tb_comment WHERE fk_post = ${1 + (n % 20)}`);
    await blog.owner.query(`INSERT INTO tb_comment (fk_post, body) VALUES (${1 + ((n + 3) % 20)}, 'c${n}')`);
  }
  expect(lines).toEqual([]);
  expect(of('tv_post')).toMatchObject({ divergentRows: 0, problem: null });
});

test('a connection that is killed is replaced, and the pass goes on', async () => {
  const { of, lines } = await verifier(2);
  await until(() => (of('tv_post')?.rows ?? 0) >= 4);
  const { rows } = await vandal.query<{ pid: number }>(
    `SELECT pg_terminate_backend(pid), pid FROM pg_stat_activity
     WHERE application_name = 'tviews verify' AND datname = current_database()`,
  );
  expect(rows).toHaveLength(1);
  const before = of('tv_post')!;
  await until(() => (of('tv_post')?.lastPassAt ?? 0) > (before.lastPassAt ?? 0));
  expect(of('tv_post')).toMatchObject({ divergentRows: 0, problem: null });
  expect(lines.filter(({ level }) => level === 50)).toEqual([]);
});

test('a tview that cannot be compared is said once, keeps no other waiting, and is forgotten when it is dropped', async () => {
  const { rows } = await blog.owner.query<{ signature: string }>(
    `SELECT oid::regprocedure AS signature FROM pg_proc WHERE proname LIKE 'compare_tv_author%'`,
  );
  await blog.owner.query(`DROP FUNCTION ${rows[0]!.signature}`);
  const { of, lines, names } = await verifier(1000);
  await until(() => of('tv_author')?.problem != null);
  const since = of('tv_post')?.rows ?? 0;
  await until(() => (of('tv_post')?.rows ?? 0) > since + 100);
  expect(of('tv_author')).toMatchObject({ rows: 0, lastPassAt: null });
  expect(lines.filter(({ tview }) => tview === 'public.tv_author')).toHaveLength(1);
  const [id] = [...names].find(([, name]) => name === 'public.tv_author')!;
  names.delete(id);
  expect(of('tv_author')).toBeUndefined();
});

test('closing waits for nobody', async () => {
  await vandal.query('BEGIN; LOCK TABLE tb_post IN ACCESS EXCLUSIVE MODE');
  const { close } = await verifier(1000);
  await until(async () => {
    const { rows } = await blog.owner.query(
      `SELECT FROM pg_stat_activity
       WHERE application_name = 'tviews verify' AND datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return rows.length === 1;
  });
  await close();
  await vandal.query('COMMIT');
});
