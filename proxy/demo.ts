/**
 * `tviews demo`, what `npm start` runs: a PostgreSQL of its own, a shop with tviews, the proxy in front of it. Everything
 * is real; only the data is made up. Ctrl-C stops it all.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { connect } from '../src/cli/connect.ts';
import { demoDatabase, prepareDatabase } from '../src/cli/demo/database.ts';
import { isTaken, type LocalPostgres, startLocalPostgres } from '../src/cli/demo/local-postgres.ts';
import { preparePlace } from '../src/cli/demo/place.ts';
import { shopTviews } from '../src/cli/demo/shop.ts';
import { startWorkload, type Workload } from '../src/cli/demo/workload.ts';
import { printError } from '../src/cli/terminal.ts';
import { loadSettings } from '../src/config/load.ts';
import { divergentRows, verifyTview } from '../src/database/verify.ts';
import { SqlState, TviewsError } from '../src/errors/errors.ts';
import { createLogger } from '../src/observe/log.ts';
import type { Service } from './service.ts';

interface DemoOptions {
  readonly fresh?: boolean;
  readonly load?: boolean;
  readonly port: number;
  readonly metricsPort: number;
  readonly dataDirectory?: string;
}

/** Relative to the working directory, which npm makes the package's. */
const usualFolder = join('.tviews', 'demo');
const load = { connections: 5, transactionsPerSecond: 50 } as const;

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description('run everything: a local PostgreSQL, a shop with tviews, the proxy and its metrics')
    .option('--fresh', 'forget an earlier demo first')
    .option('--load', 'write to the shop through the proxy, and show what happens')
    .option('--port <port>', 'port of the proxy', parsePort, 6432)
    .option('--metrics-port <port>', 'port of metrics and status page', parsePort, 9127)
    .option('--data-directory <folder>', `where to keep the server's files (default: ${usualFolder})`)
    .action(async (options: DemoOptions) => {
      const demo = new Demo(options);
      const interrupted = stopOnInterrupt();
      try {
        await Promise.race([demo.run(interrupted), interrupted]);
      } catch (error) {
        process.stderr.write(printError(error));
        process.exitCode = 1;
      }
      await demo.stop();
    });
}

async function requireFree(port: number, option: string): Promise<void> {
  if (port === 0 || !(await isTaken(port))) return;
  throw new TviewsError(SqlState.configFileError, `port ${port} is taken by another program`, {
    hint: `Stop that program (another demo?), or choose another port with ${option}.`,
  });
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65535) throw new InvalidArgumentError('It must be between 0 and 65535.');
  return port;
}

/** Settles at the first Ctrl-C (or TERM); the second ends the process at once, and the server's guard ends the server. */
function stopOnInterrupt(): Promise<void> {
  return new Promise((interrupted) => {
    let asked = false;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (asked) process.exit(130);
        asked = true;
        say('\nStopping.');
        interrupted();
      });
    }
  });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

class Demo {
  readonly #options: DemoOptions;
  /** The latest start under way: stop() waits for it, so that nothing is started behind its back. */
  #starting: Promise<unknown> = Promise.resolve();
  #stopped = false;
  #postgres: LocalPostgres | null = null;
  #service: Service | null = null;
  #workload: Workload | null = null;

  constructor(options: DemoOptions) {
    this.#options = options;
  }

  /** Runs until `until`. */
  async run(until: Promise<void>): Promise<void> {
    const { fresh, port, metricsPort, dataDirectory } = this.#options;
    // Before anything is started: a minute of preparations for nothing would be unkind.
    await requireFree(port, '--port');
    await requireFree(metricsPort, '--metrics-port');
    const place = preparePlace(dataDirectory, usualFolder, fresh === true);
    if (place.remark !== null) say(place.remark);
    say(`Starting PostgreSQL in ${place.dataDirectory}`);
    const postgres = await this.#start(
      startLocalPostgres({ ...place, settings: { max_connections: 100 } }),
      (it) => {
        this.#postgres = it;
      },
    );
    const direct = await this.#start(prepareDatabase(postgres.url, say));

