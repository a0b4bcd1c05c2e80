/**
 * Random faults under load: two proxies, one in each pool mode, and PostgreSQL itself, all of them killed and all of
 * their connections cut, while clients write by every route. After each fault the service must come back by itself on
 * every route, and the database must agree with what the clients were told.
 */
import type pg from 'pg';
import { type Blog, blogNames, blogRows, blogState, exact, freshBlog } from './blog.ts';
import { connectTo, until, vanish } from './clients.ts';
import { errorKind } from './connection-loss.ts';
import { type CrashingPostgres, startCrashingPostgres } from './crashing-postgres.ts';
import { type FlakyNetwork, startFlakyNetwork } from './flaky-network.ts';
import { Journal } from './journal.ts';
import { type ProxyProcess, proxyProcess } from './proxy-process.ts';
import { Random } from './random.ts';
import {
  gidOf,
  idOf,
  ledgerSchema,
  type Route,
  type Shape,
  shapes,
  tracesThere,
  type Work,
} from './transactions.ts';

/** So many posts are as much as a round's check should look at. */
const MOST_POSTS = 200;
const WRITERS_PER_ROUTE = 2;
/** A route that has not committed anything for so long does not come back by itself any more. */
const STUCK_MS = 60_000;

/** A proxy with a network on either side of it. */
interface Side {
  readonly name: string;
  readonly proxy: ProxyProcess;
  readonly toServer: FlakyNetwork;
  readonly toClients: FlakyNetwork;
}

export interface StormFigures {
  /** Faults that ended a process: a proxy, a backend, all of PostgreSQL. */
  readonly kills: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly acknowledged: number;
  /** Transactions whose end nobody heard of: committed, and not. */
  readonly unheard: { readonly there: number; readonly absent: number };
  /** Prepared transactions that were left behind and found. */
  readonly orphans: number;
  readonly refused: number;
  readonly transactions: Readonly<Record<string, number>>;
}

export interface Storm {
  /**
   * Faults one after the other, until so many of them were kills; throws at the first thing that is not as it must be.
   * @param from the first round, to do one again that has failed
   */
  rage(kills: number, from?: number): Promise<StormFigures>;
  remove(): Promise<void>;
}

