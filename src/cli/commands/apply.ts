/** `tviews apply PATH…`: installs and changes definitions from files. */
import type { Command } from 'commander';
import {
  type Applied,
  applyDefinitions,
  type Planned,
  planDefinitions,
  readDefinitions,
} from '../apply-files.ts';
import { onDatabase } from '../database-command.ts';
import {
  describeError,
  IncompleteError,
  type Outcome,
  plural,
  printError,
  type Surroundings,
} from '../terminal.ts';

export function addApply(program: Command, surroundings: Surroundings): void {
  onDatabase<{ plan?: boolean }>(
    program
      .command('apply')
      .description(
        'install or change definitions: CREATE TVIEW and DROP TVIEW statements; what is unchanged stays',
      )
      .argument('<path...>', 'files, folders (their .sql files, in name order), or - for standard input')
      .option(
        '--plan',
        'only say what would be done; exit code 0 when nothing would change, 2 when something would, 1 when something is refused',
      ),
    surroundings,
    async (connection, paths, { plan }, reporter) => {
      const files = await readDefinitions(paths, surroundings.readStdin);
      const total = files.reduce((sum, { statements }) => sum + statements.length, 0);
      if (plan === true) {
        const progress = reporter.progress('Planning', total);
        try {
          return outcomeOfPlan(await planDefinitions(connection, files, (name) => progress.step(name)));
        } finally {
          progress.done();
        }
      }
      const progress = reporter.progress('Applying', total);
      const applied: Applied[] = [];
      const interrupt = new AbortController();
      const letGo = surroundings.onInterrupt(() => interrupt.abort());
      const sayWaiting = onceIn(notesEveryMs, (pids: readonly number[]) =>
        reporter.note(
          `waiting for transactions that began before: ${plural(pids.length, 'server process')} (${pids.join(', ')})`,
        ),
      );
      try {
        await applyDefinitions(connection, files, {
          step: (name) => progress.step(name),
          done: (one) => applied.push(one),
          hooks: {
            progress: (filled, keys) => progress.within(keys === 0 ? 1 : filled / keys),
            waiting: sayWaiting,
            signal: interrupt.signal,
            cancel: () => connection.cancel(),
          },
        });
      } catch (error) {
        throw new IncompleteError(outcomeOf(applied), error);
      } finally {
        letGo();
        progress.done();
      }
      return outcomeOf(applied);
    },
  );
}

const notesEveryMs = 5_000;

/** Does it at the first call, and then at most once in so many milliseconds. */
function onceIn<T>(ms: number, work: (argument: T) => void): (argument: T) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (argument) => {
    if (performance.now() - last < ms) return;
    last = performance.now();
    work(argument);
  };
}

const outcomeOf = (applied: readonly Applied[]): Outcome => ({
  data: { applied },
  lines: applied.flatMap(({ tview, action, isSuspended, rows, advice }) => [
    `${tview}: ${action}${['unchanged', 'skipped', 'dropped'].includes(action) ? '' : `, ${plural(rows, 'row')}`}`,
    ...(isSuspended ? [`  It is suspended: "tviews resume ${tview}" brings it in step.`] : []),
    ...advice.flatMap(({ message, hint }) => [`  ${message}`, `  HINT: ${hint}`]),
  ]),
});

function outcomeOfPlan({ planned, refused }: Awaited<ReturnType<typeof planDefinitions>>): Outcome {
  const changes = planned.filter(({ why }) => why !== null);
  return {
    ok: refused.length === 0,
    exitCode: changes.length === 0 ? 0 : 2,
    data: { planned, refused: refused.map(describeError) },
    lines: [...planned.flatMap(describePlanned), ...refused.flatMap((error) => printError(error).trimEnd())],
  };
}

function describePlanned({ tview, action, why, rows, locked }: Planned): string[] {
  if (why === null) return [`${tview}: ${action}`];
  const computed = rows === null ? '' : `; about ${plural(rows, 'row')} to compute`;
  const tables = locked.map(({ schema, name }) => `${schema}.${name}`).join(', ');
  return [
    `${tview}: would be ${action}: ${why}${computed}`,
    ...(tables === '' ? [] : [`  keeps writers waiting for a moment: ${tables}`]),
  ];
}
