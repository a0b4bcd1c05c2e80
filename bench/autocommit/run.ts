/**
 * What a single write outside a transaction costs: with the flush left to the database (the fallback), and with a
 * transaction and a claim put around it as `autocommit_writes = wrap` would (BEGIN, claim and the write in one packet,
 * flush and COMMIT in a second). Decides that setting's default.
 */
import { parseArgs } from 'node:util';
import { createShop, fillShop } from '../../src/cli/demo/shop.ts';
import { type Claim, claimOf } from '../kit/claimed.ts';
import { BenchClient, prepared, type Step, simple, together } from '../kit/client.ts';
import { type Circumstances, circumstances } from '../kit/machine.ts';
import { startBenchProxy } from '../kit/proxy.ts';
import { rounded, type Summary, summarise } from '../kit/samples.ts';
import { serverSettings, startBenchServer } from '../kit/server.ts';
import { divergentRows, installTviews } from '../refresh/contenders.ts';

export interface AutocommitRow {
  readonly contender: string;
  readonly connections: number;
  readonly ms: Summary;
  readonly transactionsPerSecond: number;
}

export interface AutocommitResult {
  readonly circumstances: Circumstances;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly divergent: number;
  readonly rows: readonly AutocommitRow[];
}

interface Contender {
  readonly name: string;
  readonly database: 'base' | 'tviews';
  readonly route: 'direct' | 'proxy';
  one(client: BenchClient, write: Step, claim: Claim): Promise<void>;
}

const begin = simple('BEGIN');
const commit = simple('COMMIT');
const plainly = async (client: BenchClient, write: Step): Promise<void> => {
  await client.run(write);
};
const explicitly = (client: BenchClient, write: Step): Promise<void> => client.runAll([begin, write, commit]);

const contenders: readonly Contender[] = [
  { name: 'the write alone', database: 'base', route: 'direct', one: plainly },
  { name: 'the write alone, through the proxy', database: 'base', route: 'proxy', one: plainly },
  { name: 'fallback, straight', database: 'tviews', route: 'direct', one: plainly },
  { name: 'fallback, through the proxy', database: 'tviews', route: 'proxy', one: plainly },
  {
    name: 'wrapped in two packets, straight',
    database: 'tviews',
    route: 'direct',
    one: async (client, write, claim) => {
      const answer = await client.run(together(begin, claim.claim, write));
      await client.run(together(claim.flush([answer]), commit));
    },
  },
  {
    name: 'BEGIN … COMMIT by the client, through the proxy',
    database: 'tviews',
    route: 'proxy',
    one: explicitly,
  },
];

export async function run(
  parameters: readonly string[],
  note: (line: string) => void,
): Promise<AutocommitResult> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      scale: { type: 'string', default: '100k' },
      samples: { type: 'string', default: '200' },
      connections: { type: 'string', multiple: true, default: ['1', '8'] },
      'set-up': { type: 'string', default: 'product' },
    },
  });
  const setUp = values['set-up'] === 'all' ? 'all' : 'product';
  const scale = values.scale === '1k' ? '1k' : '100k';
  const server = await startBenchServer();
  const where = circumstances({ postgresql: server.version });
  try {
    note(`shop ${scale}: filling`);
    await server.createDatabase('base');
    const base = await server.connect('base');
    await createShop(base);
    await fillShop(base, scale);
    const [size] = await base.query<{ products: number }>(
      'SELECT count(*)::integer AS products FROM shop.tb_product',
    );
    await base.close();
    await server.createDatabase('tviews', 'base');
    const owner = await server.connect('tviews');
    await installTviews(owner, setUp);
    const claim = await claimOf(owner);
    const proxy = await startBenchProxy(server, { databases: ['base', 'tviews'] });
    const rows: AutocommitRow[] = [];
    for (const connections of values.connections.map(Number)) {
      const runs = await Promise.all(
        contenders.map(async (contender) => {
          const pooler = contender.route === 'proxy' ? proxy : server;
          const clients = await Promise.all(
            Array.from({ length: connections }, () => BenchClient.connect(pooler.url(contender.database))),
          );
          await Promise.all(
            clients.map((client) =>
              client.prepare('write', 'UPDATE shop.tb_product SET current_price = $2 WHERE pk_product = $1'),
            ),
          );
          return { contender, clients, times: [] as number[], seconds: 0 };
        }),
      );
      let next = 1;
      const write = (): Step => {
        next += 1;
        const product = 1 + ((next * 7919) % size!.products);
        return prepared({ name: 'write', values: [String(product), (1 + (next % 4000) / 100).toFixed(2)] });
      };
      // Rounds of a few transactions: short enough to meet the same moments, long enough for all connections to be busy.
      const perRound = 10;
      const rounds = Math.ceil(Number(values.samples) / perRound);
      for (let round = -1; round < rounds; round++) {
        for (const entry of runs) {
          const began = performance.now();
          await Promise.all(
            entry.clients.map(async (client) => {
              for (let i = 0; i < perRound; i++) {
                const step = write();
                const started = performance.now();
                await entry.contender.one(client, step, claim);
                if (round >= 0) entry.times.push(rounded(performance.now() - started));
              }
            }),
          );
          if (round >= 0) entry.seconds += (performance.now() - began) / 1000;
        }
      }
      for (const { contender, clients, times, seconds } of runs) {
        for (const client of clients) client.close();
        const row: AutocommitRow = {
          contender: contender.name,
          connections,
          ms: summarise(times),
          transactionsPerSecond: Math.round(times.length / seconds),
        };
        rows.push(row);
        note(
          `${connections} connections: ${contender.name.padEnd(48)} ${row.ms.median} ms, ${row.transactionsPerSecond}/s`,
        );
      }
    }
    const divergent = await divergentRows(owner, setUp);
    await proxy.stop();
    await owner.close();
    return { circumstances: where, settings: serverSettings, divergent, rows };
  } finally {
    await server.stop();
  }
}
