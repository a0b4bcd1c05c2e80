/**
 * A PostgreSQL server that a test may crash: immediate stop, SIGKILL of a backend, and the same data directory and port
 * after. Commits are synchronous, so what it acknowledged survives; only a crash of the machine itself is left out.
 */
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { startLocalPostgres } from '../../src/cli/demo/local-postgres.ts';
import { connectTo, until } from './clients.ts';
import { startTestPostgres, testSettings } from './postgres.ts';

export interface CrashingPostgres {
  /** A superuser's URL; the same after every restart. */
  readonly url: string;
  /** `pg_ctl stop -m immediate`, and a start: the server recovers from its log. Resolves when it answers. */
  stopImmediately(): Promise<void>;
  /**
   * `kill -9` of a backend: the server resets itself, with every connection there is. Resolves when it answers.
   * @returns false when the backend had ended by itself
   */
  killBackend(pid: number): Promise<boolean>;
  remove(): Promise<void>;
}

export async function startCrashingPostgres(): Promise<CrashingPostgres> {
  // A backend killed within a write of a page may leave half of it: recovery needs the whole page in the log.
  const settings = { synchronous_commit: 'on', full_page_writes: 'on', restart_after_crash: 'on' };
  const first = await startTestPostgres({ settings });
  const { url, port } = first;
  let running: { readonly pid: number; stop(): Promise<void> } = first;
  return {
    url,
    stopImmediately: async () => {
      process.kill(running.pid, 'SIGQUIT');
      // Waits for its end; the SIGINT it sends on the way is weaker than what the server is doing already.
      await running.stop();
      running = await startLocalPostgres({
        dataDirectory: dirname(first.logFile),
        port,
        password: 'postgres',
        settings: { ...testSettings, ...settings },
      });
    },
    killBackend: async (pid) => {
      const witness = await connectTo(url);
      let isReset = false;
      witness.once('end', () => {
        isReset = true;
      });
      // One that has ended already, and that nobody has waited for yet, can be sent a signal too: nothing comes of it.
      const wasThere = signalled(pid, 'SIGKILL');
      await until('the backend is gone', () => !signalled(pid, 0));
      for (let i = 0; wasThere && !isReset && i < 100; i++) await setTimeout(10);
      if (!isReset) {
        await witness.end();
        return false;
      }
      await until('the server has recovered', () => answers(url));
      return true;
    },
    remove: async () => {
      await running.stop();
      await first.remove();
    },
  };
}

/** @returns false where there is no such process */
function signalled(pid: number, signal: 'SIGKILL' | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    return false;
  }
}

/** False while it starts, recovers or is not there. */
async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {}); // of a connection that has failed to be made, which connect() tells
  try {
    await client.connect();
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === undefined || ['ECONNREFUSED', 'ECONNRESET', '57P01', '57P02', '57P03'].includes(code))
      return false;
    throw error;
  }
  await client.end();
  return true;
}
