/** Table of the autocommit benchmark. */
import { caption, milliseconds, table } from '../kit/markdown.ts';
import type { AutocommitResult } from './run.ts';

export function render(result: AutocommitResult): string {
  const rows = result.rows.map(({ contender, connections, ms, transactionsPerSecond }) => [
    contender,
    String(connections),
    milliseconds(ms.median),
    milliseconds(ms.p95),
    String(transactionsPerSecond),
  ]);
  const verdict =
    result.divergent === 0 ? 'Afterwards 0 rows differed.' : `**Void: ${result.divergent} rows differ.**`;
  return `${caption(result.circumstances)}

One price is updated at a time, another product each time. ${verdict}

${table(['', 'connections', 'median ms', 'p95 ms', 'transactions/s'], rows)}`;
}
