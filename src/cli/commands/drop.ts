/** `tviews drop NAME`: takes a tview away, with its table and its view. */
import type { Command } from 'commander';
import { dropTview } from '../../database/drop.ts';
import { inTransaction } from '../../database/session.ts';
import { onDatabase } from '../database-command.ts';
import type { Surroundings } from '../terminal.ts';
import { readName } from '../tview-name.ts';

export function addDrop(program: Command, surroundings: Surroundings): void {
  onDatabase<{ ifExists?: boolean }>(
    program
      .command('drop')
      .description('take a tview away, with its table and its view')
      .argument('<name>', 'the tview, as in SQL: shop.tv_product')
      .option('--if-exists', 'a tview that does not exist is no error'),
    surroundings,
    async (connection, [name], { ifExists }) => {
      const statement = { ...(await readName(name!)), ifExists: ifExists === true };
      const { action } = await inTransaction(connection, () => dropTview(connection, statement));
      return { data: { tview: name, action }, lines: [`${name}: ${action}`] };
    },
  );
}