    const settings = loadSettings({
      env: {
        ...process.env,
        DATABASE_URL: direct,
        TVIEWS_LISTEN_PORT: String(port),
        TVIEWS_METRICS_PORT: String(metricsPort),
        TVIEWS_POOL_MODE: process.env.TVIEWS_POOL_MODE ?? 'transaction',
        TVIEWS_LOG_LEVEL: process.env.TVIEWS_LOG_LEVEL ?? 'warn',
      },
    });
    const log = createLogger({ level: settings.tviews.log_level, format: settings.tviews.log_format });
    // Loaded here: the other commands need nothing of the proxy.
    const { startService } = await import('./service.ts');
    const service = await this.#start(startService(settings, log), (it) => {
      this.#service = it;
    });
    const through = new URL(direct);
    through.port = String(service.proxy.port);
    say(welcome(through.href, direct, service.http?.port ?? null));
    if (this.#options.load !== true) {
      await until;
      return;
    }
    const workload = await this.#start(startWorkload(through.href, load), (it) => {
      this.#workload = it;
    });
    await Promise.race([this.#report(workload, service, direct), workload.failed, until]);
  }

  async #start<Thing>(starting: Promise<Thing>, keep?: (thing: Thing) => void): Promise<Thing> {
    const kept = starting.then((thing) => {
      keep?.(thing);
      return thing;
    });
    this.#starting = kept;
    const thing = await kept;
    // Interrupted meanwhile: stop() takes it from here.
    if (this.#stopped) await new Promise<never>(() => undefined);
    return thing;
  }

  /** A line about once a second; stale rows are looked for with verify, over a connection that goes round the proxy. */
  async #report(workload: Workload, service: Service, direct: string): Promise<void> {
    const connection = await connect(direct);
    const { metrics } = service;
    const live = process.stdout.isTTY === true;
    const every = live ? 1000 : 5000;
    try {
      let before = { at: performance.now(), committed: 0, rows: metrics.totals.rows };
      let flushes = metrics.flushDuration.cumulative();
      while (!this.#stopped) {
        await sleep(every);
        let stale = 0;
        for (const name of shopTviews) {
          stale += divergentRows(await verifyTview(connection, `shop.${name}`, { rows: 0 }));
        }
        const now = { at: performance.now(), committed: workload.committed, rows: metrics.totals.rows };
        const seconds = (now.at - before.at) / 1000;
        const quantile = (q: number): string => {
          const value = metrics.flushDuration.quantile(q, flushes);
          return value === null ? '–' : `${(value * 1000).toFixed(1)} ms`;
        };
        const line =
          `${((now.committed - before.committed) / seconds).toFixed(0)} transactions/s, ` +
          `${((now.rows - before.rows) / seconds).toFixed(0)} rows refreshed/s, ` +
          `flush p50 ${quantile(0.5)} p99 ${quantile(0.99)}, ${stale} stale rows`;
        if (live) process.stdout.write(`\r\u001b[K${line}`);
        else say(line);
        before = now;
        flushes = metrics.flushDuration.cumulative();
      }
    } finally {
      await connection.close();
    }
  }

  /** What was started last stops first. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#starting.catch(() => undefined);
    for (const stop of [
      () => this.#workload?.stop(),
      () => this.#service?.close(),
      () => this.#postgres?.stop(),
    ]) {
      try {
        await stop();
      } catch (error) {
        process.stderr.write(printError(error));
        process.exitCode = 1;
      }
    }
    // A connection that is still being opened must not keep us.
    process.exit();
  }
}

function welcome(through: string, direct: string, metricsPort: number | null): string {
  return `
The shop is open.
  the proxy    ${through}
  PostgreSQL   ${direct}${
    metricsPort === null
      ? ''
      : `
  metrics      http://127.0.0.1:${metricsPort}/metrics   status page http://127.0.0.1:${metricsPort}/`
  }

Try, with psql or any client, on the proxy:
  SELECT jsonb_pretty(data) FROM shop.tv_product WHERE pk_product = 42;
  UPDATE shop.tb_supplier SET name = 'Renamed' WHERE pk_supplier = 3;
  SELECT data -> 'supplier' FROM shop.tv_product WHERE data -> 'supplier' ->> 'name' = 'Renamed' LIMIT 3;

Database "${demoDatabase}" has ${shopTviews.length} tviews: ${shopTviews.join(', ')}. Ctrl-C stops everything; the data is kept.
`;
}
