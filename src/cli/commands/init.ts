/** `tviews init`: installs or updates schema tviews. */
import type { Command } from 'commander';
import { init } from '../../database/migrate.ts';
import { onDatabase } from '../database-command.ts';
import { plural, type Surroundings } from '../terminal.ts';

export function addInit(program: Command, surroundings: Surroundings): void {
  onDatabase(
    program.command('init').description('install schema tviews in a database, or bring it up to date'),
    surroundings,
    async (connection) => {
      const { applied } = await init(connection);
      return {
        data: { applied },
        lines: [
          applied.length === 0
            ? 'schema tviews is up to date'
            : `schema tviews: ${plural(applied.length, 'migration')} applied`,
        ],
      };
    },
  );
}
