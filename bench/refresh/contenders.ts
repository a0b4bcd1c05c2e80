/**
 * Who is measured: each has a database of its own, made from the same template, and turns a sample of an operation into
 * the round trips its user would make.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { shopDefinition, shopTviews } from '../../src/cli/demo/shop.ts';
import { applyInTransaction } from '../../src/database/apply.ts';
import type { SqlExecutor } from '../../src/database/executor.ts';
import { init } from '../../src/database/migrate.ts';
import { parseTviewStatements } from '../../src/definition/statement.ts';
import { prepared, type Step, simple } from '../kit/client.ts';
import { byHand, keyOf, type SetUp, tviewsOf } from './by-hand.ts';
import type { Call, Operation, ShopSize } from './operations.ts';

export type ContenderName =
  | 'base'
  | 'base autocommit'
  | 'by hand'
  | 'by hand proxy'
  | 'by hand, one packet'
  | 'row trigger'
  | 'refresh'
  | 'refresh concurrently'
  | 'ours direct'
  | 'ours proxy'
  | 'ours proxy autocommit';

export interface Contender {
  readonly name: ContenderName;
  readonly title: string;
  /** Name of its database. */
  readonly database: string;
  readonly route: 'direct' | 'proxy';
  /** Whether it keeps tv_ tables, which then must equal their definitions. */
  readonly keeps: boolean;
  /** Recomputes everything: a few samples tell. */
  readonly slow: boolean;
  install(executor: SqlExecutor, setUp: SetUp): Promise<void>;
  /** The statements it prepares for an operation, in the order script() names them: p0, p1, … */
  statements(operation: Operation, setUp: SetUp): readonly Call[];
  /** One sample, as round trips. */
  script(calls: readonly PreparedCall[], setUp: SetUp): Step[];
}

export interface PreparedCall {
  readonly name: string;
  readonly values: readonly string[];
}

export function prepareCalls(calls: readonly Call[], sample: number, shop: ShopSize): PreparedCall[] {
  return calls.map(({ values }, i) => ({ name: `p${i}`, values: values(sample, shop) }));
}

const begin = simple('BEGIN');
const commit = simple('COMMIT');

const writeOnly = (operation: Operation): readonly Call[] => [operation.write];
const inTransaction = ([write]: readonly PreparedCall[]): Step[] => [begin, prepared(write!), commit];
const autocommit = ([write]: readonly PreparedCall[]): Step[] => [prepared(write!)];

const defaults = {
  route: 'direct',
  keeps: true,
  slow: false,
  statements: writeOnly,
  script: inTransaction,
} as const;

export const contenders: readonly Contender[] = [
  {
    ...defaults,
    name: 'base',
    title: 'the write alone',
    database: 'bench_base',
    keeps: false,
    install: async () => {},
  },
  {
    ...defaults,
    name: 'base autocommit',
    title: 'the write alone, autocommit',
    database: 'bench_base_autocommit',
    keeps: false,
    install: async () => {},
    script: autocommit,
  },
  {
    ...defaults,
    name: 'by hand',
    title: 'write + hand-written refresh',
    database: 'bench_hand',
    install: (executor, setUp) => installCopies(executor, setUp, 'table'),
    statements: (operation, setUp) => [operation.write, ...byHand(operation.name, setUp)],
    // However many statements the refresh takes, they go out together: an expert does not wait for each.
    script: ([write, ...refresh]) => [begin, prepared(write!), prepared(...refresh), commit],
  },
  {
    ...defaults,
    name: 'by hand proxy',
    title: 'the same, through the proxy as a plain pooler',
    database: 'bench_hand_proxy',
    route: 'proxy',
    install: (executor, setUp) => installCopies(executor, setUp, 'table'),
    statements: (operation, setUp) => [operation.write, ...byHand(operation.name, setUp)],
    script: ([write, ...refresh]) => [begin, prepared(write!), prepared(...refresh), commit],
  },
  {
    ...defaults,
    name: 'by hand, one packet',
    title: 'by hand, pipelined into one round trip',
    database: 'bench_packet',
    install: (executor, setUp) => installCopies(executor, setUp, 'table'),
    statements: (operation, setUp) => [operation.write, ...byHand(operation.name, setUp)],
    // Up to Sync is one transaction.
    script: (calls) => [prepared(...calls)],
  },
  {
    ...defaults,
    name: 'row trigger',
    title: 'row-level PL/pgSQL trigger',
    database: 'bench_row_trigger',
    install: async (executor, setUp) => {
      await installCopies(executor, setUp, 'table');
      await executor.query(sql('row-trigger-product.sql'));
      if (setUp === 'all') await executor.query(sql('row-trigger-others.sql'));
    },
  },
  {
    ...defaults,
    name: 'refresh',
    title: 'REFRESH MATERIALIZED VIEW',
    database: 'bench_refresh',
    slow: true,
    install: (executor, setUp) => installCopies(executor, setUp, 'materialized view'),
    script: (calls, setUp) => [...inTransaction(calls), ...refreshAll(setUp, '')],
  },
  {
    ...defaults,
    name: 'refresh concurrently',
    title: 'REFRESH … CONCURRENTLY',
    database: 'bench_refresh_concurrently',
    slow: true,
    install: (executor, setUp) => installCopies(executor, setUp, 'materialized view'),
    script: (calls, setUp) => [...inTransaction(calls), ...refreshAll(setUp, 'CONCURRENTLY ')],
  },
  {
    ...defaults,
    name: 'ours direct',
    title: 'tviews, straight to PostgreSQL',
    database: 'bench_ours_direct',
    install: installTviews,
  },
  {
    ...defaults,
    name: 'ours proxy',
    title: 'tviews, through the proxy',
    database: 'bench_ours_proxy',
    route: 'proxy',
    install: installTviews,
  },
  {
    ...defaults,
    name: 'ours proxy autocommit',
    title: 'tviews, through the proxy, autocommit',
    database: 'bench_ours_autocommit',
    route: 'proxy',
    install: installTviews,
    script: autocommit,
  },
];

