/** Table of the relay benchmark, and its targets. */
import { caption, type Target, table, targetTable } from '../kit/markdown.ts';
import { median } from '../kit/samples.ts';
import { protocols, type RelayCell, type RelayResult } from './run.ts';

export function render(result: RelayResult): string {
  const { cells } = result;
  const find = (like: RelayCell, contender: RelayCell['contender']): RelayCell | undefined =>
    cells.find(
      (cell) =>
        cell.contender === contender &&
        cell.protocol === like.protocol &&
        cell.connections === like.connections,
    );
  const tps = (cell: RelayCell | undefined): string =>
    cell === undefined ? '–' : String(Math.round(cell.tps));
  const cpu = (cell: RelayCell | undefined): string =>
    cell?.cpuPerThousand == null ? '–' : (cell.cpuPerThousand * 1000).toFixed(1);
  const ratio = (cell: RelayCell, to: RelayCell | undefined): string =>
    to === undefined ? '–' : `${factor(cell, to).toFixed(2)}x`;

  const ours = protocols.flatMap((protocol) =>
    cells.filter((cell) => cell.contender === 'ours' && cell.protocol === protocol),
  );
  const rows = ours.map((cell) => {
    const bouncer = find(cell, 'pgbouncer');
    const bare = find(cell, 'bare');
    const direct = find(cell, 'direct');
    return [
      `${cell.protocol}, ${cell.connections}`,
      tps(direct),
      tps(bouncer),
      tps(bare),
      tps(cell),
      ratio(cell, bouncer),
      ratio(cell, bare),
      ratio(cell, direct),
      cpu(bouncer),
      cpu(bare),
      cpu(cell),
    ];
  });
  const targets = ours.flatMap((cell): Target[] => {
    const bouncer = find(cell, 'pgbouncer');
    if (bouncer === undefined) return [];
    const measured = factor(cell, bouncer);
    return [
      {
        title: `tps of PgBouncer, ${cell.protocol}, ${cell.connections} connections`,
        wanted: 'at least 0.9x',
        measured: `${measured.toFixed(2)}x`,
        met: measured >= 0.9,
      },
    ];
  });
  const tpsOf = ['direct tps', 'PgBouncer tps', 'bare relay tps', 'ours tps'];
  const ratios = ['ours / PgBouncer', 'ours / bare', 'ours / direct'];
  const cpuOf = ['PgBouncer CPU ms', 'bare CPU ms', 'ours CPU ms'];
  return `${caption(result.circumstances)}

Transaction pooling, pool of ${result.poolSize}, ${result.seconds} s a round, medians; ratios are medians of the rounds' ratios. Processor time is the
pooler's, user and system, in ms per 1,000 queries. pgbench, pooler and server share the machine's cores. The bare relay
(bench/relay/bare-relay.ts) passes bytes on between each client and a server of its own: what Node's sockets cost by themselves.
${result.remarks.join(' ')}

${targetTable(targets)}

${table(['pgbench -S', ...tpsOf, ...ratios, ...cpuOf], rows)}`;
}

/** Round by round, so that a machine that changes its speed meanwhile does not count for one side. */
function factor(cell: RelayCell, to: RelayCell): number {
  return median(cell.rounds.map((tps, round) => tps / to.rounds[round]!));
}