export async function startStorm(seed: number): Promise<Storm> {
  const postgres = await startCrashingPostgres();
  const undo: (() => Promise<unknown>)[] = [() => postgres.remove()];
  const remove = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const blog = await freshBlog({ server: postgres.url });
    await blog.owner.query(ledgerSchema);
    // The owner's connection would be lost at the first crash: every check makes its own.
    await blog.owner.end();
    const direct = await startFlakyNetwork(blog.database);
    undo.push(() => direct.close());
    const sides: Side[] = [];
    for (const poolMode of ['transaction', 'session'] as const) {
      const toServer = await startFlakyNetwork(blog.database);
      undo.push(() => toServer.close());
      const proxy = await proxyProcess(
        { ...blog.database, host: toServer.host, port: toServer.port },
        // Prepared transactions keep others waiting: who ends them must find a server even then.
        { poolMode, poolSize: 20, pgbouncer: { server_login_retry: 0 } },
      );
      undo.push(() => proxy.remove());
      const toClients = await startFlakyNetwork({ host: '127.0.0.1', port: proxy.port });
      undo.push(() => toClients.close());
      await proxy.start();
      sides.push({ name: poolMode, proxy, toServer, toClients });
    }
    return {
      rage: (kills, from = 0) => new Rage(seed, postgres, blog, sides, direct).run(kills, from),
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

class Rage {
  readonly #seed: number;
  readonly #postgres: CrashingPostgres;
  readonly #blog: Blog;
  readonly #sides: readonly Side[];
  readonly #direct: FlakyNetwork;
  readonly #routes: readonly Route[];
  readonly #journal = new Journal();
  readonly #writers = new Set<Writer>();
  readonly #shapes = new Map<string, number>();
  #refused = 0;
  #orphans = 0;
  #finding: unknown = null;
  #dice: Random;

  constructor(
    seed: number,
    postgres: CrashingPostgres,
    blog: Blog,
    sides: readonly Side[],
    direct: FlakyNetwork,
  ) {
    this.#seed = seed;
    this.#dice = Random.of(seed);
    this.#postgres = postgres;
    this.#blog = blog;
    this.#sides = sides;
    this.#direct = direct;
    this.#routes = [
      ...sides.map(({ name, toClients }) => ({ name, url: this.#urlAt(toClients.port) })),
      { name: 'direct', url: this.#urlAt(direct.port) },
    ];
  }

  #urlAt(port: number): string {
    const url = new URL(this.#blog.database.app.url);
    url.port = String(port);
    return url.href;
  }

  async run(kills: number, from: number): Promise<StormFigures> {
    let killed = 0;
    const faults: Record<string, number> = {};
    const unheard = { there: 0, absent: 0 };
    for (let round = from; killed < kills; round += 1) {
      const dice = Random.of(this.#seed + round * 7919);
      this.#dice = dice;
      const fault = dice.pick(this.#faults());
      try {
        // A proxy that has lost its registry claims nothing for a while: most faults shall meet one that does.
        if (dice.below(4) > 0) await this.#registriesRead();
        await this.#round(fault.happens);
        const there = await this.#check();
        const ends = this.#journal.learn(there);
        unheard.there += ends.there;
        unheard.absent += ends.absent;
        if (there.size > MOST_POSTS) await this.#clean();
      } catch (error) {
        throw new Error(`in round ${round} of seed ${this.#seed}, after "${fault.name}": ${error}`, {
          cause: error,
        });
      }
      faults[fault.name] = (faults[fault.name] ?? 0) + 1;
      if (/^(kill|immediate stop|pg_terminate)/.test(fault.name)) killed += 1;
    }
    return {
      kills: killed,
      faults,
      acknowledged: this.#journal.acknowledged,
      unheard,
      orphans: this.#orphans,
      refused: this.#refused,
      transactions: Object.fromEntries(this.#shapes),
    };
  }

  async #registriesRead(): Promise<void> {
    await until('every proxy has read the registry', () =>
      this.#asSuperuser(async (admin) => {
        const { rows } = await admin.query<{ n: number }>(
          `SELECT count(*)::int AS n FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = 'tviews catalog'
             AND state = 'idle' AND query <> '' AND query NOT LIKE 'LISTEN%'`,
        );
        return rows[0]!.n === this.#sides.length;
      }),
    );
  }

  /** Load, the fault, load again by every route, and the end of all of it. */
  async #round(happens: () => Promise<void>): Promise<void> {
    const stop = { wanted: false };
    const writers = this.#routes.flatMap((route) =>
      Array.from({ length: WRITERS_PER_ROUTE }, () => this.#write(route, stop)),
    );
    const resolver = this.#resolveOrphans(stop);
    let over = false;
    const ended = Promise.allSettled([...writers, resolver]).then((results) => {
      over = true;
      return results;
    });
    try {
      const target = this.#journal.acknowledged + 1 + this.#dice.below(12);
      await this.#until('some transactions are acknowledged', () => this.#journal.acknowledged >= target);
      await new Promise((resolve) => setTimeout(resolve, this.#dice.below(20)));
      await happens();
      const before = new Map([...this.#writers].map((writer) => [writer, writer.committed]));
      await this.#until('every route commits again', () =>
        this.#routes.every(({ name }) =>
          [...this.#writers].some(
            (writer) => writer.route === name && writer.committed > (before.get(writer) ?? 0),
          ),
        ),
      );
    } finally {
      stop.wanted = true;
      // A writer that waits for a transaction which nobody ends would wait for ever: say who waits instead.
      await this.#until('every writer has ended', () => over);
      this.#writers.clear();
    }
    const failed = (await ended).find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    for (const deadline = Date.now() + STUCK_MS; Date.now() < deadline; ) {
      if (this.#finding !== null) throw this.#finding;
      if (holds()) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(`waited in vain until ${what}:\n${await this.#activity()}`);
  }

  async #activity(): Promise<string> {
    return this.#asSuperuser(async (admin) => {
      const { rows } = await admin.query(
        `SELECT pid, usename, state, wait_event_type, wait_event, pg_blocking_pids(pid) AS blocked_by, left(query, 60) AS query
         FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
      );
      const { rows: prepared } = await admin.query('SELECT gid, prepared FROM pg_prepared_xacts');
      return [...this.#writers, ...rows, ...prepared].map((row) => JSON.stringify(row)).join('\n');
    });
  }

  // ------------------------------------------------------------------------------------------------------- clients

  async #write(route: Route, stop: { readonly wanted: boolean }): Promise<void> {
    const dice = Random.of(this.#dice.below(2 ** 31));
    const writer: Writer = { route: route.name, committed: 0, doing: 'connects' };
    this.#writers.add(writer);
    let client: pg.Client | null = null;
    const kinds = Object.keys(shapes) as Shape[];
    try {
      while (!stop.wanted) {
        try {
          writer.doing = 'connects';
          client ??= await connectTo(route.url);
          const shape = dice.pick(kinds);
          writer.doing = shape;
          this.#shapes.set(shape, (this.#shapes.get(shape) ?? 0) + 1);
          const before = this.#journal.acknowledged;
          const work: Work = {
            client,
            routes: this.#routes,
            journal: this.#journal,
            dice,
            extended: dice.below(2) === 0,
          };
          await shapes[shape](work);
          // Others may have been acknowledged meanwhile: what counts is that this route still gets to the end of things.
          if (this.#journal.acknowledged > before) writer.committed += 1;
        } catch (error) {
          client = await this.#afterError(error, client);
        }
      }
    } finally {
      writer.doing = 'ended';
      if (client !== null) vanish(client);
    }
  }

  /** @returns the client, if it is still good */
  async #afterError(error: unknown, client: pg.Client | null): Promise<pg.Client | null> {
    const kind = errorKind(error);
    if (kind === 'finding') {
      this.#finding ??= error;
      throw error;
    }
    if (kind === 'refused' && client !== null) {
      this.#refused += 1;
      try {
        await client.query('ROLLBACK');
        return client;
      } catch (next) {
        if (errorKind(next) !== 'lost') throw next;
      }
    }
    if (client !== null) vanish(client);
    // Whoever is down needs a moment, and a client that hammers keeps it from getting up.
    await new Promise((resolve) => setTimeout(resolve, 20));
    return null;
  }

  /** Ends prepared transactions whose clients are gone, as an administrator would have to. */
  async #resolveOrphans(stop: { readonly wanted: boolean }): Promise<void> {
    const dice = Random.of(this.#dice.below(2 ** 31));
    const isBusy = (): boolean => [...this.#writers].some(({ doing }) => doing !== 'ended');
    while (!stop.wanted || isBusy()) {
      try {
        await this.#resolveOnce(dice);
      } catch (error) {
        if (errorKind(error) === 'finding') {
          this.#finding ??= error;
          throw error;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  /** @returns how many there were */
  async #resolveOnce(dice: Random): Promise<number> {
    return this.#asSuperuser(async (admin) => {
      const { rows } = await admin.query<{ gid: string }>(
        'SELECT gid FROM pg_prepared_xacts WHERE database = current_database()',
      );
      let found = 0;
      for (const { gid } of rows) {
        const id = idOf(gid);
        if (this.#journal.inHands.has(id)) continue;
        found += 1;
        const fate = this.#journal.fate(id);
        if (fate === 'committed' || fate === 'undone') {
          // Its client may have been told since we looked; else it was told what is not so.
          const again = await admin.query('SELECT FROM pg_prepared_xacts WHERE gid = $1', [gid]);
          if (again.rowCount === 0) continue;
          throw new Error(`${id} is ${fate} to its client, and still prepared`);
        }
        const how = dice.below(2) === 0 ? 'committing' : 'rolling back';
        try {
          this.#journal.resolving(id, how);
          await admin.query(`${how === 'committing' ? 'COMMIT' : 'ROLLBACK'} PREPARED '${gidOf(id)}'`);
          this.#journal.set(id, how === 'committing' ? 'committed' : 'undone');
          this.#orphans += 1;
        } catch (error) {
          const { code } = error as { code?: string };
          // Its client's own second phase, sent and never answered, is under way (55000) or was faster (42704).
          if (code !== '55000' && code !== '42704') throw error;
          this.#journal.set(id, fate ?? 'unknown');
        }
      }
      return found;
    });
  }

  async #asSuperuser<T>(work: (admin: pg.Client) => Promise<T>): Promise<T> {
    const admin = await connectTo(this.#blog.database.superuser.url);
    try {
      return await work(admin);
    } finally {
      vanish(admin);
    }
  }

  // -------------------------------------------------------------------------------------------------------- faults

  #faults(): readonly { readonly name: string; readonly happens: () => Promise<void> }[] {
    const restart = async (sides: readonly Side[]): Promise<void> => {
      await Promise.all(sides.map(({ proxy }) => proxy.kill()));
      await new Promise((resolve) => setTimeout(resolve, this.#dice.below(50)));
      await Promise.all(sides.map(({ proxy }) => proxy.start()));
    };
    const side = (): Side => this.#dice.pick(this.#sides);
    return [
      { name: 'kill -9 of a proxy', happens: () => restart([side()]) },
      { name: 'kill -9 of a proxy', happens: () => restart([side()]) },
      { name: 'kill -9 of both proxies', happens: () => restart(this.#sides) },
      { name: 'immediate stop of PostgreSQL', happens: () => this.#postgres.stopImmediately() },
      {
        name: 'immediate stop of PostgreSQL and kill -9 of a proxy',
        happens: async () => {
          const one = side();
          await Promise.all([this.#postgres.stopImmediately(), one.proxy.kill()]);
          await one.proxy.start();
        },
      },
      { name: 'kill -9 of a backend', happens: () => this.#killBackend() },
      { name: 'pg_terminate_backend', happens: () => this.#signal('pg_terminate_backend', '%') },
      { name: 'pg_terminate_backend', happens: () => this.#signal('pg_terminate_backend', '%') },
      {
        name: 'pg_terminate_backend of a registry connection',
        happens: () => this.#signal('pg_terminate_backend', 'tviews catalog'),
      },
      { name: 'pg_cancel_backend', happens: () => this.#signal('pg_cancel_backend', '%') },
      { name: 'cut between proxy and PostgreSQL', happens: () => this.#cut(side().toServer) },
      { name: 'cut between proxy and PostgreSQL', happens: () => this.#cut(side().toServer) },
      { name: 'cut between client and proxy', happens: () => this.#cut(side().toClients) },
      { name: 'cut between client and proxy', happens: () => this.#cut(side().toClients) },
      { name: 'cut between client and PostgreSQL', happens: () => this.#cut(this.#direct) },
      {
        name: 'all connections of a proxy to PostgreSQL cut',
        happens: async () => void side().toServer.sever(),
      },
      {
        name: 'all connections of clients to a proxy cut',
        happens: async () => void side().toClients.sever(),
      },
    ];
  }

  /** Within a packet some way ahead, this way or that. */
  async #cut(network: FlakyNetwork): Promise<void> {
    let ahead = this.#dice.below(40);
    const cut = network.cut({
      matches: () => ahead-- <= 0,
      answer: this.#dice.below(2) === 0,
      bytes: this.#dice.below(300),
    });
    let happened = false;
    void cut.then(() => {
      happened = true;
    });
    await this.#until('the cut has happened', () => happened);
  }

  /** To some backends that are at work; until there is one. */
  async #signal(how: 'pg_terminate_backend' | 'pg_cancel_backend', application: string): Promise<void> {
    const limit = 1 + this.#dice.below(3);
    await until(`${how} has met somebody`, () =>
      this.#asSuperuser(async (admin) => {
        const { rows } = await admin.query<{ hit: boolean }>(
          `SELECT ${how}(pid) AS hit FROM (
             SELECT pid FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
               AND application_name LIKE $1 AND (state <> 'idle' OR $1 <> '%')
             ORDER BY md5(pid::text || $2) LIMIT $3
           ) AS chosen`,
          [application, String(this.#seed), limit],
        );
        return rows.some(({ hit }) => hit);
      }),
    );
  }

  async #killBackend(): Promise<void> {
    await until('a backend was killed', async () => {
      const pid = await this.#asSuperuser(async (admin) => {
        const { rows } = await admin.query<{ pid: number }>(
          `SELECT pid FROM pg_stat_activity
           WHERE datname = current_database() AND usename = $1 ORDER BY state = 'idle', md5(pid::text || $2) LIMIT 1`,
          [this.#blog.database.app.role, String(this.#seed)],
        );
        return rows[0]?.pid;
      });
      return pid !== undefined && (await this.#postgres.killBackend(pid));
    });
  }

  // -------------------------------------------------------------------------------------------------------- checks

  /** Nobody writes any more. @returns the numbers of the transactions that are there */
  async #check(): Promise<ReadonlySet<number>> {
    if (this.#finding !== null) throw this.#finding;
    await this.#settled();
    const owner = await connectTo(this.#blog.database.owner.url);
    try {
      const { rows } = await owner.query<{ id: number; whole: boolean }>(tracesThere);
      const there = new Set(rows.map(({ id }) => id));
      const state = await blogState(owner);
      const wrong = [
        ...rows.filter(({ whole }) => !whole).map(({ id }) => `only a part of ${id} is there`),
        ...this.#journal.contradictions(there),
        ...blogNames.filter((name) => Object.values(state.divergent[name]!).some((rows) => rows > 0)),
        ...(state.queued === exact.queued ? [] : [`${state.queued} rows are in the queue`]),
      ];
      if (wrong.length > 0) throw new Error(`not as it must be: ${wrong.join('; ')}`);
      return there;
    } finally {
      vanish(owner);
    }
  }

  /** No transaction is left anywhere, prepared or idle in one of a proxy's connections, and no lock. */
  async #settled(): Promise<void> {
    let left = '';
    try {
      await until('nothing runs any more', async () => {
        await this.#resolveOnce(this.#dice);
        left = await this.#asSuperuser(async (admin) => {
          const { rows } = await admin.query<{ left: string }>(`
            SELECT format('%s of %s in %s', pid, usename, state) AS left FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
              AND (state <> 'idle' OR xact_start IS NOT NULL)
            UNION ALL SELECT format('prepared %s', gid) FROM pg_prepared_xacts
            UNION ALL SELECT format('%s lock on %s by %s (%s)', mode, objid, pid, virtualtransaction) FROM pg_locks
            WHERE locktype = 'advisory'`);
          return rows.map((row) => row.left).join(', ');
        });
        return left === '';
      });
    } catch (error) {
      throw new Error(`${error}: ${left}`, { cause: error });
    }
  }

  /** Back to the first rows: what was checked is not looked at again. */
  async #clean(): Promise<void> {
    const owner = await connectTo(this.#blog.database.owner.url);
    try {
      // A proxy may be looking again at what a transaction changed: TRUNCATE and its flush can lock each other out (docs/limits.md).
      for (let attempt = 1; ; attempt++) {
        try {
          await owner.query(`TRUNCATE ledger; ${blogRows}`);
          break;
        } catch (error) {
          if ((error as { code?: string }).code !== '40P01' || attempt === 5) throw error;
        }
      }
    } finally {
      vanish(owner);
    }
    this.#journal.forget();
  }
}

interface Writer {
  readonly route: string;
  committed: number;
  doing: string;
}
