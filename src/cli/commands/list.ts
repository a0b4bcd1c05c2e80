/** `tviews list`: the tviews of a database. */
import type { Command } from 'commander';
import { loadRegistry } from '../../database/registry.ts';
import { onDatabase } from '../database-command.ts';
import { type Surroundings, table } from '../terminal.ts';

export function addList(program: Command, surroundings: Surroundings): void {
  onDatabase(
    program.command('list').description('list the tviews of a database'),
    surroundings,
    async (connection) => {
      const { tviews } = await loadRegistry(connection);
      const listed = tviews
        .map(({ schema, name, plan }) => ({
          tview: `${schema}.${name}`,
          key: plan.key.map((column) => column.name),
          sources: plan.sources.map(({ table: source }) => `${source.schema}.${source.name}`),
          definition: plan.definition,
          advice: plan.advice,
        }))
        .toSorted((one, other) => one.tview.localeCompare(other.tview, 'en'));
      return {
        data: { tviews: listed },
        lines:
          listed.length === 0
            ? ['no tviews']
            : table(
                ['tview', 'key', 'sources'],
                listed.map(({ tview, key, sources }) => [tview, key.join(', '), sources.join(', ')]),
              ),
      };
    },
  );
}
