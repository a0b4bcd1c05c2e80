/**
 * Where the time of a claimed transaction goes: for the client, message by message as the proxy sends them; in the server,
 * function by function from pg_stat_user_functions. Without the proxy, on one connection. track_functions costs a little
 * itself, so these figures explain the others and do not replace them.
 */
import { parseArgs } from 'node:util';
import type { Connection } from '../../src/cli/connect.ts';
import { createShop, fillShop } from '../../src/cli/demo/shop.ts';
import { claimOf } from '../kit/claimed.ts';
import { type Answer, BenchClient, prepared, type Step, simple } from '../kit/client.ts';
import { type Circumstances, circumstances } from '../kit/machine.ts';
import { median, rounded } from '../kit/samples.ts';
import { serverSettings, startBenchServer } from '../kit/server.ts';
import { byHand, type SetUp } from '../refresh/by-hand.ts';
import { divergentRows, installTviews } from '../refresh/contenders.ts';
import { type Operation, type OperationName, operations, type ShopSize } from '../refresh/operations.ts';

export interface FunctionTime {
  readonly name: string;
  readonly callsPerTransaction: number;
  /** Microseconds per transaction, with and without the functions it calls; means. */
  readonly total: number;
  readonly self: number;
}

export interface Breakdown {
  readonly setUp: SetUp;
  readonly operation: OperationName;
  readonly transactions: number;
  /** Microseconds as the client sees them, medians: a round trip each. */
  readonly client: Readonly<Record<'begin' | 'claim' | 'write' | 'flush' | 'commit', number>>;
  /** Microseconds of the hand-written statements for the same change, as one round trip; median. */
  readonly byHand: number;
  readonly functions: readonly FunctionTime[];
}

export interface BreakdownResult {
  readonly circumstances: Circumstances;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly divergent: number;
  readonly breakdowns: readonly Breakdown[];
}

const steps = ['begin', 'claim', 'write', 'flush', 'commit'] as const;

export async function run(
  parameters: readonly string[],
  note: (line: string) => void,
): Promise<BreakdownResult> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      scale: { type: 'string', default: '100k' },
      samples: { type: 'string', default: '100' },
      'bulk-samples': { type: 'string', default: '12' },
      'set-up': { type: 'string', multiple: true, default: ['product', 'all'] },
    },
  });
  const server = await startBenchServer({ track_functions: 'all' });
  const where = circumstances({ postgresql: server.version });
  const breakdowns: Breakdown[] = [];
  let divergent = 0;
  try {
    note(`shop ${values.scale}: filling`);
    await server.createDatabase('bench_template');
    const template = await server.connect('bench_template');
    await createShop(template);
    await fillShop(template, values.scale === '1k' ? '1k' : '100k');
    const [shop] = await template.query<ShopSize & Record<string, unknown>>(
      `SELECT
         (SELECT count(*)::integer FROM shop.tb_category) AS categories,
         (SELECT count(*)::integer FROM shop.tb_supplier) AS suppliers,
         (SELECT count(*)::integer FROM shop.tb_product) AS products`,
    );
    await template.close();
    for (const setUp of ['product', 'all'] as const) {
      if (!values['set-up'].includes(setUp)) continue;
      await server.createDatabase(setUp, 'bench_template');
      const owner = await server.connect(setUp);
      await installTviews(owner, setUp);
      const superuser = await server.connect(setUp, 'postgres');
      for (const operation of operations) {
        const samples = Number(operation.size === 'row' ? values.samples : values['bulk-samples']);
        const client = await BenchClient.connect(server.url(setUp));
        const found = await breakDown({ owner, superuser, client, setUp, operation, shop: shop!, samples });
        client.close();
        breakdowns.push(found);
        const { client: seen } = found;
        note(
          `${setUp}: ${operation.name.padEnd(16)} ` +
            `${steps.map((step) => `${step} ${seen[step]}`).join('  ')}  by hand ${found.byHand}`,
        );
        for (const { name, total, self } of found.functions) {
          note(`    ${name.padEnd(30)} ${String(total).padStart(9)} µs, ${self} itself`);
        }
      }
      divergent += await divergentRows(owner, setUp);
      await owner.close();
      await superuser.close();
    }
    return {
      circumstances: where,
      settings: { ...serverSettings, track_functions: 'all' },
      divergent,
      breakdowns,
    };
  } finally {
    await server.stop();
  }
}

