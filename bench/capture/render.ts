/** Table of the capture benchmark, and its targets. */
import { caption, milliseconds, type Target, table, targetTable } from '../kit/markdown.ts';
import type { CaptureResult, CaptureRow } from './run.ts';

export function render(result: CaptureResult): string {
  const rows = result.rows.map(({ contender, rows, calls, ms, statementMs }) => [
    contender,
    String(rows),
    String(calls),
    milliseconds(ms.median),
    milliseconds(statementMs.median),
  ]);
  return `${caption(result.circumstances)}

Prices updated in one statement; the time in the trigger as EXPLAIN ANALYZE reports it.

${targetTable(targets(result.rows))}

${table(['', 'rows', 'trigger calls', 'ms in the trigger', 'ms of the statement'], rows)}`;
}

function targets(rows: readonly CaptureRow[]): Target[] {
  const found: Target[] = [];
  for (const ours of rows.filter(({ contender }) => contender.startsWith('ours'))) {
    if (ours.rows < 1000) continue;
    found.push({
      title: `${ours.contender}: calls for an UPDATE of ${ours.rows} rows`,
      wanted: '1',
      measured: String(ours.calls),
      met: ours.calls === 1,
    });
    for (const other of rows.filter(({ contender }) => contender.startsWith('row trigger'))) {
      if (other.rows !== ours.rows) continue;
      const ratio = other.ms.median / ours.ms.median;
      found.push({
        title: `${other.contender} / ${ours.contender}, ${ours.rows} rows`,
        wanted: 'at least 10x',
        measured: `${ratio.toFixed(2)}x (${milliseconds(other.ms.median)} / ${milliseconds(ours.ms.median)} ms)`,
        met: ratio >= 10,
      });
    }
  }
  return found;
}
