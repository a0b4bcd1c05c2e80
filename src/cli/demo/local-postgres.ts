/**
 * Starts and stops a real PostgreSQL of our own in a given data directory: for the demo and for the tests. It listens on
 * 127.0.0.1 only, runs as an unprivileged user when we are root, and never outlives this process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SqlState, TviewsError } from '../../errors/errors.ts';
import { type Binaries, canReach, chooseUser, findBinaries, type RunAs } from './postgres-binaries.ts';

export interface LocalPostgresOptions {
  /** Created and initialised if it is not there, in a folder that is; kept after stop(). */
  readonly dataDirectory: string;
  /** 0, the default: any free port. */
  readonly port?: number;
  /** Password of the superuser `postgres`; matters only when the data directory is created. */
  readonly password: string;
  /** Server settings, as `-c name=value`. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Lines for the head of pg_hba.conf, before the default ones (scram-sha-256 for everybody on this machine). */
  readonly hba?: readonly string[];
}

export interface LocalPostgres {
  readonly port: number;
  /** URL of the superuser, of database `postgres`. */
  readonly url: string;
  readonly pid: number;
  /** The server's own log. */
  readonly logFile: string;
  /** Whether the data directory was created by this start. */
  readonly created: boolean;
  /** Fast shutdown: open transactions are rolled back. Done when the process is gone. Can be called twice. */
  stop(): Promise<void>;
}

export async function startLocalPostgres(options: LocalPostgresOptions): Promise<LocalPostgres> {
  const dataDirectory = resolve(options.dataDirectory);
  const user = chooseUser(dataDirectory);
  if (user !== null && !canReach(user, dirname(dataDirectory))) {
    throw new TviewsError(
      SqlState.insufficientPrivilege,
      `user ${user.uid}, as whom PostgreSQL runs because root may not, cannot reach "${dataDirectory}"`,
      { hint: 'Give --data-directory a folder below one that everybody may enter, such as /var/tmp.' },
    );
  }
  const binaries = await findBinaries(user, tmpdir());
  refuseRunning(dataDirectory);
  const created = !existsSync(join(dataDirectory, 'PG_VERSION'));
  if (created) await initialise(binaries, dataDirectory, user, options);

  const port = options.port || (await freePort());
  const logFile = join(dataDirectory, 'server.log');
  const server = run(
    binaries.postgres,
    ['-D', dataDirectory, ...settingArguments({ ...ownSettings, ...options.settings, port })],
    user,
    dataDirectory,
    logFile,
  );
  const exited = exitOf(server);
  await Promise.race([ready(dataDirectory, server), exited.then(() => failed('start', logFile))]);
  const pid = server.pid ?? failed('start', logFile);
  const guard = guardAgainstOurDeath(pid);

  const stop = async (): Promise<void> => {
    guard?.kill('SIGKILL');
    if (server.exitCode === null && server.signalCode === null) server.kill('SIGINT');
    await exited;
  };
  const url = `postgres://postgres:${encodeURIComponent(options.password)}@127.0.0.1:${port}/postgres`;
  return { port, url, pid, logFile, created, stop };
}

/** TCP on this machine only; no socket file, whose path may be at most 107 bytes long. */
const ownSettings = { listen_addresses: '127.0.0.1', unix_socket_directories: '' };

function settingArguments(settings: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** A port nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
      server.close(() => done(address.port));
    });
  });
}

/** Whether somebody listens on a port of 127.0.0.1 at this moment. */
export async function isTaken(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((done, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      // Not permitted is another sentence, which whoever really listens there will say.
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') done(error.code === 'EADDRINUSE');
      else fail(error);
    });
    server.listen(port, '127.0.0.1', () => server.close(() => done(false)));
  });
}

