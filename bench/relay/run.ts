/**
 * The relay benchmark: pgbench -S through us, through PgBouncer where one is found, through a relay that does nothing
 * (bare-relay.ts), and straight to PostgreSQL; rounds in turn, medians, and the processor time the pooler took. The kernel's
 * part of it (sockets) is counted too. Ratios are medians over the rounds, each round against the one beside it.
 */
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { parseArgs, promisify } from 'node:util';
import { type Circumstances, circumstances } from '../kit/machine.ts';
import { type PoolerProcess, startBareRelay, startBenchProxy } from '../kit/proxy.ts';
import { median, rounded } from '../kit/samples.ts';
import { owner, serverSettings, startBenchServer } from '../kit/server.ts';
import { findPgBouncer, startPgBouncer } from './pgbouncer.ts';

export const protocols = ['simple', 'extended', 'prepared'] as const;
export type Protocol = (typeof protocols)[number];

export interface RelayCell {
  readonly contender: 'direct' | 'bare' | 'ours' | 'pgbouncer';
  readonly protocol: Protocol;
  readonly connections: number;
  /** Transactions per second without connecting, median over the rounds, and each round's. */
  readonly tps: number;
  readonly rounds: readonly number[];
  /** Seconds of processor time the pooler used per 1,000 queries; null: there is no pooler. */
  readonly cpuPerThousand: number | null;
}

export interface RelayResult {
  readonly circumstances: Circumstances;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly poolSize: number;
  readonly seconds: number;
  readonly cells: readonly RelayCell[];
  /** What could not be measured, and why. */
  readonly remarks: readonly string[];
}

interface Contender {
  readonly name: RelayCell['contender'];
  readonly port: number;
  readonly pid: number | null;
  can(protocol: Protocol): boolean;
}

const database = 'pgbench';
const runProgram = promisify(execFile);

export async function run(parameters: readonly string[], note: (line: string) => void): Promise<RelayResult> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      seconds: { type: 'string', default: '2' },
      rounds: { type: 'string', default: '7' },
      connections: { type: 'string', multiple: true, default: ['1', '8', '32'] },
      protocol: { type: 'string', multiple: true, default: [...protocols] },
      scale: { type: 'string', default: '10' },
      'pool-size': { type: 'string', default: '20' },
    },
  });
  const pgbench = process.env.PGBENCH ?? 'pgbench';
  const pgbenchVersion =
    execFileSync(pgbench, ['--version'], { encoding: 'utf8' }).trim().split(' ')[2] ?? '?';
  const bouncer = findPgBouncer();
  const poolSize = Number(values['pool-size']);
  const seconds = Number(values.seconds);
  const remarks: string[] = [];
  if (bouncer === null) remarks.push('No PgBouncer was found on the PATH or in $PGBOUNCER.');
  const server = await startBenchServer();
  const poolers: PoolerProcess[] = [];
  try {
    const where = circumstances({
      postgresql: server.version,
      pgbench: pgbenchVersion,
      ...(bouncer === null ? {} : { pgbouncer: bouncer.version }),
    });
    await server.createDatabase(database);
    note('pgbench -i');
    await runProgram(pgbench, ['-i', '-q', '-s', values.scale, ...target(server.port)]);

    const ours = await startBenchProxy(server, { databases: [database], poolSize });
    poolers.push(ours);
    const bare = await startBareRelay(server);
    poolers.push(bare);
    const contenders: Contender[] = [
      { name: 'direct', port: server.port, pid: null, can: () => true },
      { name: 'bare', port: bare.port, pid: bare.pid, can: () => true },
      { name: 'ours', port: ours.port, pid: ours.pid, can: () => true },
    ];
    if (bouncer !== null) {
      const pooler = await startPgBouncer(bouncer, server, { database, poolSize });
      poolers.push(pooler);
      const can = (protocol: Protocol): boolean => protocol !== 'prepared' || bouncer.followsPrepared;
      contenders.push({ name: 'pgbouncer', port: pooler.port, pid: pooler.pid, can });
      if (!bouncer.followsPrepared) {
        remarks.push(
          `PgBouncer ${bouncer.version} knows no prepared statements in transaction mode (1.21 does).`,
        );
      }
    }

    const cells: RelayCell[] = [];
    for (const protocol of protocols.filter((name) => values.protocol.includes(name))) {
      for (const connections of values.connections.map(Number)) {
        const able = contenders.filter(({ can }) => can(protocol));
        const seen = new Map(able.map(({ name }) => [name, { tps: [] as number[], cpu: [] as number[] }]));
        for (let round = 0; round < Number(values.rounds); round++) {
          for (let turn = 0; turn < able.length; turn++) {
            const contender = able[(turn + round) % able.length]!;
            const { tps, perThousand } = await measure(pgbench, contender, protocol, connections, seconds);
            seen.get(contender.name)!.tps.push(tps);
            if (perThousand !== null) seen.get(contender.name)!.cpu.push(perThousand);
          }
        }
        for (const [name, { tps, cpu }] of seen) {
          cells.push({
            contender: name,
            protocol,
            connections,
            tps: rounded(median(tps)),
            rounds: tps,
            cpuPerThousand: cpu.length === 0 ? null : rounded(median(cpu)),
          });
          note(
            `${protocol.padEnd(9)} ${String(connections).padStart(3)} ${name.padEnd(10)} ${Math.round(median(tps))} tps`,
          );
        }
      }
    }
    return { circumstances: where, settings: serverSettings, poolSize, seconds, cells, remarks };
  } finally {
    for (const pooler of poolers) await pooler.stop();
    await server.stop();
  }
}

const target = (port: number): string[] => ['-h', '127.0.0.1', '-p', String(port), '-U', owner, database];

async function measure(
  pgbench: string,
  contender: Contender,
  protocol: Protocol,
  connections: number,
  seconds: number,
): Promise<{ tps: number; perThousand: number | null }> {
  const before = contender.pid === null ? 0 : processorSeconds(contender.pid);
  const { stdout } = await runProgram(pgbench, [
    ...['-S', '-n', '-M', protocol, '-c', String(connections), '-j', '1', '-T', String(seconds)],
    ...target(contender.port),
  ]);
  const tps = Number(/tps = ([\d.]+)/.exec(stdout)?.[1]);
  const queries = Number(/transactions actually processed: (\d+)/.exec(stdout)?.[1]);
  if (!(tps > 0 && queries > 0)) throw new Error(`pgbench said: ${stdout}`);
  if (contender.pid === null) return { tps, perThousand: null };
  return { tps, perThousand: ((processorSeconds(contender.pid) - before) * 1000) / queries };
}

/** User and system time of a process and its threads: fields 14 and 15 of proc(5)'s stat, in hundredths of a second. */
function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field, the name, may contain anything but ends with the last parenthesis.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
