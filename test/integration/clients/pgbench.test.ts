/** pgbench in its three protocols: its transactions are claimed, and a tview over its tables stays in step. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { applyText } from '../../kit/blog.ts';
import { metric } from '../../kit/clients.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { isLong } from '../../kit/effort.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { hasProgram, runProgram } from '../../kit/programs.ts';
import { testProxy } from '../../kit/proxy.ts';

const transactions = isLong ? 1000 : 15;

describe.skipIf(!hasProgram('pgbench'))('pgbench', () => {
  let database: FreshDatabase;
  beforeAll(async () => {
    database = await freshDatabase();
    const made = await runProgram('pgbench', ['-i', '-q', '-s', '1'], database.owner.url);
    expect(made.exitCode, made.stderr).toBe(0);
    const owner = await database.client();
    await init(executorOf(owner));
    await applyText(
      owner,
      `CREATE TVIEW tv_branch WITH (key = 'bid') AS
       SELECT b.bid, jsonb_build_object('balance', b.bbalance,
         'tellers', (SELECT jsonb_agg(t.tbalance ORDER BY t.tid) FROM pgbench_tellers t WHERE t.bid = b.bid)) AS data
       FROM pgbench_branches b;`,
    );
  });
  afterAll(() => database.drop());

  for (const poolMode of ['transaction', 'session'] as const) {
    test.for(['simple', 'extended', 'prepared'])(`-M %s in ${poolMode} mode`, async (protocol) => {
      const proxy = await testProxy(database, { poolMode, poolSize: 3 });
      const clients = poolMode === 'session' ? '3' : '6';
      const result = await runProgram(
        'pgbench',
        ['-n', '-M', protocol, '-c', clients, '-j', clients, '-t', String(transactions)],
        proxy.url(database.owner),
      );
      expect(result.exitCode, result.stderr).toBe(0);
      const all = Number(clients) * transactions;
      expect(result.stdout).toContain(`number of transactions actually processed: ${all}/${all}`);
      expect(await metric(proxy.metrics, 'tviews_flushes_total', 'trigger="commit"')).toBe(all);
      expect(await metric(proxy.metrics, 'tviews_flushes_total')).toBe(all);
      expect(await divergence(await database.client(), 'public.tv_branch')).toEqual(inStep);
    });

    test(`-S, reads only, costs no claim in ${poolMode} mode`, async () => {
      const proxy = await testProxy(database, { poolMode, poolSize: 3 });
      const result = await runProgram(
        'pgbench',
        ['-n', '-S', '-M', 'prepared', '-c', '3', '-t', '50'],
        proxy.url(database.owner),
      );
      expect(result.exitCode, result.stderr).toBe(0);
      expect(await metric(proxy.metrics, 'tviews_flushes_total')).toBe(0);
    });
  }
});
