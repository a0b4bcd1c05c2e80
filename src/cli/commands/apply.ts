/** `tviews apply PATH…`: installs and changes definitions from files. */
import type { Command } from 'commander';
import { type Applied, applyDefinitions, readDefinitions } from '../apply-files.ts';
import { onDatabase } from '../database-command.ts';
import { IncompleteError, type Outcome, plural, type Surroundings } from '../terminal.ts';

export function addApply(program: Command, surroundings: Surroundings): void {
  onDatabase(
    program
      .command('apply')
      .description(
        'install or change definitions: CREATE TVIEW and DROP TVIEW statements; what is unchanged stays',
      )
      .argument('<path...>', 'files, folders (their .sql files, in name order), or - for standard input'),
    surroundings,
    async (connection, paths, _, reporter) => {
      const files = await readDefinitions(paths, surroundings.readStdin);
      const total = files.reduce((sum, { statements }) => sum + statements.length, 0);
      const progress = reporter.progress('Applying', total);
      const applied: Applied[] = [];
      try {
        await applyDefinitions(connection, files, {
          step: (name) => progress.step(name),
          done: (one) => applied.push(one),
        });
      } catch (error) {
        throw new IncompleteError(outcomeOf(applied), error);
      } finally {
        progress.done();
      }
      return outcomeOf(applied);
    },
  );
}

const outcomeOf = (applied: readonly Applied[]): Outcome => ({
  data: { applied },
  lines: applied.flatMap(({ tview, action, isSuspended, rows, advice }) => [
    `${tview}: ${action}${action === 'created' || action === 'replaced' ? `, ${plural(rows, 'row')}` : ''}`,
    ...(isSuspended ? [`  It is suspended: "tviews resume ${tview}" brings it in step.`] : []),
    ...advice.flatMap(({ message, hint }) => [`  ${message}`, `  HINT: ${hint}`]),
  ]),
});
