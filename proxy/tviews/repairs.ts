/**
 * Looks again at what transactions that kept their snapshot have changed (decision 009): for the session that has just
 * committed one, before its client hears of it, and now and then for everybody: what went past this proxy, what was prepared.
 *
 * On connections of its own, a few: a repair waits for locks as any writer does, and nobody who waits for the catalog, or
 * for another repair, shall wait with it. Not for ever, either: a client that waits for us may be the one we wait for.
 */
import type pg from 'pg';
import { executorOf } from '../../src/database/node-postgres.ts';
import { hasRepairs, repairFailures, repairOne, repairRecord } from '../../src/database/repair.ts';
import { inTransaction } from '../../src/database/session.ts';
import type { Logger } from '../../src/observe/log.ts';
import { type OwnerConnection, ownerPool } from './owner.ts';

/** How often leftovers are looked for. */
const INTERVAL_MS = 1_000;
/** After an error of the connection, so long nobody looks. */
const PAUSE_MS = 10_000;
const LOCK_TIMEOUT_MS = 5_000;
const CONNECTIONS = 4;

/** At the end of the notice by which a flush tells of its record (flush-function.ts). */
const recordId = /\(([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\)$/;

/** @returns null when it is no notice of ours */
export const recordIn = (message: string): string | null => recordId.exec(message)?.[1] ?? null;

export class Repairs {
  readonly #pool: pg.Pool;
  readonly #isDue: () => boolean;
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #isLooking = false;
  #pausedUntil = 0;
  /** Told once: they come back every 30 seconds. */
  #told = '';

  /** @param isDue whether the database has tviews */
  constructor(owner: OwnerConnection, isDue: () => boolean, log: Logger) {
    this.#pool = ownerPool(owner, 'tviews repairs', CONNECTIONS);
    this.#isDue = isDue;
    this.#log = log.child({ database: owner.database });
    this.#timer = setInterval(() => {
      if (this.#isLooking) return;
      this.#isLooking = true;
      void this.repairAll().finally(() => {
        this.#isLooking = false;
      });
    }, INTERVAL_MS);
    this.#timer.unref();
  }

  /** Never rejects: what fails stays recorded, and is tried again. */
  async repair(record: string): Promise<void> {
    try {
      await this.#inTransaction((executor) => repairRecord(executor, record));
    } catch (error) {
      this.#log.warn(
        { err: error },
        'could not look again at what a REPEATABLE READ or SERIALIZABLE transaction changed; trying again later',
      );
    }
  }

  /** Whatever is left there. Never rejects: what fails stays, and is tried again. */
  async repairAll(): Promise<void> {
    if (!this.#isDue() || performance.now() < this.#pausedUntil) return;
    try {
      if (!(await hasRepairs({ query: async (text) => (await this.#pool.query(text)).rows }))) {
        this.#told = '';
        return;
      }
      while (await this.#inTransaction(repairOne));
      const failures = await this.#inTransaction(repairFailures);
      const told = failures.join('; ');
      if (told !== '' && told !== this.#told) {
        this.#log.error({ failures }, `tviews stay stale, because a repair fails: ${told}`);
      }
      this.#told = told;
    } catch (error) {
      if (this.#pool.ending) return;
      this.#pausedUntil = performance.now() + PAUSE_MS;
      this.#log.warn({ err: error }, 'could not look for what is left to repair; trying again later');
    }
  }

  async #inTransaction<T>(work: (executor: ReturnType<typeof executorOf>) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    try {
      const executor = executorOf(client);
      return await inTransaction(executor, async () => {
        await executor.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
        return await work(executor);
      });
    } catch (error) {
      // Whatever it was, the next one begins on a fresh connection.
      broken = error instanceof Error ? error : new Error(String(error));
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#pool.ending) return;
    await this.#pool.end();
  }
}
