/**
 * The refresh benchmark: every contender does the same writes to the same shop, sample by sample in turn, so that whatever
 * else the machine does meets all of them; after each operation the tv_ tables must equal their definitions.
 */
import { parseArgs } from 'node:util';
import type { Connection } from '../../src/cli/connect.ts';
import { createShop, fillShop, type ShopScale } from '../../src/cli/demo/shop.ts';
import { BenchClient } from '../kit/client.ts';
import { type Circumstances, circumstances } from '../kit/machine.ts';
import { type PoolerProcess, startBenchProxy } from '../kit/proxy.ts';
import { median, rounded, type Summary, summarise } from '../kit/samples.ts';
import { type BenchServer, serverSettings, startBenchServer } from '../kit/server.ts';
import type { SetUp } from './by-hand.ts';
import { type Contender, type ContenderName, contenders, divergentRows, prepareCalls } from './contenders.ts';
import { type Operation, type OperationName, operations, type ShopSize } from './operations.ts';

export interface RefreshCell {
  readonly scale: ShopScale;
  readonly setUp: SetUp;
  readonly operation: OperationName;
  readonly contender: ContenderName;
  /** Milliseconds from the first byte sent to the last ReadyForQuery. */
  readonly ms: Summary;
  /** Bytes of WAL, median. */
  readonly wal: number;
  /** Rows that differed from the definition afterwards; anything but 0 makes the cell void. Null: it keeps none. */
  readonly divergent: number | null;
}

export interface RefreshResult {
  readonly circumstances: Circumstances;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly cells: readonly RefreshCell[];
}

interface Options {
  readonly scales: readonly ShopScale[];
  readonly setUps: readonly SetUp[];
  readonly operations: readonly Operation[];
  readonly contenders: readonly Contender[];
  readonly samples: { readonly row: number; readonly bulk: number; readonly slow: number };
  /** A contender that has used up so many milliseconds in a cell gets no more samples there, once it has three. */
  readonly budgetMs: number;
}

/** Before measuring: prepared statements are planned anew five times before PostgreSQL considers a generic plan. */
const warmUp = { row: 8, bulk: 6, slow: 0 } as const;

function readOptions(parameters: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      scale: { type: 'string', multiple: true, default: ['1k', '100k'] },
      'set-up': { type: 'string', multiple: true, default: ['product', 'all'] },
      operation: { type: 'string', multiple: true },
      contender: { type: 'string', multiple: true },
      samples: { type: 'string', default: '40' },
      'bulk-samples': { type: 'string', default: '9' },
      'budget-seconds': { type: 'string', default: '20' },
    },
  });
  return {
    scales: chosen(values.scale, ['1k', '100k', '1m'] as const),
    setUps: chosen(values['set-up'], ['product', 'all'] as const),
    operations: operations.filter(({ name }) => values.operation?.includes(name) ?? true),
    contenders: contenders.filter(({ name }) => values.contender?.includes(name) ?? true),
    samples: { row: Number(values.samples), bulk: Number(values['bulk-samples']), slow: 3 },
    budgetMs: Number(values['budget-seconds']) * 1000,
  };
}

function chosen<Name extends string>(given: readonly string[], known: readonly Name[]): Name[] {
  return given.map((name) => {
    const found = known.find((candidate) => candidate === name);
    if (found === undefined) throw new Error(`"${name}" is none of ${known.join(', ')}`);
    return found;
  });
}

export async function run(
  parameters: readonly string[],
  note: (line: string) => void,
  keep: (result: RefreshResult) => void,
): Promise<RefreshResult> {
  const options = readOptions(parameters);
  const server = await startBenchServer();
  const where = circumstances({ postgresql: server.version });
  const cells: RefreshCell[] = [];
  try {
    for (const scale of options.scales) {
      note(`shop ${scale}: filling`);
      await server.createDatabase('bench_template');
      const template = await server.connect('bench_template');
      await createShop(template);
      await fillShop(template, scale);
      const shop = await sizeOf(template);
      await template.close();
      for (const setUp of options.setUps) {
        cells.push(...(await runSetUp(server, { ...options, scale, setUp, shop, note })));
        keep({ circumstances: where, settings: serverSettings, cells });
      }
      await server.dropDatabase('bench_template');
    }
  } finally {
    await server.stop();
  }
  return { circumstances: where, settings: serverSettings, cells };
}

async function sizeOf(executor: Connection): Promise<ShopSize> {
  const [row] = await executor.query<{ categories: number; suppliers: number; products: number }>(
    `SELECT
       (SELECT count(*)::integer FROM shop.tb_category) AS categories,
       (SELECT count(*)::integer FROM shop.tb_supplier) AS suppliers,
       (SELECT count(*)::integer FROM shop.tb_product) AS products`,
  );
  return row!;
}

