/**
 * What it takes to make a tview: deriving and installing a definition of ten tables, and how long a writer is kept waiting while
 * a large one is made, by the statement CREATE TVIEW and by `tviews apply`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Connection } from '../../src/cli/connect.ts';
import { createShop, fillShop, shopDefinition } from '../../src/cli/demo/shop.ts';
import { applyInTransaction } from '../../src/database/apply.ts';
import { dropTview } from '../../src/database/drop.ts';
import { init } from '../../src/database/migrate.ts';
import { applyOnline } from '../../src/database/online-apply.ts';
import { inTransaction } from '../../src/database/session.ts';
import { compileDefinition } from '../../src/definition/compile.ts';
import type { CreateTview } from '../../src/definition/plan.ts';
import { parseTviewStatements } from '../../src/definition/statement.ts';
import { type Circumstances, circumstances } from '../kit/machine.ts';
import { type Summary, summarise } from '../kit/samples.ts';
import { type BenchServer, serverSettings, startBenchServer } from '../kit/server.ts';
import { divergentRows } from '../refresh/contenders.ts';

export interface Made {
  readonly how: string;
  readonly ms: Summary;
}

export interface Waited {
  readonly how: string;
  /** Of the whole making; null where nothing is made. */
  readonly seconds: number | null;
  readonly writes: number;
  /** Milliseconds of one write with its COMMIT. */
  readonly ms: Summary;
  readonly longestMs: number;
}

export interface ApplyResult {
  readonly circumstances: Circumstances;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly tenTables: readonly Made[];
  readonly scale: string;
  readonly waited: readonly Waited[];
  readonly divergent: number;
}

const tenTables = readFileSync(join(import.meta.dirname, 'ten-tables.sql'), 'utf8');

const query = `
  SELECT att.id AS pk_attachment, att.bytes, c.body, t.title, p.name AS project, a.name AS account, w.name AS author,
    (
      SELECT jsonb_agg(l.name ORDER BY l.id) FROM work.task_label AS tl JOIN work.label AS l ON l.id = tl.label_id
      WHERE tl.task_id = t.id
    ) AS labels,
    (
      SELECT count(*) FROM work.membership AS m JOIN work.team AS e ON e.id = m.team_id
      WHERE e.project_id = p.id
    ) AS members
  FROM work.attachment AS att
  JOIN work.comment AS c ON c.id = att.comment_id
  JOIN work.task AS t ON t.id = c.task_id
  JOIN work.project AS p ON p.id = t.project_id
  JOIN work.account AS a ON a.id = p.account_id
  JOIN work.person AS w ON w.id = c.author_id`;

const statement: CreateTview = {
  kind: 'create',
  schema: 'work',
  name: 'tv_attachment',
  ifExists: 'error',
  key: null,
  query,
};

export async function run(parameters: readonly string[], note: (line: string) => void): Promise<ApplyResult> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      samples: { type: 'string', default: '15' },
      scale: { type: 'string', default: '100k' },
    },
  });
  if (values.scale !== '1k' && values.scale !== '100k') throw new Error('--scale is 1k or 100k');
  const server = await startBenchServer();
  const where = circumstances({ postgresql: server.version });
  try {
    const made = await makeOften(server, Number(values.samples), note);
    const { waited, divergent } = await makeBesideWriters(server, values.scale, note);
    return {
      circumstances: where,
      settings: serverSettings,
      tenTables: made,
      scale: values.scale,
      waited,
      divergent,
    };
  } finally {
    await server.stop();
  }
}

