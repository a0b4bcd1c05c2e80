/** The proxy as users run it: a process of its own, started with a file of settings. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../src/cli/demo/local-postgres.ts';
import { packageRoot } from '../../src/cli/package.ts';
import { type BenchServer, owner } from './server.ts';

export interface PoolerProcess {
  readonly port: number;
  readonly pid: number;
  url(database: string): string;
  stop(): Promise<void>;
}

export interface ProxyOptions {
  readonly databases: readonly string[];
  readonly poolSize?: number;
  readonly poolMode?: 'session' | 'transaction';
  readonly tviews?: Readonly<Record<string, string | number>>;
}

export async function startBenchProxy(server: BenchServer, options: ProxyOptions): Promise<PoolerProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'tview-proxy-bench-proxy-'));
  const port = await freePort();
  const file = join(folder, 'proxy.ini');
  writeFileSync(
    file,
    `[databases]
${options.databases.map((name) => `${name} = host=127.0.0.1 port=${server.port} dbname=${name}`).join('\n')}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
auth_type = trust
pool_mode = ${options.poolMode ?? 'transaction'}
default_pool_size = ${options.poolSize ?? 20}
max_client_conn = 500
[tviews]
owner_user = ${owner}
metrics_port = 0
log_level = warn
${Object.entries(options.tviews ?? {})
  .map(([name, value]) => `${name} = ${value}\n`)
  .join('')}`,
  );
  const process_ = spawn(process.execPath, [join(packageRoot, 'proxy', 'bin.ts'), 'proxy', file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return await listening(process_, port, folder);
}

/** bench/relay/bare-relay.ts in a process of its own. */
export async function startBareRelay(server: BenchServer): Promise<PoolerProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'tview-proxy-bench-bare-'));
  const port = await freePort();
  const relay = join(packageRoot, 'bench', 'relay', 'bare-relay.ts');
  const process_ = spawn(process.execPath, [relay, String(port), String(server.port)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return await listening(process_, port, folder);
}

/** Waits until the pooler answers at its port. */
export async function listening(pooler: ChildProcess, port: number, folder: string): Promise<PoolerProcess> {
  // An interrupted benchmark leaves nothing behind; PostgreSQL has a guard of its own.
  const kill = (): void => {
    pooler.kill('SIGKILL');
  };
  process.once('exit', kill);
  const stop = async (): Promise<void> => {
    process.off('exit', kill);
    if (pooler.exitCode === null && pooler.signalCode === null) {
      const exited = once(pooler, 'exit');
      // At once: whoever still waits for a client's goodbye would wait for ours.
      pooler.kill('SIGQUIT');
      await exited;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  for (let tries = 0; !(await accepts(port)); tries++) {
    if (pooler.exitCode !== null || tries > 200) {
      await stop();
      throw new Error(`${pooler.spawnargs.join(' ')} did not start`);
    }
    await sleep(50);
  }
  return {
    port,
    pid: pooler.pid!,
    url: (database) => `postgres://${owner}@127.0.0.1:${port}/${database}`,
    stop,
  };
}

async function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
