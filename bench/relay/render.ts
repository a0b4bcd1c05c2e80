/** Table of the relay benchmark, and its targets. */
import { caption, type Target, table, targetTable } from '../kit/markdown.ts';
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
    to === undefined ? '–' : `${(cell.tps / to.tps).toFixed(2)}x`;

  const ours = protocols.flatMap((protocol) =>
    cells.filter((cell) => cell.contender === 'ours' && cell.protocol === protocol),
  );
  const rows = ours.map((cell) => {
    const bouncer = find(cell, 'pgbouncer');
    const direct = find(cell, 'direct');
    return [
      `${cell.protocol}, ${cell.connections}`,
      tps(direct),
      tps(bouncer),
      tps(cell),
      ratio(cell, bouncer),
      ratio(cell, direct),
      cpu(bouncer),
      cpu(cell),
    ];
  });
  const targets = ours.flatMap((cell): Target[] => {
    const bouncer = find(cell, 'pgbouncer');
    if (bouncer === undefined) return [];
    const factor = cell.tps / bouncer.tps;
    return [
      {
        title: `tps of PgBouncer, ${cell.protocol}, ${cell.connections} connections`,
        wanted: 'at least 0.9x',
        measured: `${factor.toFixed(2)}x`,
        met: factor >= 0.9,
      },
    ];
  });
  const head = ['pgbench -S', 'direct tps', 'PgBouncer tps', 'ours tps', 'ours / PgBouncer', 'ours / direct'];
  return `${caption(result.circumstances)}

Transaction pooling, pool of ${result.poolSize}, ${result.seconds} s a round, medians. Processor time is the pooler's, user and system, in ms per
1,000 queries. pgbench, pooler and server share the machine's cores. ${result.remarks.join(' ')}

${targetTable(targets)}

${table([...head, 'PgBouncer CPU ms', 'ours CPU ms'], rows)}`;
}
