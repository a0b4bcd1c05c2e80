/** `tviews rebuild NAME`: computes every row of a tview anew; only rows that differ are written. */
import type { Command } from 'commander';
import { rebuild } from '../../database/verify.ts';
import { onDatabase } from '../database-command.ts';
import { plural, type Surroundings } from '../terminal.ts';

export function addRebuild(program: Command, surroundings: Surroundings): void {
  onDatabase(
    program
      .command('rebuild')
      .description('compute every row of a tview anew, while it is read')
      .argument('<name>', 'the tview'),
    surroundings,
    async (connection, [name], _, reporter) => {
      const progress = reporter.progress('Rebuilding', 1);
      try {
        progress.step(name!);
        const result = await rebuild(connection, name!);
        return {
          data: { tview: name, ...result },
          lines: [
            `${name}: ${plural(result.rows, 'row')} computed, ${result.written} written, ${result.deleted} deleted`,
          ],
        };
      } finally {
        progress.done();
      }
    },
  );
}