interface Stage {
  readonly owner: Connection;
  readonly superuser: Connection;
  readonly client: BenchClient;
  readonly setUp: SetUp;
  readonly operation: Operation;
  readonly shop: ShopSize;
  readonly samples: number;
}

const warmUp = 5;

async function breakDown(stage: Stage): Promise<Breakdown> {
  const { owner, superuser, client, setUp, operation, shop, samples } = stage;
  const { claim, flush } = await claimOf(owner);
  const hand = byHand(operation.name, setUp);
  await client.prepare('write', operation.write.sql);
  for (const [i, { sql }] of hand.entries()) await client.prepare(`hand${i}`, sql);
  const times: Record<(typeof steps)[number], number[]> = {
    begin: [],
    claim: [],
    write: [],
    flush: [],
    commit: [],
  };
  const handTimes: number[] = [];
  const timed = async (into: number[], sample: number, step: Step): Promise<Answer> => {
    const started = performance.now();
    const answer = await client.run(step);
    if (sample >= warmUp) into.push((performance.now() - started) * 1000);
    return answer;
  };
  for (let sample = 0; sample < warmUp + samples; sample++) {
    if (sample === warmUp) {
      await client.run(reportStatistics);
      await superuser.query('SELECT pg_catalog.pg_stat_reset()');
    }
    const write = prepared({ name: 'write', values: operation.write.values(sample, shop) });
    await timed(times.begin, sample, simple('BEGIN'));
    await timed(times.claim, sample, claim);
    const answer = await timed(times.write, sample, write);
    await timed(times.flush, sample, flush([answer]));
    await timed(times.commit, sample, simple('COMMIT'));
  }
  await client.run(reportStatistics);
  const functions = await superuser.query<{ name: string; calls: number; total: number; self: number }>(
    `SELECT funcname AS name, calls::float8 AS calls, total_time AS total, self_time AS self
     FROM pg_catalog.pg_stat_user_functions WHERE schemaname = 'tviews' AND calls > 0 ORDER BY total_time DESC`,
  );
  // The floor: the same change once more, inside a transaction that is rolled back.
  await client.run(simple(`SET tviews.flushing = 'on'`));
  for (let sample = 0; sample < warmUp + samples; sample++) {
    const other = warmUp + samples + sample;
    await client.run(simple('BEGIN'));
    await client.run(prepared({ name: 'write', values: operation.write.values(other, shop) }));
    const calls = hand.map(({ values }, i) => ({ name: `hand${i}`, values: values(other, shop) }));
    await timed(handTimes, sample, prepared(...calls));
    await client.run(simple('ROLLBACK'));
  }
  const perTransaction = (value: number): number => rounded(value / samples);
  return {
    setUp,
    operation: operation.name,
    transactions: samples,
    client: Object.fromEntries(
      steps.map((step) => [step, Math.round(median(times[step]))]),
    ) as Breakdown['client'],
    byHand: Math.round(median(handTimes)),
    functions: functions.map(({ name, calls, total, self }) => ({
      name,
      callsPerTransaction: perTransaction(calls),
      total: perTransaction(total * 1000),
      self: perTransaction(self * 1000),
    })),
  };
}

/** Otherwise a session hands its statistics over when it has been idle for ten seconds (PGSTAT_IDLE_INTERVAL). */
const reportStatistics = simple('SELECT pg_catalog.pg_stat_force_next_flush()');