/** Each way in turn, so that what the machine does meanwhile falls on all of them. */
async function makeOften(
  server: BenchServer,
  samples: number,
  note: (line: string) => void,
): Promise<Made[]> {
  await server.createDatabase('ten_tables');
  const connection = await server.connect('ten_tables');
  await connection.query(tenTables);
  await init(connection);
  await connection.query(`CREATE VIEW work.v_derived AS ${query}`);
  const drop = async (): Promise<void> => {
    await inTransaction(connection, () =>
      dropTview(connection, { kind: 'drop', schema: 'work', name: 'tv_attachment', ifExists: false }),
    );
  };
  const ways: readonly { how: string; make(): Promise<unknown>; undo?(): Promise<unknown> }[] = [
    {
      how: 'CREATE MATERIALIZED VIEW, with a unique index',
      make: () =>
        connection.query(
          `CREATE MATERIALIZED VIEW work.m AS ${query}; CREATE UNIQUE INDEX ON work.m (pk_attachment)`,
        ),
      undo: () => connection.query('DROP MATERIALIZED VIEW work.m'),
    },
    {
      how: 'deriving alone',
      make: () =>
        inTransaction(connection, async () => {
          await connection.query("SET LOCAL search_path = ''");
          await compileDefinition(connection, {
            view: { schema: 'work', name: 'v_derived' },
            table: { schema: 'work', name: 'tv_derived' },
            key: ['pk_attachment'],
            fullRefresh: [],
            isTview: () => false,
          });
        }),
    },
    { how: 'CREATE TVIEW', make: () => applyInTransaction(connection, statement), undo: drop },
    { how: 'tviews apply', make: () => applyOnline(connection, statement), undo: drop },
  ];
  const times = ways.map((): number[] => []);
  for (let sample = -1; sample < samples; sample++) {
    for (const [i, { make, undo }] of ways.entries()) {
      const begun = performance.now();
      await make();
      if (sample >= 0) times[i]!.push(performance.now() - begun);
      await undo?.();
    }
  }
  await connection.close();
  return ways.map(({ how }, i) => {
    const ms = summarise(times[i]!);
    note(`ten tables: ${how}: ${ms.median} ms`);
    return { how, ms };
  });
}

async function makeBesideWriters(
  server: BenchServer,
  scale: '1k' | '100k',
  note: (line: string) => void,
): Promise<Pick<ApplyResult, 'waited' | 'divergent'>> {
  note(`shop ${scale}: filling`);
  await server.createDatabase('bench_template');
  const template = await server.connect('bench_template');
  await createShop(template);
  await fillShop(template, scale);
  await init(template);
  await template.close();
  const [located] = await parseTviewStatements(shopDefinition('tv_product'));
  const create = { ...(located!.statement as CreateTview), schema: 'shop' };
  const ways: readonly { how: string; make(connection: Connection): Promise<unknown> }[] = [
    { how: 'nothing is made', make: (connection) => connection.query('SELECT pg_sleep(10)') },
    { how: 'CREATE TVIEW', make: (connection) => applyInTransaction(connection, create) },
    { how: 'tviews apply', make: (connection) => applyOnline(connection, create) },
  ];
  const waited: Waited[] = [];
  let divergent = 0;
  for (const [i, { how, make }] of ways.entries()) {
    const database = `beside_${i}`;
    await server.createDatabase(database, 'bench_template');
    const [maker, writer] = [await server.connect(database), await server.connect(database)];
    await maker.query('SET search_path = shop');
    const times: number[] = [];
    let isDone = false;
    const writing = (async () => {
      for (let sample = 0; !isDone; sample++) {
        const begun = performance.now();
        await writer.query(
          'UPDATE shop.tb_product SET current_price = current_price + 1 WHERE pk_product = $1',
          [1 + ((sample * 7919) % 1000)],
        );
        times.push(performance.now() - begun);
      }
    })();
    const begun = performance.now();
    await make(maker);
    const seconds = (performance.now() - begun) / 1000;
    isDone = true;
    await writing;
    if (i > 0) divergent += await divergentRows(maker, 'product');
    const ms = summarise(times);
    const longestMs = Math.round(Math.max(...times) * 10) / 10;
    waited.push({
      how,
      seconds: i === 0 ? null : Math.round(seconds * 10) / 10,
      writes: times.length,
      ms,
      longestMs,
    });
    note(`${how}: ${seconds.toFixed(1)} s, ${times.length} writes, the longest ${longestMs} ms`);
    await maker.close();
    await writer.close();
    await server.dropDatabase(database);
  }
  return { waited, divergent };
}
