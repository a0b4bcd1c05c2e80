/** `tviews list`: the tviews of a database. */
import type { Command } from 'commander';
import { describeConstruction } from '../../database/construction.ts';
import { listTviews } from '../../database/list.ts';
import { onDatabase } from '../database-command.ts';
import { type Surroundings, size, table } from '../terminal.ts';

export function addList(program: Command, surroundings: Surroundings): void {
  onDatabase(
    program.command('list').description('list the tviews of a database'),
    surroundings,
    async (connection) => {
      const tviews = (await listTviews(connection))
        .map(({ schema, name, sources, ...rest }) => ({
          tview: `${schema}.${name}`,
          ...rest,
          sources: sources.map((source) => `${source.schema}.${source.name}`),
          fullRefresh: sources.flatMap((source) =>
            source.fullRefresh ? [`${source.schema}.${source.name}`] : [],
          ),
        }))
        .toSorted((one, other) => (one.tview < other.tview ? -1 : 1));
      return {
        data: { tviews },
        lines:
          tviews.length === 0
            ? ['no tviews']
            : table(
                ['tview', 'key', 'rows (estimated)', 'size', 'sources', 'full refresh'],
                tviews.map(
                  ({ tview, suspendedAt, construction, key, estimatedRows, bytes, sources, fullRefresh }) => [
                    construction !== null
                      ? `${tview} (being built${construction.action === 'altered' ? '' : `, to be ${construction.becomes.schema}.${construction.becomes.name}`}: ${describeConstruction({ construction })})`
                      : suspendedAt === null
                        ? tview
                        : `${tview} (suspended)`,
                    key.join(', '),
                    estimatedRows ?? '?',
                    size(bytes),
                    sources.join(', '),
                    fullRefresh.join(', '),
                  ],
                ),
              ),
      };
    },
  );
}
