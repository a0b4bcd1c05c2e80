/**
 * What the proxy knows of one database's tviews: which tables are sources, which names are tviews, the secret of the
 * claim. Read over a connection of the owner's, again whenever `apply` says that something changed (NOTIFY tviews) and now and then.
 * Without it nothing is claimed and the database does everything by itself: slower, never wrong.
 */
import type pg from 'pg';
import type { Logger } from 'pino';
import { registryChannel } from '../../src/database/generate.ts';
import { writtenName } from '../../src/database/identifier.ts';
import { type ProxyRegistry, readRegistry } from '../../src/database/list.ts';
import { executorOf } from '../../src/database/node-postgres.ts';
import { flushForNoWriter } from '../../src/database/repair.ts';
import type { BuildingTview, SuspendedTview } from '../../src/observe/metrics.ts';
import { functionCall } from '../wire/messages/requests.ts';
import { Follower } from './follower.ts';
import { type OwnerConnection, ownerClient } from './owner.ts';
import { Repairs } from './repairs.ts';

const RETRY_MS = 2_000;
/** Behind another transaction pooler LISTEN is lost without a word: look anyway. */
const REREAD_MS = 30_000;

/** Which changes we understand, as an int4 (000004.sql). */
const claimVersion = Buffer.from([0, 0, 0, 2]);

/** A registry in the form the hot path wants: patterns and ready messages. */
export interface CatalogSnapshot {
  /** Matches a text that names a source; null when there is none. */
  readonly sources: RegExp | null;
  /** Matches a text that names a tview or a view over one. */
  readonly tviews: RegExp | null;
  /** The claim as a FunctionCall message: always the same bytes. */
  readonly claimMessage: Buffer;
  readonly flushOid: number;
  readonly tviewNames: ReadonlyMap<number, string>;
  /** Those of them that differ from their definitions by intent: suspended, or being built. */
  readonly unverified: ReadonlySet<number>;
  /** Their names without the schema. */
  readonly tviewTables: ReadonlyMap<number, string>;
  readonly sourceNames: ReadonlyMap<number, string>;
}

export class Catalog {
  readonly #name: string;
  readonly #owner: OwnerConnection;
  readonly #log: Logger;
  #client: pg.Client | null = null;
  #retry: NodeJS.Timeout | null = null;
  readonly #reread: NodeJS.Timeout;
  #closed = false;
  #snapshot: CatalogSnapshot | null = null;
  #suspended: readonly SuspendedTview[] = [];
  #building: readonly BuildingTview[] = [];
  #reading = false;
  #readAgain = false;
  readonly repairs: Repairs;
  readonly follower: Follower;

  /** @param name the database's in the settings, which people know it by */
  constructor(name: string, owner: OwnerConnection, log: Logger) {
    this.#name = name;
    this.#owner = owner;
    this.#log = log.child({ database: owner.database });
    this.#reread = setInterval(() => void this.reload(), REREAD_MS);
    this.#reread.unref();
    const isDue = (): boolean => this.#snapshot !== null;
    this.repairs = new Repairs(owner, isDue, log);
    const reload = (): Promise<void> => this.reload();
    this.follower = new Follower(owner, { isDue, reload, repairAll: () => this.repairs.repairAll() }, log);
  }

  /** Null until it was read, and when the database has no tviews. */
  get snapshot(): CatalogSnapshot | null {
    return this.#snapshot;
  }

  /** As was last read: whoever is told of these must not believe that all is well because the owner's connection is lost. */
  suspended(): readonly SuspendedTview[] {
    return this.#suspended;
  }

  /** As was last read, too. */
  building(): readonly BuildingTview[] {
    return this.#building;
  }

