/** Tables of the breakdown. */
import { caption, table } from '../kit/markdown.ts';
import type { BreakdownResult } from './run.ts';

export function render(result: BreakdownResult): string {
  const client = result.breakdowns.map(({ setUp, operation, client: seen, byHand }) => [
    `${setUp}: ${operation}`,
    ...[seen.begin, seen.claim, seen.write, seen.flush, seen.commit, byHand].map(String),
  ]);
  const inServer = result.breakdowns.flatMap(({ setUp, operation, functions }) =>
    functions.map(({ name, callsPerTransaction, total, self }) => [
      `${setUp}: ${operation}`,
      name,
      String(callsPerTransaction),
      String(total),
      String(self),
    ]),
  );
  const verdict =
    result.divergent === 0 ? 'Afterwards 0 rows differed.' : `**Void: ${result.divergent} rows differ.**`;
  return `${caption(result.circumstances)}

Microseconds of each round trip of a claimed transaction (medians; through the proxy some of them travel together), and of
the hand-written refresh of the same change. ${verdict}

${table(['', 'BEGIN', 'claim', 'write', 'flush', 'COMMIT', 'refresh by hand'], client)}

Microseconds in our functions, mean per transaction:

${table(['', 'function', 'calls', 'with what it calls', 'itself'], inServer)}`;
}
