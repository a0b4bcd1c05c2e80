/** `tviews proxy [FILE.ini]`: the daemon, with PgBouncer's options and signals. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { printError } from '../src/cli/terminal.ts';
import { loadSettings } from '../src/config/load.ts';
import type { Settings } from '../src/config/settings.ts';
import { SqlState, TviewsError } from '../src/errors/errors.ts';
import { createLogger, type Logger, logLevel } from '../src/observe/log.ts';

/** Clients in a transaction when we are told to stop get this long to end it. */
const shutdownGraceMs = 30_000;

interface ProxyOptions {
  readonly quiet?: boolean;
  readonly verbose: number;
  readonly daemon?: boolean;
  readonly user?: string;
}

export function addProxy(program: Command): void {
  program
    .command('proxy')
    .description('run the proxy; without a file, settings come from DATABASE_URL and TVIEWS_* variables')
    .argument('[file]', 'a file with the syntax of pgbouncer.ini')
    .option('-q, --quiet', 'log nothing to standard error')
    .option('-v, --verbose', 'log more; can be given twice', (_, count: number) => count + 1, 0)
    .option('-d, --daemon', 'run in the background; needs logfile and pidfile')
    .option('-u, --user <name>', 'change to this Unix user')
    .action(async (file: string | undefined, options: ProxyOptions) => {
      try {
        await runProxy(file, options);
      } catch (error) {
        process.stderr.write(printError(error));
        process.exitCode = 1;
      }
    });
}

async function runProxy(file: string | undefined, options: ProxyOptions): Promise<void> {
  const settings = loadSettings({ file, env: process.env });
  const { logfile, pidfile, verbose } = settings.pgbouncer;
  if (options.daemon === true) {
    await startInBackground(settings, file, options);
    return;
  }
  if (options.user !== undefined) changeUser(options.user);
  const log = createLogger({
    level: logLevel(settings.tviews.log_level, Math.max(verbose, options.verbose)),
    format: settings.tviews.log_format,
    file: logfile,
    quiet: options.quiet === true,
  });
  if (pidfile !== null) refuseRunning(pidfile);
  let removePidfile = (): void => undefined;
  try {
    // Loaded here: the other commands need nothing of the proxy.
    const { startService } = await import('./service.ts');
    const service = await startService(settings, log);
    // Once clients are let in: whoever waits for the file finds a proxy that works.
    if (pidfile !== null) removePidfile = writePidfile(pidfile);
    await untilSignal(log);
    await service.close(shutdownGraceMs);
    log.info('stopped');
  } catch (error) {
    // The caller says it on standard error, in a sentence; the file is for whoever was not there.
    const { log_level: level, log_format: format } = settings.tviews;
    if (logfile !== null)
      createLogger({ level, format, file: logfile, quiet: true }).fatal({ err: error }, 'could not run');
    throw error;
  } finally {
    removePidfile();
  }
}

/** TERM and INT stop once; a second one, or QUIT, ends at once, as in PgBouncer. */
function untilSignal(log: Logger): Promise<void> {
  return new Promise((stop) => {
    let asked = false;
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) {
      process.on(signal, () => {
        if (asked || signal === 'SIGQUIT') {
          log.info(`got ${signal}, shutting down at once`);
          process.exit(1);
        }
        asked = true;
        log.info(`got ${signal}, shutting down`);
        stop();
      });
    }
  });
}

function refuseRunning(pidfile: string): void {
  const running = existsSync(pidfile) ? Number.parseInt(readFileSync(pidfile, 'utf8'), 10) : Number.NaN;
  if (!Number.isNaN(running) && running !== process.pid && isAlive(running)) {
    throw new TviewsError(
      SqlState.objectNotInPrerequisiteState,
      `pidfile "${pidfile}" belongs to process ${running}, which is running`,
      { hint: 'Stop that process first, or remove the file if it is not a proxy.' },
    );
  }
}

/** Gives the function that removes it again. */
function writePidfile(pidfile: string): () => void {
  try {
    writeFileSync(pidfile, `${process.pid}\n`);
  } catch (error) {
    throw new TviewsError(
      SqlState.configFileError,
      `could not write pidfile "${pidfile}": ${(error as Error).message}`,
      { cause: error },
    );
  }
  return () => rmSync(pidfile, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Groups first, then the user: afterwards we would no longer be allowed to. */
function changeUser(name: string): void {
  if (process.setuid === undefined || process.setgid === undefined || process.setgroups === undefined) {
    throw new TviewsError(SqlState.featureNotSupported, 'option --user does not work on this system');
  }
  try {
    const gid = groupOf(name);
    process.setgroups([gid]);
    process.setgid(gid);
    process.setuid(name);
  } catch (error) {
    throw new TviewsError(
      SqlState.insufficientPrivilege,
      `could not change to user "${name}": ${(error as Error).message}`,
      { cause: error },
    );
  }
}

function groupOf(name: string): number {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const gid = Number(line?.split(':')[3]);
  if (Number.isNaN(gid)) throw new Error('no such user');
  return gid;
}

/** Starts ourselves again without -d, in a session of its own, and waits until it has written its pidfile. */
async function startInBackground(
  settings: Settings,
  file: string | undefined,
  options: ProxyOptions,
): Promise<void> {
  const { logfile, pidfile } = settings.pgbouncer;
  if (logfile === null || pidfile === null) {
    throw new TviewsError(
      SqlState.configFileError,
      `option --daemon needs setting ${logfile === null ? 'logfile' : 'pidfile'}`,
    );
  }
  const child = spawn(
    process.execPath,
    [
      ...process.execArgv,
      process.argv[1]!,
      'proxy',
      ...(file === undefined ? [] : [file]),
      '--quiet',
      ...Array.from({ length: options.verbose }, () => '--verbose'),
      ...(options.user === undefined ? [] : ['--user', options.user]),
    ],
    { detached: true, stdio: 'ignore' },
  );
  let ended = false;
  child.once('exit', () => {
    ended = true;
  });
  while (!ended) {
    if (existsSync(pidfile) && readFileSync(pidfile, 'utf8').trim() === String(child.pid)) {
      child.unref();
      return;
    }
    await sleep(50);
  }
  throw new TviewsError(SqlState.cannotConnectNow, 'the proxy did not start', {
    hint: `Its log is ${logfile}.`,
  });
}