/** Throws when a server runs in the directory. postmaster.pid survives a crash: what counts is whether its process lives. */
export function refuseRunning(dataDirectory: string): void {
  const [pid] = postmasterLines(dataDirectory);
  if (pid === undefined || !/^\d+$/.test(pid) || !isAlive(Number(pid))) return;
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `a PostgreSQL server is already running in "${dataDirectory}" as process ${pid}`,
    { hint: 'Stop the demo that started it, or give --data-directory another folder.' },
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function postmasterLines(dataDirectory: string): string[] {
  const file = join(dataDirectory, 'postmaster.pid');
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [];
}

async function initialise(
  binaries: Binaries,
  dataDirectory: string,
  user: RunAs | null,
  options: LocalPostgresOptions,
): Promise<void> {
  if (!existsSync(dataDirectory)) mkdirSync(dataDirectory, { mode: 0o700 });
  if (user !== null) chownSync(dataDirectory, user.uid, user.gid);
  const passwordFile = `${dataDirectory}.password-${process.pid}`;
  const logFile = `${dataDirectory}.initdb.log`;
  try {
    writeFileSync(passwordFile, `${options.password}\n`, { mode: 0o600 });
    if (user !== null) chownSync(passwordFile, user.uid, user.gid);
    const initdb = run(
      binaries.initdb,
      [
        '--pgdata',
        dataDirectory,
        '--username=postgres',
        `--pwfile=${passwordFile}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        '--locale=C',
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        // The files are thrown away or made again; a crash of the machine during initdb loses nothing.
        '--no-sync',
      ],
      user,
      dataDirectory,
      logFile,
    );
    if ((await exitOf(initdb)) !== 0) failed('initialise', logFile);
  } finally {
    rmSync(passwordFile, { force: true });
  }
  rmSync(logFile, { force: true });
  if (options.hba !== undefined) {
    const file = join(dataDirectory, 'pg_hba.conf');
    writeFileSync(file, `${options.hba.join('\n')}\n${readFileSync(file, 'utf8')}`);
  }
}

/**
 * A process in a session of its own: Ctrl-C on the terminal must reach us alone, so that we can close what uses the
 * server before the server itself.
 */
function run(
  program: string,
  parameters: readonly string[],
  user: RunAs | null,
  directory: string,
  logFile: string,
): ChildProcess {
  const log = openSync(logFile, 'a', 0o600);
  try {
    return spawn(program, parameters, {
      ...user,
      cwd: directory,
      detached: true,
      // Not ours: PGDATA, PGPORT and the like would change what the programs do.
      env: { PATH: process.env.PATH ?? '', LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', log, log],
    });
  } finally {
    closeSync(log);
  }
}

/**
 * A shell that waits for the end of a pipe from us, which comes however we end, and then stops the server: a killed test
 * run or demo leaves no server behind.
 */
function guardAgainstOurDeath(pid: number): ChildProcess | null {
  if (process.platform === 'win32') return null;
  const guard = spawn('/bin/sh', ['-c', 'read -r _; kill -INT "$1"', 'sh', String(pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  guard.unref();
  // A pipe is a socket to Node: it would keep the event loop alive.
  (guard.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  return guard;
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((done, fail) => {
    child.once('exit', (code) => done(code));
    child.once('error', fail);
  });
}

/** The eighth line of postmaster.pid becomes "ready" when connections are accepted: what pg_ctl looks at too. */
async function ready(dataDirectory: string, server: ChildProcess): Promise<void> {
  while (server.exitCode === null && server.signalCode === null) {
    const lines = postmasterLines(dataDirectory);
    if (lines[0] === String(server.pid) && lines[7]?.trim() === 'ready') return;
    await sleep(20);
  }
}

function failed(what: 'start' | 'initialise', logFile: string): never {
  const log = existsSync(logFile) ? readFileSync(logFile, 'utf8').trim().split('\n') : [];
  const said = log.findLast((line) => /\b(FATAL|PANIC|error):/.test(line)) ?? log.at(-1);
  throw new TviewsError(
    SqlState.cannotConnectNow,
    `could not ${what} PostgreSQL: ${said ?? 'it said nothing'}`,
    {
      hint: `Its log is ${logFile}.`,
    },
  );
}
