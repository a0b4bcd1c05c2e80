/** Tables of the apply benchmark, and its targets. */
import { caption, milliseconds, type Target, table, targetTable } from '../kit/markdown.ts';
import type { ApplyResult } from './run.ts';

export function render(result: ApplyResult): string {
  const made = result.tenTables.map(({ how, ms }) => [how, milliseconds(ms.median), milliseconds(ms.p95)]);
  const waited = result.waited.map(({ how, seconds, writes, ms, longestMs }) => [
    how,
    seconds === null ? '' : seconds.toFixed(1),
    String(writes),
    milliseconds(ms.median),
    milliseconds(ms.p95),
    milliseconds(longestMs),
  ]);
  return `${caption(result.circumstances)}

${targetTable(targets(result))}

A definition that reads ten tables of a hundred rows:

${table(['', 'ms, median', 'p95'], made)}

\`tv_product\` of the shop at ${result.scale} is made while one writer updates prices, one after the other, straight to PostgreSQL. From the
moment on at which it is captured, each write refreshes its row too. Afterwards ${result.divergent} rows differed.

${table(['', 'seconds', 'writes', 'ms of a write, median', 'p95', 'longest'], waited)}`;
}

function targets({ tenTables, waited, divergent }: ApplyResult): Target[] {
  const makings = tenTables.filter(({ how }) => how === 'CREATE TVIEW' || how === 'tviews apply');
  const of = (how: string) => waited.find((one) => one.how === how)!;
  const [statement, command] = [of('CREATE TVIEW'), of('tviews apply')];
  return [
    ...makings.map(({ how, ms }) => ({
      title: `${how}: derive and install a definition of ten tables`,
      wanted: 'below 1000 ms',
      measured: `${milliseconds(ms.median)} ms`,
      met: ms.median < 1000,
    })),
    {
      title: 'the longest wait of a writer, tviews apply / CREATE TVIEW',
      wanted: 'at most 0.2x',
      measured: `${(command.longestMs / statement.longestMs).toFixed(3)}x (${milliseconds(command.longestMs)} / ${milliseconds(statement.longestMs)} ms)`,
      met: command.longestMs <= statement.longestMs / 5,
    },
    {
      title: 'rows that differ afterwards',
      wanted: '0',
      measured: String(divergent),
      met: divergent === 0,
    },
  ];
}
