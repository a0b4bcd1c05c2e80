/** `tviews uninstall [--cascade]`: takes schema tviews away. */
import type { Command } from 'commander';
import { uninstall } from '../../database/migrate.ts';
import { onDatabase } from '../database-command.ts';
import type { Surroundings } from '../terminal.ts';

export function addUninstall(program: Command, surroundings: Surroundings): void {
  onDatabase<{ cascade?: boolean }>(
    program
      .command('uninstall')
      .description('take schema tviews away from a database')
      .option('--cascade', 'drop all tviews with it, their tables, views and data'),
    surroundings,
    async (connection, _, { cascade }) => {
      await uninstall(connection, { cascade: cascade === true });
      return { data: { uninstalled: true }, lines: ['schema tviews is gone'] };
    },
  );
}
