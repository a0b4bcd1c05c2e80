/** Finds PgBouncer ($PGBOUNCER or the PATH) and starts it with the settings our proxy is started with. */
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/cli/demo/local-postgres.ts';
import { listening, type PoolerProcess } from '../kit/proxy.ts';
import { type BenchServer, owner } from '../kit/server.ts';

export interface PgBouncer {
  readonly program: string;
  readonly version: string;
  /** Since 1.21 it follows named prepared statements in transaction mode. */
  readonly followsPrepared: boolean;
}

export function findPgBouncer(): PgBouncer | null {
  const program = process.env.PGBOUNCER ?? 'pgbouncer';
  try {
    const text = execFileSync(program, ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [, version = '?', major, minor] = /((\d+)\.(\d+)\S*)/.exec(text) ?? [];
    const followsPrepared = Number(major) > 1 || Number(minor) >= 21;
    return { program, version, followsPrepared };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Nobody's: PgBouncer refuses to run as root. */
const nobody = 65534;

export async function startPgBouncer(
  { program }: PgBouncer,
  server: BenchServer,
  options: { readonly database: string; readonly poolSize: number },
): Promise<PoolerProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'tview-proxy-bench-pgbouncer-'));
  const port = await freePort();
  const file = join(folder, 'pgbouncer.ini');
  const users = join(folder, 'users.txt');
  writeFileSync(users, `"${owner}" ""\n`);
  writeFileSync(
    file,
    `[databases]
${options.database} = host=127.0.0.1 port=${server.port} dbname=${options.database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${users}
pool_mode = transaction
default_pool_size = ${options.poolSize}
max_client_conn = 500
max_prepared_statements = 200
logfile = ${join(folder, 'log')}
log_connections = 0
log_disconnections = 0
`,
  );
  const root = process.getuid?.() === 0;
  if (root) {
    chmodSync(folder, 0o755);
    for (const path of [folder, file, users]) chownSync(path, nobody, nobody);
  }
  const pooler = spawn(program, ['--quiet', file], {
    stdio: ['ignore', 'ignore', 'inherit'],
    ...(root ? { uid: nobody, gid: nobody } : {}),
  });
  return await listening(pooler, port, folder);
}