interface Stage extends Options {
  readonly scale: ShopScale;
  readonly setUp: SetUp;
  readonly shop: ShopSize;
  readonly note: (line: string) => void;
}

/** A contender with its connection, ready to be measured. */
interface Runner {
  readonly contender: Contender;
  readonly client: BenchClient;
}

async function runSetUp(server: BenchServer, stage: Stage): Promise<RefreshCell[]> {
  for (const { database, install, name } of stage.contenders) {
    stage.note(`shop ${stage.scale}, ${stage.setUp}: installing ${name}`);
    await server.createDatabase(database, 'bench_template');
    const connection = await server.connect(database);
    await install(connection, stage.setUp);
    await connection.close();
  }
  const databases = stage.contenders.map(({ database }) => database);
  const proxy = await startBenchProxy(server, { databases });
  const admin = await server.connect('postgres', 'postgres');
  try {
    const cells: RefreshCell[] = [];
    for (const operation of stage.operations) {
      cells.push(...(await runOperation(server, proxy, admin, stage, operation)));
    }
    return cells;
  } finally {
    await admin.close();
    await proxy.stop();
    for (const database of databases) await server.dropDatabase(database);
  }
}

async function runOperation(
  server: BenchServer,
  proxy: PoolerProcess,
  admin: Connection,
  stage: Stage,
  operation: Operation,
): Promise<RefreshCell[]> {
  for (const { database } of stage.contenders) {
    const connection = await server.connect(database, 'postgres');
    await connection.query('VACUUM');
    await connection.close();
  }
  // The first write to a page after a checkpoint logs all of it: the same for everybody.
  await admin.query('CHECKPOINT');
  const runners: Runner[] = [];
  for (const contender of stage.contenders.filter(({ slow }) => !slow || operation.slowToo)) {
    const { route, database } = contender;
    const client = await BenchClient.connect(route === 'proxy' ? proxy.url(database) : server.url(database));
    for (const [i, { sql }] of contender.statements(operation, stage.setUp).entries()) {
      await client.prepare(`p${i}`, sql);
    }
    runners.push({ contender, client });
  }
  const measured = await interleave(admin, stage, operation, runners);
  const cells: RefreshCell[] = [];
  for (const { contender, client } of runners) {
    client.close();
    const { ms, wal } = measured.get(contender.name)!;
    const divergent = contender.keeps ? await countDivergent(server, contender, stage.setUp) : null;
    const cell: RefreshCell = {
      scale: stage.scale,
      setUp: stage.setUp,
      operation: operation.name,
      contender: contender.name,
      ms: summarise(ms),
      wal: Math.round(median(wal)),
      divergent,
    };
    cells.push(cell);
    stage.note(
      `shop ${stage.scale}, ${stage.setUp}: ${operation.name.padEnd(16)} ${contender.name.padEnd(22)}` +
        `${cell.ms.median.toFixed(3).padStart(10)} ms${(divergent ?? 0) > 0 ? `  VOID: ${divergent} rows differ` : ''}`,
    );
  }
  return cells;
}

async function countDivergent(server: BenchServer, contender: Contender, setUp: SetUp): Promise<number> {
  const connection = await server.connect(contender.database);
  const rows = await divergentRows(connection, setUp);
  await connection.close();
  return rows;
}

/** One sample of each contender in turn, in an order that rotates: nobody always follows the same neighbour. */
async function interleave(
  admin: Connection,
  stage: Stage,
  operation: Operation,
  runners: readonly Runner[],
): Promise<Map<ContenderName, { ms: number[]; wal: number[] }>> {
  const { setUp, shop } = stage;
  const measured = new Map(
    runners.map(({ contender }) => [contender.name, { ms: [] as number[], wal: [] as number[] }]),
  );
  const longest = warmUp[operation.size] + stage.samples[operation.size];
  for (let sample = 0; sample < longest; sample++) {
    for (let turn = 0; turn < runners.length; turn++) {
      const { contender, client } = runners[(turn + sample) % runners.length]!;
      const kind = contender.slow ? 'slow' : operation.size;
      const { ms, wal } = measured.get(contender.name)!;
      if (sample >= warmUp[kind] + stage.samples[kind]) continue;
      if (ms.length >= 3 && ms.reduce((sum, value) => sum + value, 0) > stage.budgetMs) continue;
      const steps = contender.script(
        prepareCalls(contender.statements(operation, setUp), sample, shop),
        setUp,
      );
      const from = await walPosition(admin);
      const started = performance.now();
      await client.runAll(steps);
      const taken = performance.now() - started;
      if (sample < warmUp[kind]) continue;
      ms.push(rounded(taken));
      wal.push((await walPosition(admin)) - from);
    }
  }
  return measured;
}

async function walPosition(admin: Connection): Promise<number> {
  const [row] = await admin.query<{ at: string }>(
    `SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0') AS at`,
  );
  return Number(row!.at);
}