const sql = (name: string): string => readFileSync(join(import.meta.dirname, 'sql', name), 'utf8');

/** As `tviews init` and `tviews apply` do. */
export async function installTviews(executor: SqlExecutor, setUp: SetUp): Promise<void> {
  await init(executor);
  for (const tview of tviewsOf(setUp)) {
    for (const { statement } of await parseTviewStatements(shopDefinition(tview))) {
      if (statement.kind === 'create') await applyInTransaction(executor, statement);
    }
  }
}

/** View and tv_ table without any of our machinery; the table as ours is made: fillfactor, primary key, nothing else. */
export async function installCopies(
  executor: SqlExecutor,
  setUp: SetUp,
  kind: 'table' | 'materialized view',
): Promise<void> {
  for (const tview of tviewsOf(setUp)) {
    const [definition] = await parseTviewStatements(shopDefinition(tview));
    if (definition?.statement.kind !== 'create') throw new Error(`${tview}.sql holds no CREATE TVIEW`);
    const view = tview.replace('tv_', 'v_');
    await executor.query(`CREATE VIEW shop.${view} AS ${definition.statement.query}`);
    if (kind === 'table') {
      await executor.query(`
        CREATE TABLE shop.${tview} WITH (fillfactor = 85) AS TABLE shop.${view};
        ALTER TABLE shop.${tview} ADD PRIMARY KEY (${keyOf[tview]})`);
    } else {
      // CONCURRENTLY needs the index; plain REFRESH has to keep it too, as ours does.
      await executor.query(`
        CREATE MATERIALIZED VIEW shop.${tview} AS TABLE shop.${view};
        CREATE UNIQUE INDEX ON shop.${tview} (${keyOf[tview]})`);
    }
    await executor.query(`ANALYZE shop.${tview}`);
  }
}

function refreshAll(setUp: SetUp, how: string): Step[] {
  return shopTviews
    .filter((tview) => tviewsOf(setUp).includes(tview))
    .map((tview) => simple(`REFRESH MATERIALIZED VIEW ${how}shop.${tview}`));
}

/** Rows that one side has more often than the other, both ways, compared as text: '1.0' and '1.00' differ. */
export async function divergentRows(executor: SqlExecutor, setUp: SetUp): Promise<number> {
  let rows = 0;
  for (const tview of tviewsOf(setUp)) {
    const kept = `SELECT t::text FROM shop.${tview} AS t`;
    const defined = `SELECT v::text FROM shop.${tview.replace('tv_', 'v_')} AS v`;
    const [row] = await executor.query<{ rows: string }>(
      `SELECT count(*) AS rows
       FROM ((${kept} EXCEPT ALL ${defined}) UNION ALL (${defined} EXCEPT ALL ${kept})) AS differing`,
    );
    rows += Number(row!.rows);
  }
  return rows;
}
