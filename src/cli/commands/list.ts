/** `tviews list`: the tviews of a database. */
import type { Command } from 'commander';
import { listTviews } from '../../database/list.ts';
import { onDatabase } from '../database-command.ts';
import { type Surroundings, table } from '../terminal.ts';

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
                tviews.map(({ tview, key, estimatedRows, bytes, sources, fullRefresh }) => [
                  tview,
                  key.join(', '),
                  estimatedRows ?? '?',
                  size(bytes),
                  sources.join(', '),
                  fullRefresh.join(', '),
                ]),
              ),
      };
    },
  );
}

/** As pg_size_pretty: whole numbers in the largest unit that leaves more than one digit or so. */
function size(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'] as const;
  let value = bytes;
  let unit = 0;
  while (value >= 10_240 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Math.round(value)} ${units[unit]}`;
}
