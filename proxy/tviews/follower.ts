/**
 * Follows changes of the schema (src/database/follow.ts): for the session that has just committed DDL, before its client hears of
 * it, and now and then for everybody: what went past this proxy, what no tag has told of.
 *
 * On a connection of its own: it keeps writers out for a moment, and waits for those there are. Not for ever: a client that waits
 * for us may be the one we wait for.
 */
import { setTimeout } from 'node:timers/promises';
import type pg from 'pg';
import type { SqlExecutor } from '../../src/database/executor.ts';
import { type ChangedFamily, changedFamilies, describeChange } from '../../src/database/family.ts';
import { sqlFile } from '../../src/database/files.ts';
import {
  type FollowOptions,
  type FollowReport,
  findChanges,
  followSchema,
  type SchemaChanges,
  whileItChanges,
} from '../../src/database/follow.ts';
import { describeDefinition } from '../../src/database/list.ts';
import { executorOf } from '../../src/database/node-postgres.ts';
import { loadRegistry, lockRegistry } from '../../src/database/registry.ts';
import { inTransaction, rolledBack, sqlStateOf } from '../../src/database/session.ts';
import { SqlState } from '../../src/errors/errors.ts';
import type { Logger } from '../../src/observe/log.ts';
import { type OwnerConnection, ownerPool } from './owner.ts';

/** So long a client waits at the most; what takes longer goes on without it. */
const PATIENCE_MS = 10_000;
const LOCK_TIMEOUT_MS = 5_000;
/** Less than the time after which PostgreSQL ends one of two that wait for each other. */
const LOOK_MS = 500;
/** What a procedure may have done, of which its tag says nothing, is looked for after this. */
const SOON_MS = 500;
/** After a failure; what is looked for in vain comes again with the catalog's next reading. */
const RETRY_MS = 5_000;

const stampSql = sqlFile('schema-stamp.sql');

export interface FollowerHost {
  /** Whether the database has tviews. */
  isDue(): boolean;
  /** Names and functions are others. */
  reload(): Promise<void>;
  /** What is to be looked at again, as far as it is there now. */
  repairAll(): Promise<void>;
}

export class Follower {
  readonly #pool: pg.Pool;
  readonly #host: FollowerHost;
  readonly #log: Logger;
  #running: Promise<void> | null = null;
  /** Begins when the one that runs is over, for whoever asked since that one began. */
  #next: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #client: pg.PoolClient | null = null;
  /** As of the last time that there was nothing to follow, or nothing more. */
  #stamp: string | null = null;
  /** Families that stay as they are told of, because no plan can be made for them, or because they are others' tables. */
  #stubborn: ReadonlySet<string> = new Set();
  /** Said once. */
  #told = '';

  constructor(owner: OwnerConnection, host: FollowerHost, log: Logger) {
    this.#host = host;
    this.#log = log.child({ database: owner.database });
    this.#pool = ownerPool(owner, 'tviews schema', 1);
  }

  /** Resolves when all that was committed before the call is followed, or some time has passed. Never rejects. */
  async follow(): Promise<void> {
    if (!this.#host.isDue()) return;
    const patience = new AbortController();
    const late = setTimeout(PATIENCE_MS, undefined, { signal: patience.signal, ref: false }).then(
      () => this.#log.warn('following a change of the schema takes long; its client goes on meanwhile'),
      () => undefined, // it was followed in time
    );
    await Promise.race([this.#begin(), late]);
    patience.abort();
  }

  /** Not at once, and not more than once for all who ask meanwhile. */
  followSoon(ms = SOON_MS): void {
    if (this.#timer !== null) return;
    this.#timer = globalThis.setTimeout(() => {
      this.#timer = null;
      if (this.#host.isDue()) void this.#begin();
    }, ms);
    this.#timer.unref();
  }

  /** One at a time; whoever comes while one runs may have committed after that one has looked. */
  #begin(): Promise<void> {
    if (this.#running === null) {
      this.#running = this.#run().finally(() => {
        this.#running = null;
      });
      return this.#running;
    }
    this.#next ??= this.#running.then(() => {
      this.#next = null;
      return this.#begin();
    });
    return this.#next;
  }

  async #run(): Promise<void> {
    if (this.#pool.ending) return;
    let broken: Error | undefined;
    try {
      this.#client = await this.#pool.connect();
      await this.#followOn(this.#client);
      this.#told = '';
    } catch (error) {
      // Whatever it was, the next one begins on a fresh connection.
      broken = error instanceof Error ? error : new Error(String(error));
      if (this.#pool.ending) return;
      if (this.#told !== broken.message) {
        this.#log.warn({ err: error }, 'could not follow changes of the schema; trying again');
      }
      this.#told = broken.message;
      this.followSoon(RETRY_MS);
    } finally {
      this.#client?.release(broken);
      this.#client = null;
    }
  }

  async #followOn(client: pg.PoolClient): Promise<void> {
    const executor = executorOf(client);
    const [row] = await executor.query<{ stamp: string | null }>(stampSql());
    if (row!.stamp === this.#stamp) return;
    const isKnown = (family: ChangedFamily): boolean => this.#stubborn.has(describeChange(family));
    const options = { again: false, isKnown };
    const found = await this.#look(executor, options);
    if (found.outdated.length + found.families.length > 0) {
      const report = await whileItChanges(async () =>
        inTransaction(executor, async () => {
          await executor.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
          return await followSchema(executor, await lockRegistry(executor), options);
        }),
      );
      this.#tell(report);
      const left = (await changedFamilies(executor)).map(describeChange);
      for (const family of left) if (!this.#stubborn.has(family)) this.#log.warn(family);
      this.#stubborn = new Set(left);
      await this.#host.reload();
      await this.#host.repairAll();
    }
    this.#stamp = row!.stamp;
  }

  /** Reading a view's definition locks what it reads, and waits for whoever changes one of those: not with the others in hand. */
  async #look(executor: SqlExecutor, options: FollowOptions): Promise<SchemaChanges> {
    const begun = performance.now();
    for (;;) {
      try {
        return await rolledBack(executor, 'READ ONLY', async () => {
          await executor.query(`SET LOCAL lock_timeout = ${LOOK_MS}`);
          return await findChanges(executor, await loadRegistry(executor), options);
        });
      } catch (error) {
        const isLast = performance.now() - begun > LOCK_TIMEOUT_MS;
        if (isLast || sqlStateOf(error) !== SqlState.lockNotAvailable) throw error;
      }
      await setTimeout(LOOK_MS);
    }
  }

  #tell({ tviews, families }: FollowReport): void {
    for (const { tview, outcome, problem } of tviews) {
      const name = `${tview.schema}.${tview.name}`;
      switch (outcome) {
        case 'noted':
          break;
        case 'renamed':
          this.#log.info(`tview ${name} follows a change of the schema`);
          break;
        case 'changed':
          this.#log.info(`tview ${name} follows a change of the schema, and all its rows are looked at`);
          break;
        case 'refused':
          this.#log.error(describeDefinition({ tview, problem }));
      }
    }
    for (const { schema, name, come, gone } of families) {
      this.#log.info({ come, gone }, `capture follows the partitions of ${schema}.${name}`);
    }
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#pool.ending) return;
    const ended = this.#pool.end();
    // Nobody waits for it any more: without its connection it ends, and leaves nothing half done.
    await this.#client?.end();
    await Promise.all([ended, this.#running]);
  }
}
