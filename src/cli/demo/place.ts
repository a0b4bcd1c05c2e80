/** Where the demo keeps its server: the data directory, made usable for the user PostgreSQL runs as, and its password. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { SqlState, TviewsError } from '../../errors/errors.ts';
import { refuseRunning } from './local-postgres.ts';
import { canReach, chooseUser } from './postgres-binaries.ts';

export interface DemoPlace {
  readonly folder: string;
  /** The server's data directory, in `folder`. */
  readonly dataDirectory: string;
  /** The superuser's password; nobody needs it but the demo. */
  readonly password: string;
  /** Set when `folder` is not the one asked for: why, as a sentence. */
  readonly remark: string | null;
}

/**
 * Makes the folder. `given` is what --data-directory says; without it the folder is `usual`, except where we are root
 * and the server's user could not reach it (a checkout in /root): then it is one of our own in /var/tmp.
 */
export function preparePlace(given: string | undefined, usual: string, fresh: boolean): DemoPlace {
  let folder = resolve(given ?? usual);
  let remark: string | null = null;
  const user = chooseUser(join(folder, 'postgres'));
  if (given === undefined && user !== null && !canReach(user, dirname(folder))) {
    const shared = existsSync('/var/tmp') ? '/var/tmp' : tmpdir();
    const name = createHash('sha256').update(folder).digest('hex').slice(0, 10);
    folder = join(shared, `tview-proxy-demo-${name}`);
    remark = `PostgreSQL may not run as root and its user cannot enter ${dirname(resolve(usual))}, so its files are in ${folder}.`;
  }
  if (fresh) remove(folder);
  try {
    makeFolder(folder);
    return { folder, dataDirectory: join(folder, 'postgres'), password: passwordIn(folder), remark };
  } catch (error) {
    throw new TviewsError(
      SqlState.insufficientPrivilege,
      `could not write to "${folder}": ${(error as Error).message.split(',')[0]}`,
      { hint: 'Give --data-directory a folder you may write to.', cause: error },
    );
  }
}

/** One folder after the other: Node's own `recursive` never ends below /proc, where nothing can be made. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  mkdirSync(folder, { mode: 0o755 });
}

/** Deletes an earlier demo, and refuses to delete anything that is not one. */
function remove(folder: string): void {
  if (!existsSync(folder)) return;
  const known = new Set(['postgres', 'password', 'postgres.initdb.log']);
  const strange = readdirSync(folder).find((name) => !known.has(name));
  if (strange !== undefined) {
    throw new TviewsError(
      SqlState.objectNotInPrerequisiteState,
      `"${folder}" is not a demo's folder: it holds "${strange}"`,
      { hint: 'Give --data-directory a folder of its own for the demo.' },
    );
  }
  refuseRunning(join(folder, 'postgres'));
  rmSync(folder, { recursive: true, force: true });
}

function passwordIn(folder: string): string {
  const file = join(folder, 'password');
  // A data directory without its password is of no use to us; the password is made first.
  if (!existsSync(file)) {
    if (existsSync(join(folder, 'postgres'))) {
      throw new TviewsError(
        SqlState.objectNotInPrerequisiteState,
        `"${join(basename(folder), 'postgres')}" has lost its file "password"`,
        { hint: 'Start the demo with --fresh to make a new one.' },
      );
    }
    writeFileSync(file, randomBytes(18).toString('base64url'), { mode: 0o600 });
  }
  return readFileSync(file, 'utf8');
}
