/**
 * What recording a bulk UPDATE costs: our statement trigger against row-level PL/pgSQL triggers, and how often each fires.
 * Times are the server's own, from EXPLAIN ANALYZE's trigger lines, in transactions that are rolled back.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Connection } from '../../src/cli/connect.ts';
import { createShop, fillShop } from '../../src/cli/demo/shop.ts';
import { type Circumstances, circumstances } from '../kit/machine.ts';
import { rounded, type Summary, summarise } from '../kit/samples.ts';
import { serverSettings, startBenchServer } from '../kit/server.ts';
import { installCopies, installTviews } from '../refresh/contenders.ts';

export interface CaptureRow {
  readonly contender: string;
  readonly rows: number;
  /** Calls of the trigger for the one statement. */
  readonly calls: number;
  /** Milliseconds spent in the trigger. */
  readonly ms: Summary;
  /** Milliseconds of the whole statement. */
  readonly statementMs: Summary;
}

export interface CaptureResult {
  readonly circumstances: Circumstances;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly rows: readonly CaptureRow[];
}

interface Contender {
  readonly name: string;
  readonly database: string;
  /** Name of the trigger that is measured; null: there is none. */
  readonly trigger: string | null;
  prepare(executor: Connection): Promise<void>;
  /** Inside the transaction, before the UPDATE. */
  before(executor: Connection): Promise<void>;
}

const nothing = async (): Promise<void> => {};

const contenders: readonly Contender[] = [
  { name: 'no trigger', database: 'none', trigger: null, prepare: nothing, before: nothing },
  {
    name: 'ours, claimed (to the proxy)',
    database: 'claimed',
    trigger: 'tviews_capture_update',
    prepare: (executor) => installTviews(executor, 'product'),
    before: async (executor) => {
      await executor.query('SELECT tviews.claim(s.value, 2) FROM tviews.secret AS s');
    },
  },
  {
    name: 'ours, unclaimed (to the queue)',
    database: 'queued',
    trigger: 'tviews_capture_update',
    prepare: (executor) => installTviews(executor, 'product'),
    before: nothing,
  },
  {
    name: 'row trigger that records the key',
    database: 'recording',
    trigger: 'record_row',
    prepare: async (executor) => {
      await executor.query(sql('record-row.sql'));
    },
    before: nothing,
  },
  {
    name: 'row trigger that refreshes the row',
    database: 'refreshing',
    trigger: 'product_changed',
    prepare: async (executor) => {
      await installCopies(executor, 'product', 'table');
      await executor.query(
        readFileSync(join(import.meta.dirname, '..', 'refresh', 'sql', 'row-trigger-product.sql'), 'utf8'),
      );
    },
    before: nothing,
  },
];

const sql = (name: string): string => readFileSync(join(import.meta.dirname, name), 'utf8');

export async function run(
  parameters: readonly string[],
  note: (line: string) => void,
): Promise<CaptureResult> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      samples: { type: 'string', default: '15' },
      rows: { type: 'string', multiple: true, default: ['1', '1000', '10000'] },
    },
  });
  const server = await startBenchServer();
  const where = circumstances({ postgresql: server.version });
  try {
    note('shop 100k: filling');
    await server.createDatabase('bench_template');
    const template = await server.connect('bench_template');
    await createShop(template);
    await fillShop(template, '100k');
    await template.close();
    const connections = new Map<Contender, Connection>();
    for (const contender of contenders) {
      await server.createDatabase(contender.database, 'bench_template');
      const connection = await server.connect(contender.database);
      await contender.prepare(connection);
      connections.set(contender, connection);
    }
    const found: CaptureRow[] = [];
    for (const rows of values.rows.map(Number)) {
      const measured = new Map(
        contenders.map((contender) => [
          contender,
          { ms: [] as number[], statement: [] as number[], calls: 0 },
        ]),
      );
      for (let sample = -1; sample < Number(values.samples); sample++) {
        for (const contender of contenders) {
          const seen = await once(connections.get(contender)!, contender, rows, sample);
          if (sample < 0) continue;
          const into = measured.get(contender)!;
          into.ms.push(seen.ms);
          into.statement.push(seen.statement);
          into.calls = seen.calls;
        }
      }
      for (const [{ name }, { ms, statement, calls }] of measured) {
        found.push({ contender: name, rows, calls, ms: summarise(ms), statementMs: summarise(statement) });
        note(`${rows} rows: ${name.padEnd(36)} ${calls} calls, ${summarise(ms).median} ms`);
      }
    }
    for (const connection of connections.values()) await connection.close();
    return { circumstances: where, settings: serverSettings, rows: found };
  } finally {
    await server.stop();
  }
}

interface Explained {
  readonly 'Execution Time': number;
  readonly Triggers: readonly {
    readonly 'Trigger Name': string;
    readonly Time: number;
    readonly Calls: number;
  }[];
}

async function once(
  connection: Connection,
  contender: Contender,
  rows: number,
  sample: number,
): Promise<{ ms: number; statement: number; calls: number }> {
  const first = 1 + (((sample + 1) * 10_000) % 90_000);
  await connection.query('BEGIN');
  await contender.before(connection);
  const [row] = await connection.query<{ 'QUERY PLAN': readonly Explained[] }>(
    `EXPLAIN (ANALYZE, FORMAT JSON)
     UPDATE shop.tb_product SET current_price = current_price + 1
     WHERE pk_product BETWEEN ${first} AND ${first + rows - 1}`,
  );
  await connection.query('ROLLBACK');
  const plan = row!['QUERY PLAN'][0]!;
  const trigger = plan.Triggers.find((one) => one['Trigger Name'] === contender.trigger);
  return { ms: rounded(trigger?.Time ?? 0), statement: plan['Execution Time'], calls: trigger?.Calls ?? 0 };
}
