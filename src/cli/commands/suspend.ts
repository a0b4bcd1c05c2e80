/** `tviews suspend NAME…` and `tviews resume NAME…`: around a bulk load, whose rows need not be computed one commit at a time. */
import type { Command } from 'commander';
import { inTransaction } from '../../database/migrate.ts';
import { type Resumed, resumeTview, type Suspended, suspendTview } from '../../database/suspend.ts';
import { onDatabase } from '../database-command.ts';
import { plural, type Surroundings } from '../terminal.ts';

export function addSuspend(program: Command, surroundings: Surroundings): void {
  onDatabase(
    program
      .command('suspend')
      .description('let tviews go stale, so that a bulk load of their sources costs nothing, until "resume"')
      .argument('<name...>', 'the tviews'),
    surroundings,
    async (connection, names, _, reporter) => {
      const suspended: ({ readonly tview: string } & Suspended)[] = [];
      const progress = reporter.progress('Suspending', names.length);
      try {
        for (const tview of names) {
          progress.step(tview);
          suspended.push({
            tview,
            ...(await inTransaction(connection, () => suspendTview(connection, tview))),
          });
        }
      } finally {
        progress.done();
      }
      return {
        data: { suspended },
        lines: suspended.flatMap(({ tview, action, readers }) =>
          action === 'unchanged'
            ? [`${tview}: was suspended already`]
            : [
                `${tview}: suspended; stale from the next write on, until "tviews resume ${tview}"`,
                ...readers.map(({ schema, name }) => `  ${schema}.${name} reads it, and shows what it shows`),
              ],
        ),
      };
    },
  );
}

export function addResume(program: Command, surroundings: Surroundings): void {
  onDatabase(
    program
      .command('resume')
      .description('bring suspended tviews in step again; writers of their sources wait meanwhile')
      .argument('<name...>', 'the tviews'),
    surroundings,
    async (connection, names, _, reporter) => {
      const resumed: ({ readonly tview: string } & Resumed)[] = [];
      const progress = reporter.progress('Resuming', names.length);
      try {
        for (const tview of names) {
          progress.step(tview);
          resumed.push({ tview, ...(await inTransaction(connection, () => resumeTview(connection, tview))) });
        }
      } finally {
        progress.done();
      }
      return {
        data: { resumed },
        lines: resumed.map(({ tview, action, rows, written, deleted }) =>
          action === 'resumed'
            ? `${tview}: resumed, ${plural(rows, 'row')} computed, ${written} written, ${deleted} deleted`
            : `${tview}: was not suspended`,
        ),
      };
    },
  );
}
