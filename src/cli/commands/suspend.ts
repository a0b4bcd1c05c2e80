/** `tviews suspend NAME…` and `tviews resume NAME…`: around a bulk load, whose rows need not be computed one commit at a time. */
import type { Command } from 'commander';
import type { SqlExecutor } from '../../database/executor.ts';
import { inTransaction } from '../../database/session.ts';
import { type Resumed, resumeTview, type Suspended, suspendTview } from '../../database/suspend.ts';
import { onDatabase } from '../database-command.ts';
import { IncompleteError, type Outcome, type Progress, plural, type Surroundings } from '../terminal.ts';

export function addSuspend(program: Command, surroundings: Surroundings): void {
  onDatabase(
    program
      .command('suspend')
      .description('let tviews go stale, so that a bulk load of their sources costs nothing, until "resume"')
      .argument('<name...>', 'the tviews'),
    surroundings,
    (connection, names, _, reporter) =>
      oneByOne(
        names,
        reporter.progress('Suspending', names.length),
        connection,
        suspendTview,
        (suspended) => ({
          data: { suspended },
          lines: suspended.flatMap(linesOfSuspended),
        }),
      ),
  );
}

export function addResume(program: Command, surroundings: Surroundings): void {
  onDatabase(
    program
      .command('resume')
      .description('bring suspended tviews in step again; writers of their sources wait meanwhile')
      .argument('<name...>', 'the tviews'),
    surroundings,
    (connection, names, _, reporter) =>
      oneByOne(names, reporter.progress('Resuming', names.length), connection, resumeTview, (resumed) => ({
        data: { resumed },
        lines: resumed.map(lineOfResumed),
      })),
  );
}

/** Each in a transaction of its own: what was done before an error stays, and is told. */
async function oneByOne<Result extends object>(
  names: readonly string[],
  progress: Progress,
  executor: SqlExecutor,
  work: (executor: SqlExecutor, name: string) => Promise<Result>,
  outcomeOf: (done: readonly (Result & { readonly tview: string })[]) => Outcome,
): Promise<Outcome> {
  const done: (Result & { readonly tview: string })[] = [];
  try {
    for (const tview of names) {
      progress.step(tview);
      done.push({ tview, ...(await inTransaction(executor, () => work(executor, tview))) });
    }
  } catch (error) {
    throw new IncompleteError(outcomeOf(done), error);
  } finally {
    progress.done();
  }
  return outcomeOf(done);
}

function linesOfSuspended({ tview, action, readers }: Suspended & { readonly tview: string }): string[] {
  if (action === 'unchanged') return [`${tview}: was suspended already`];
  return [
    `${tview}: suspended; stale from the next write on, until "tviews resume ${tview}"`,
    ...readers.map(({ schema, name }) => `  ${schema}.${name} reads it, and shows what it shows`),
  ];
}

function lineOfResumed({
  tview,
  action,
  rows,
  written,
  deleted,
}: Resumed & { readonly tview: string }): string {
  if (action === 'unchanged') return `${tview}: was not suspended`;
  return `${tview}: resumed, ${plural(rows, 'row')} computed, ${written} written, ${deleted} deleted`;
}
