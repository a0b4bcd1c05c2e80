/** `tviews status`: whether schema tviews is there and what it holds, in a few lines. */
import type { Command } from 'commander';
import { loadRegistry } from '../../database/registry.ts';
import { onDatabase } from '../database-command.ts';
import type { Surroundings } from '../terminal.ts';

interface Facts {
  readonly database: string;
  readonly server: string;
  readonly owner: string;
  readonly migration: number;
  readonly queued: number;
}

export function addStatus(program: Command, surroundings: Surroundings): void {
  onDatabase(
    program.command('status').description('show what is installed in a database'),
    surroundings,
    async (connection) => {
      // First: it says so when nothing is installed.
      const { tviews, sources } = await loadRegistry(connection);
      const [facts] = await connection.query<Facts>(`
        SELECT pg_catalog.current_database() AS database,
               pg_catalog.current_setting('server_version') AS server,
               (SELECT nspowner::regrole::text FROM pg_catalog.pg_namespace WHERE nspname = 'tviews') AS owner,
               (SELECT max(number) FROM tviews.migration) AS migration,
               (SELECT count(*)::int FROM tviews.queue) AS queued
      `);
      const { database, server, owner, migration, queued } = facts!;
      return {
        data: { ...facts, tviews: tviews.length, sources: sources.length },
        lines: [
          `database   ${database}, PostgreSQL ${server}`,
          `schema     tviews, owned by ${owner}, migration ${migration}`,
          `tviews     ${tviews.length}, of ${sources.length} sources`,
          // Committed rows in the queue would be changes whose flush never ran.
          `queue      ${queued === 0 ? 'empty' : `${queued} rows that no flush took: run "tviews verify"`}`,
        ],
        ok: queued === 0,
      };
    },
  );
}
