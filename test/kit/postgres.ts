/** A PostgreSQL server for tests: throw-away data directory, free port, nothing synced to disk. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LocalPostgres, startLocalPostgres } from '../../src/cli/demo/local-postgres.ts';

export interface TestPostgres extends LocalPostgres {
  /** Stops the server and removes its files. */
  remove(): Promise<void>;
}

export interface TestPostgresOptions {
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Lines before the default ones of pg_hba.conf, for tests of authentication. */
  readonly hba?: readonly string[];
}

/** Fast, and for data that nobody wants back. */
export const testSettings = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  max_connections: 200,
  max_prepared_transactions: 20,
  shared_buffers: '64MB',
  autovacuum_naptime: '1h',
};

export async function startTestPostgres(options: TestPostgresOptions = {}): Promise<TestPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'tview-proxy-test-'));
  // The server's user has to get through to the data directory inside.
  chmodSync(folder, 0o711);
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const server = await startLocalPostgres({
      ...options,
      dataDirectory: join(folder, 'data'),
      password: 'postgres',
      settings: { ...testSettings, ...options.settings },
    });
    return {
      ...server,
      remove: async () => {
        await server.stop();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}
