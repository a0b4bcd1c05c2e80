/** `tviews drop NAME`: takes a tview away, with its table and its view. */
import type { Command } from 'commander';
import { dropTview } from '../../database/drop.ts';
import { inTransaction } from '../../database/migrate.ts';
import { parseTviewStatements } from '../../definition/statement.ts';
import { onDatabase } from '../database-command.ts';
import { type Surroundings, UsageError } from '../terminal.ts';

export function addDrop(program: Command, surroundings: Surroundings): void {
  onDatabase<{ ifExists?: boolean }>(
    program
      .command('drop')
      .description('take a tview away, with its table and its view')
      .argument('<name>', 'the tview, as in SQL: shop.tv_product')
      .option('--if-exists', 'a tview that does not exist is no error'),
    surroundings,
    async (connection, [name], { ifExists }) => {
      // The name is SQL, quotes and all: the statement's own parser reads it.
      const statements = await parseTviewStatements(
        `DROP TVIEW ${ifExists === true ? 'IF EXISTS ' : ''}${name}`,
      );
      const [parsed] = statements;
      if (statements.length !== 1 || parsed?.statement.kind !== 'drop')
        throw new UsageError('one name is expected');
      const { statement } = parsed;
      const { action } = await inTransaction(connection, () => dropTview(connection, statement));
      return { data: { tview: name, action }, lines: [`${name}: ${action}`] };
    },
  );
}
