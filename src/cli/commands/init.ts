/** `tviews init [--shop]`: installs or updates schema tviews; with the tables of the demo's shop, if asked. */
import type { Command } from 'commander';
import type { Followed } from '../../database/follow.ts';
import { describeDefinition } from '../../database/list.ts';
import { init } from '../../database/migrate.ts';
import { inTransaction } from '../../database/session.ts';
import { display } from '../../definition/refuse.ts';
import { onDatabase } from '../database-command.ts';
import { createShop, fillShop } from '../demo/shop.ts';
import { plural, type Surroundings } from '../terminal.ts';

export function addInit(program: Command, surroundings: Surroundings): void {
  onDatabase<{ shop?: boolean }>(
    program
      .command('init')
      .description('install schema tviews in a database, or bring it up to date')
      .option('--shop', "make the demo's tables too, in schema shop, with 1,000 products"),
    surroundings,
    async (connection, _, { shop }) => {
      const { applied, followed } = await init(connection);
      if (shop === true) {
        await inTransaction(connection, async () => {
          await createShop(connection);
          await fillShop(connection, '1k');
        });
      }
      return {
        data: { applied, followed },
        lines: [
          applied.length === 0
            ? 'schema tviews is up to date'
            : `schema tviews: ${plural(applied.length, 'migration')} applied`,
          ...followed.map(describeFollowed),
          ...(shop === true ? ['schema shop: 1,000 products, 5,000 reviews'] : []),
        ],
      };
    },
  );
}

function describeFollowed({ tview, outcome, problem }: Followed): string {
  switch (outcome) {
    case 'renamed':
    case 'noted':
      return `tview ${display(tview)} follows names and keys that were changed; its rows are as they were`;
    case 'changed':
      return `tview ${display(tview)} follows a change of what it reads: a proxy looks at all its rows, or run "tviews verify --repair"`;
    case 'refused':
      return describeDefinition({ tview, problem });
  }
}