  /** Resolves after the first attempt, whether it worked or not. */
  async start(): Promise<void> {
    const client = ownerClient(this.#owner, 'tviews catalog');
    client.on('error', (error) => this.#lost(error));
    client.on('end', () => this.#lost(null));
    client.on('notification', () => void this.reload());
    try {
      await client.connect();
      this.#client = client;
      await client.query(`LISTEN ${registryChannel}`);
      await this.reload();
    } catch (error) {
      this.#client = null;
      client.removeAllListeners('end');
      client.end().catch(() => {}); // it is broken already; the reason is in `error`
      this.#lost(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Reads the registry anew. Called after our own DDL too, so that it counts at once. */
  async reload(): Promise<void> {
    if (this.#client === null) return;
    if (this.#reading) {
      this.#readAgain = true;
      return;
    }
    this.#reading = true;
    try {
      do {
        this.#readAgain = false;
        const registry = await readRegistry(executorOf(this.#client));
        this.#snapshot = snapshotOf(registry);
        this.#suspended = (registry?.tviews ?? [])
          .filter(({ isSuspended }) => isSuspended)
          .map((tview) => ({
            database: this.#name,
            tview: `${tview.schema}.${tview.name}`,
            resume: `tviews resume ${writtenName(tview)}`,
          }));
        this.#building = (registry?.tviews ?? []).flatMap(({ becomes }) =>
          becomes === null ? [] : [{ database: this.#name, tview: becomes }],
        );
      } while (this.#readAgain);
      // What is told of, by whoever it was, may be a change of what others read; what is not told of is looked for now and then.
      this.follower.followSoon(0);
    } catch (error) {
      this.#log.warn(
        { err: error },
        'could not read the registry of tviews; leaving all refreshes to the database',
      );
      this.#snapshot = null;
    } finally {
      this.#reading = false;
    }
  }

  /**
   * Flushes changes in a transaction of the owner's: of a session that has committed them without.
   * @throws when there is no owner connection, or the refresh fails
   */
  async flush(changes: string): Promise<void> {
    if (this.#client === null) throw new Error('there is no owner connection');
    await flushForNoWriter(executorOf(this.#client), changes);
  }

  #lost(error: Error | null): void {
    if (this.#closed || this.#retry !== null) return;
    this.#client = null;
    this.#snapshot = null;
    this.#log.warn(
      { err: error ?? undefined },
      'no owner connection for the registry of tviews; refreshes are left to the database until there is one',
    );
    this.#retry = setTimeout(() => {
      this.#retry = null;
      void this.start();
    }, RETRY_MS);
    this.#retry.unref();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#reread);
    if (this.#retry !== null) clearTimeout(this.#retry);
    const client = this.#client;
    this.#client = null;
    await Promise.all([client?.end(), this.repairs.close(), this.follower.close()]);
  }
}

function snapshotOf(registry: ProxyRegistry | null): CatalogSnapshot | null {
  if (registry === null) return null;
  return {
    sources: namesPattern(registry.sources.flatMap(({ name, members }) => [name, ...members])),
    tviews: namesPattern([...registry.tviews, ...registry.views].map((relation) => relation.name)),
    claimMessage: functionCall(registry.functions.claim, [registry.secret, claimVersion]),
    flushOid: registry.functions.flush,
    sourceNames: new Map(registry.sources.map((source) => [source.id, `${source.schema}.${source.name}`])),
    tviewTables: new Map(registry.tviews.map((tview) => [tview.id, tview.name])),
    unverified: new Set(
      registry.tviews
        .filter(({ isSuspended, becomes }) => isSuspended || becomes !== null)
        .map(({ id }) => id),
    ),
    tviewNames: new Map(registry.tviews.map((tview) => [tview.id, `${tview.schema}.${tview.name}`])),
  };
}

/** Names anywhere in a text, whatever stands around them: a match too many costs a claim or a flush, no more. */
function namesPattern(names: readonly string[]): RegExp | null {
  if (names.length === 0) return null;
  // What has another name in it is matched by that one: a partition is mostly called after its table.
  const distinct = [...new Set(names)].toSorted((a, b) => a.length - b.length);
  const shortest: string[] = [];
  for (const name of distinct) if (!shortest.some((other) => name.includes(other))) shortest.push(name);
  const escaped = shortest.map((name) => name.replaceAll('"', '""').replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(escaped.join('|'), 'i');
}
