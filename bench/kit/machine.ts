/** What a figure depends on besides the code: the machine, the versions, the command, the day. */
import { execFileSync } from 'node:child_process';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { packageRoot, packageVersion } from '../../src/cli/package.ts';

export interface Circumstances {
  readonly date: string;
  readonly command: string;
  readonly commit: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryGb: number;
    readonly kernel: string;
    /** One minute's load average when the run began: above 1, somebody else was working too. */
    readonly loadBefore: number;
  };
  readonly versions: Readonly<Record<string, string>>;
}

export function circumstances(versions: Readonly<Record<string, string>> = {}): Circumstances {
  const processors = cpus();
  return {
    date: new Date().toISOString(),
    command: ['node', 'bench/run.ts', ...process.argv.slice(2)].join(' '),
    commit: commit(),
    machine: {
      cpu: processors[0]?.model.trim() ?? 'unknown',
      cores: processors.length,
      memoryGb: Math.round(totalmem() / 2 ** 30),
      kernel: release(),
      loadBefore: Number(loadavg()[0]!.toFixed(2)),
    },
    versions: { tviewProxy: packageVersion(), node: process.version, ...versions },
  };
}

/** The commit, with a plus where the tree differs from it. */
function commit(): string {
  const git = (...parameters: string[]): string =>
    execFileSync('git', parameters, {
      cwd: packageRoot,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  try {
    const changed = git('status', '--porcelain', '--', 'src', 'proxy').trim() !== '';
    return `${git('rev-parse', '--short', 'HEAD').trim()}${changed ? '+' : ''}`;
  } catch {
    // Not a checkout, or no git: the version has to do.
    return 'unknown';
  }
}
