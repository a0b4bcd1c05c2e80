import { expect, test } from 'vitest';
import { declarations } from '../../../src/observe/declarations.ts';
import { Distribution } from '../../../src/observe/distribution.ts';
import { createMetrics } from '../../../src/observe/metrics.ts';

test('a page names every declared metric, with its help', async () => {
  const { text, contentType } = await createMetrics().scrape();
  expect(contentType).toContain('text/plain');
  for (const { name, kind, help } of Object.values(declarations)) {
    expect(text).toContain(`# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`);
  }
  expect(text).toContain('nodejs_eventloop_lag_seconds');
});

test('two processes’ worth of metrics do not share a number', async () => {
  const [one, other] = [createMetrics({ process: false }), createMetrics({ process: false })];
  one.clientLoggedIn();
  expect((await one.scrape()).text).toContain('tviews_client_logins_total 1');
  expect((await other.scrape()).text).toContain('tviews_client_logins_total 0');
});

test('a flush counts its trigger, rows, unchanged rows and keys', async () => {
  const metrics = createMetrics({ process: false, version: '1.2.3' });
  metrics.flushed('commit', 0.002, [
    { tview: 'shop.tv_a', keys: 10, written: 4, deleted: 1, unchanged: 5 },
    { tview: 'shop.tv_b', keys: 1, written: 0, deleted: 0, unchanged: 1 },
  ]);
  metrics.changed('shop.tb_a');
  metrics.changed('shop.tb_a');
  metrics.flushFailed('40001');
  const { text } = await metrics.scrape();
  for (const line of [
    'tviews_flushes_total{trigger="commit"} 1',
    'tviews_refreshed_rows_total{tview="shop.tv_a",op="write"} 4',
    'tviews_refreshed_rows_total{tview="shop.tv_a",op="delete"} 1',
    'tviews_noop_rows_total{tview="shop.tv_b"} 1',
    'tviews_refresh_keys_sum 11',
    'tviews_flush_duration_seconds_bucket{le="0.001"} 0',
    'tviews_flush_duration_seconds_bucket{le="0.0025"} 1',
    'tviews_flush_duration_seconds_bucket{le="+Inf"} 1',
    'tviews_flush_duration_seconds_count 1',
    'tviews_changes_total{source="shop.tb_a"} 2',
    'tviews_flush_failures_total{sqlstate="40001"} 1',
    `tviews_build_info{version="1.2.3",node="${process.versions.node}"} 1`,
  ]) {
    expect(text.split('\n')).toContain(line);
  }
  expect(metrics.totals).toEqual({ flushes: 1, rows: 5 });
});

test('what the verifier knows is asked at the scrape, and a tview that is gone is gone', async () => {
  const metrics = createMetrics({ process: false });
  const tview = { database: 'shop', tview: 'shop.tv_a', rows: 1200, divergentRows: 3, problem: null };
  let verified = [{ ...tview, lastPassAt: 1_700_000_000_500 as number | null }];
  metrics.watchVerification(() => verified);
  const labels = '{database="shop",tview="shop.tv_a"}';
  const lines = async () => (await metrics.scrape()).text.split('\n');
  for (const _ of [1, 2]) {
    for (const line of [
      `tviews_verify_divergent_rows${labels} 3`,
      `tviews_verified_rows_total${labels} 1200`,
      `tviews_verify_last_pass_timestamp_seconds${labels} 1700000000.5`,
    ]) {
      expect(await lines()).toContain(line);
    }
  }
  verified = [{ ...tview, lastPassAt: null }];
  expect(await lines()).not.toContainEqual(expect.stringMatching(/^tviews_verify_last_pass.*tv_a/));
  verified = [];
  expect(await lines()).not.toContainEqual(expect.stringContaining('tv_a'));
});

test('pools are asked at the scrape, and the pools of one database added up', async () => {
  const metrics = createMetrics({ process: false });
  const snapshot = { database: 'shop', clients: { active: 1, waiting: 2 }, servers: { active: 1, idle: 3 } };
  metrics.watchPools(() => [snapshot, snapshot]);
  metrics.timesOf('shop').query.observe(0.3);
  for (const _ of [1, 2]) {
    const { text } = await metrics.scrape();
    expect(text).toContain('tviews_clients{database="shop",state="waiting"} 4');
    expect(text).toContain('tviews_servers{database="shop",state="idle"} 6');
    expect(text).toContain('tviews_query_seconds_bucket{le="0.5",database="shop"} 1');
    expect(text).toContain('tviews_query_seconds_sum{database="shop"} 0.3');
  }
});

test('a quantile lies within its bucket, and of an interval only what came in it counts', () => {
  const distribution = new Distribution([1, 10, 100]);
  expect(distribution.quantile(0.5)).toBeNull();
  for (let i = 0; i < 100; i++) distribution.observe(5);
  expect(distribution.quantile(0.5)).toBeCloseTo(5.5);
  const before = distribution.cumulative();
  distribution.observe(50);
  expect(distribution.quantile(0.99, before)).toBeGreaterThan(10);
  expect(distribution.count).toBe(101);
});
