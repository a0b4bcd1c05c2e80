/** The proxy as users run it: a process of its own, which a test may kill at any moment and start again on the same port. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FreshDatabase, Login } from './database.ts';
import { proxyFile, type TestProxyOptions } from './proxy.ts';

export interface ProxyProcess {
  readonly port: number;
  /** The URL of a login, through the proxy. */
  url(login: Login): string;
  /** Resolves when it listens. */
  start(): Promise<void>;
  /** kill -9. Resolves when the process is gone. */
  kill(): Promise<void>;
  /** Kills it, if it runs, and removes its files. */
  remove(): Promise<void>;
}

const program = new URL('../../proxy/bin.ts', import.meta.url).pathname;

export async function proxyProcess(
  database: FreshDatabase,
  options: TestProxyOptions = {},
): Promise<ProxyProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'tview-proxy-process-'));
  const port = await freePort();
  const file = join(folder, 'tviews.ini');
  const users = join(folder, 'userlist.txt');
  const logins = [database.owner, database.app];
  writeFileSync(users, logins.map(({ role, password }) => `"${role}" "${password}"\n`).join(''), {
    mode: 0o600,
  });
  writeFileSync(
    file,
    proxyFile(database, {
      ...options,
      pgbouncer: { listen_port: port, auth_file: users, ...options.pgbouncer },
      tviews: { metrics_port: 0, log_format: 'json', ...options.tviews },
    }),
  );
  let child: ChildProcess | null = null;
  const kill = async (): Promise<void> => {
    const running = child;
    child = null;
    if (running === null || running.exitCode !== null || running.signalCode !== null) return;
    const gone = once(running, 'exit');
    running.kill('SIGKILL');
    await gone;
  };
  return {
    port,
    url: (login) => {
      const url = new URL(login.url);
      url.hostname = '127.0.0.1';
      url.port = String(port);
      return url.href;
    },
    start: async () => {
      const started = spawn(process.execPath, [program, 'proxy', file], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      child = started;
      let log = '';
      await new Promise<void>((resolve, reject) => {
        started.stderr.setEncoding('utf8').on('data', (text: string) => {
          if (log.length < 10_000) log += text;
          if (log.includes('"listening"')) resolve();
        });
        started.once('error', reject);
        started.once('exit', () => reject(new Error(`the proxy ended: ${log}`)));
      });
    },
    kill,
    remove: async () => {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A port nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
