/**
 * The proxy put together: listens, logs clients in, finds each its pool and its database's catalog, and keeps the
 * books that belong to no single one of them (who has which cancel key, how many clients there are).
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { type DatabaseSettings, findDatabase, type Settings } from '../src/config/settings.ts';
import { SqlState, TviewsError } from '../src/errors/errors.ts';
import type { Logger } from '../src/observe/log.ts';
import type {
  BuildingTview,
  Metrics,
  PoolSnapshot,
  SuspendedTview,
  VerifiedTview,
} from '../src/observe/metrics.ts';
import { readAuthFile } from './client/auth-file.ts';
import { acceptClient, type ClientLogin } from './client/login.ts';
import { startJanitor } from './pool/janitor.ts';
import { Pool } from './pool/pool.ts';
import { Session } from './relay/session.ts';
import { ParameterValues } from './server/parameters.ts';
import { StatementStore } from './statements/store.ts';
import { Catalog } from './tviews/catalog.ts';
import { SessionTviewDdl } from './tviews/ddl.ts';
import { DatabaseSessionRefresh } from './tviews/session-refresh.ts';
import { Verifier } from './tviews/verifier.ts';
import { credentialsFrom, type ServerCredentials, type UserSecret } from './wire/authentication/secret.ts';
import { TransactionStatus } from './wire/codes.ts';
import { authenticationOk } from './wire/messages/authentication.ts';
import { errorResponse } from './wire/messages/report.ts';
import { backendKeyData, parameterStatus, readyForQuery } from './wire/messages/session.ts';
import { TrackedParameters } from './wire/parameters.ts';
import { WireSocket } from './wire/socket.ts';

/** Texts of prepared statements kept in the store, at most. */
const STATEMENT_STORE_BYTES = 64 * 1_048_576;

/** As docs/settings.md says of verify_interval. */
const VERIFY_REST_FACTOR = 20;

export interface ProxyDeps {
  readonly log: Logger;
  readonly metrics: Metrics;
}

export interface RunningProxy {
  readonly port: number;
  /** Addresses listened on, as `host:port`. */
  readonly addresses: readonly string[];
  /** Whether a server can be reached: a login, or a pool that has one. */
  ready(): Promise<{ readonly ok: boolean; readonly reason?: string }>;
  pools(): readonly PoolSnapshot[];
  /** Tviews that nobody keeps in step. */
  suspended(): readonly SuspendedTview[];
  /** Tviews that "tviews apply" is building. */
  building(): readonly BuildingTview[];
  /** What the background verifier knows; empty where it is off. */
  verification(): readonly VerifiedTview[];
  /** Stops listening, closes clients between transactions within `graceMs`, then everything. */
  close(graceMs?: number): Promise<void>;
}

/**
 * @throws TviewsError with the system's reason when a port cannot be had
 */
export async function startProxy(settings: Settings, deps: ProxyDeps): Promise<RunningProxy> {
  const users = await readUsers(settings);
  const proxy = new ProxyServer(settings, users, deps);
  await proxy.listen();
  return proxy;
}

async function readUsers(settings: Settings): Promise<ReadonlyMap<string, UserSecret> | null> {
  const { auth_file: file } = settings.pgbouncer;
  const fromFile = file === null ? null : await readAuthFile(file);
  if (settings.logins.size === 0) return fromFile;
  const users = new Map<string, UserSecret>(fromFile ?? []);
  for (const [name, password] of settings.logins) {
    if (!users.has(name)) users.set(name, { kind: 'plain', password });
  }
  return users;
}

class ProxyServer implements RunningProxy {
  readonly #settings: Settings;
  readonly #users: ReadonlyMap<string, UserSecret> | null;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #servers: Server[] = [];
  readonly #tracked = new TrackedParameters();
  readonly #store = new StatementStore(STATEMENT_STORE_BYTES);
  readonly #pools = new Map<string, Pool>();
  readonly #catalogs = new Map<string, Catalog>();
  readonly #verifiers: Verifier[] = [];
  /** By the cancel key the client was given, in hex. */
  readonly #sessions = new Map<string, { readonly session: Session; readonly pool: Pool }>();
  readonly #keys = new Map<Session, string>();
  /** Clients that have not logged in yet. */
  readonly #loggingIn = new Set<WireSocket>();
  #stopJanitor: () => void = () => {};
  #draining = false;
  #whenEmpty: (() => void) | null = null;

  constructor(settings: Settings, users: ReadonlyMap<string, UserSecret> | null, deps: ProxyDeps) {
    this.#settings = settings;
    this.#users = users;
    this.#log = deps.log;
    this.#metrics = deps.metrics;
  }

  get port(): number {
    return (this.#servers[0]!.address() as AddressInfo).port;
  }

  get addresses(): readonly string[] {
    return this.#servers.map((server) => {
      const { address, port } = server.address() as AddressInfo;
      return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
    });
  }

  async listen(): Promise<void> {
    const { listen_addr: addresses, listen_port: port } = this.#settings.pgbouncer;
    for (const address of addresses) {
      const server = createServer({ noDelay: true, keepAlive: true }, (socket) => this.#accept(socket));
      try {
        server.listen(port, address === '*' ? undefined : address);
        await once(server, 'listening');
      } catch (error) {
        throw listenError(error, address, port);
      }
      // From here on: what kept it from listening is thrown above.
      server.on('error', (error) => this.#log.error({ err: error }, 'listening socket failed'));
      this.#servers.push(server);
    }
    this.#metrics.watchPools(() => this.pools());
    this.#metrics.watchSuspended(() => this.suspended());
    this.#metrics.watchBuilding(() => this.building());
    this.#metrics.watchVerification(() => this.verification());
    this.#metrics.watchStatements(this.#store);
    this.#stopJanitor = startJanitor(() => this.#pools.values());
    // Known databases are looked up now, so that the first transaction is claimed already.
    await Promise.all(
      [...this.#settings.databases.values()].map((database) => this.#catalog(database)?.started),
    );
    this.#log.info({ addresses: this.addresses }, 'listening');
  }

  #accept(socket: Socket): void {
    const wire = WireSocket.accept(socket);
    if (this.#draining) {
      wire.end(
        errorResponse({
          severity: 'FATAL',
          code: SqlState.adminShutdown,
          message: 'the proxy is shutting down',
        }),
      );
      return;
    }
    this.#loggingIn.add(wire);
    wire.onClose = () => this.#loggingIn.delete(wire);
    const { pgbouncer } = this.#settings;
    acceptClient(wire, {
      settings: {
        authType: pgbouncer.auth_type,
        ignoreStartupParameters: new Set(pgbouncer.ignore_startup_parameters),
        clientLoginTimeoutMs: pgbouncer.client_login_timeout * 1000,
        trackedParameters: this.#tracked,
      },
      users: this.#users,
      databaseExists: (name) => findDatabase(this.#settings, name) !== undefined,
      cancel: (key) => this.#cancel(key),
      authenticated: (login) => this.#authenticated(login),
      log: this.#log,
    });
  }

  #authenticated(login: ClientLogin): void {
    this.#loggingIn.delete(login.wire);
    const refuse = (code: string, message: string, detail?: string) =>
      login.wire.end(errorResponse({ severity: 'FATAL', code, message, detail }));
    const isFull = (): boolean => {
      if (this.#sessions.size < this.#settings.pgbouncer.max_client_conn) return false;
      refuse(SqlState.tooManyConnections, 'no more connections allowed (max_client_conn)');
      return true;
    };
    if (isFull()) return;
    const database = findDatabase(this.#settings, login.database);
    if (database === undefined) {
      refuse(SqlState.invalidCatalogName, `database "${login.database}" does not exist`);
      return;
    }
    const pool = this.#pool(database, login);
    let gone = false;
    login.wire.onClose = () => {
      gone = true;
    };
    login.wire.pause();
    pool.welcome((error, parameters) => {
      if (gone) return;
      login.wire.resume();
      if (error !== null || parameters === null) {
        refuse(error?.code ?? SqlState.cannotConnectNow, error?.message ?? 'no server', error?.detail);
        return;
      }
      // Again: many may have waited for the first server together.
      if (isFull()) return;
      this.#begin(login, database, pool, parameters);
    });
  }

  #begin(
    login: ClientLogin,
    database: DatabaseSettings,
    pool: Pool,
    serverParameters: ReadonlyMap<string, string>,
  ): void {
    const parameters = new ParameterValues(this.#tracked, login.parameters);
    parameters.fillUnset(new ParameterValues(this.#tracked, serverParameters));
    const log = this.#log.child({ database: login.database, user: login.user });
    const catalog = this.#catalog(database)?.catalog ?? null;
    const { slow_flush: slowFlushMs, pending_bytes: pendingBytes } = this.#settings.tviews;
    const refresh =
      catalog === null
        ? null
        : new DatabaseSessionRefresh(catalog, { slowFlushMs, pendingBytes }, this.#metrics, log);
    const session = new Session({
      client: login.wire,
      source: pool,
      store: this.#store,
      renamesStatements: pool.mode !== 'session' && this.#settings.pgbouncer.max_prepared_statements > 0,
      parameters,
      refresh,
      ddl: new SessionTviewDdl(catalog, refresh),
      log,
      onClosed: (closed, reason) => this.#sessionClosed(closed, reason),
    });
    const key = this.#newKey();
    this.#sessions.set(key.toString('hex'), { session, pool });
    this.#keys.set(session, key.toString('hex'));
    this.#metrics.clientLoggedIn();
    log.info(`login attempt: db=${login.database} user=${login.user}`);
    const welcome = [authenticationOk];
    for (const [name, value] of serverParameters) {
      welcome.push(parameterStatus(name, parameters.get(name) ?? value));
    }
    welcome.push(backendKeyData(key.readInt32BE(0), key.subarray(4)), readyForQuery(TransactionStatus.idle));
    login.wire.write(Buffer.concat(welcome));
    session.begin(login.leftover);
  }

  /** Eight random bytes of our own; the first half is shown as a process id and so not negative. */
  #newKey(): Buffer {
    for (;;) {
      const key = randomBytes(8);
      key[0]! &= 0x7f;
      if (!this.#sessions.has(key.toString('hex'))) return key;
    }
  }

  #sessionClosed(session: Session, reason: string): void {
    const key = this.#keys.get(session);
    this.#keys.delete(session);
    if (key !== undefined) this.#sessions.delete(key);
    this.#metrics.closed(reason);
    session.log.info({ reason }, `closing because: ${reason}`);
    if (this.#sessions.size === 0) this.#whenEmpty?.();
  }

  async #cancel(key: Buffer): Promise<void> {
    const found = this.#sessions.get(key.toString('hex'));
    this.#metrics.cancelRequested();
    if (found === undefined) return;
    const { session, pool } = found;
    if (session.isWaiting) session.cancelWaiting();
    else if (session.link !== null) await pool.cancel(session.link);
  }

  #pool(database: DatabaseSettings, login: ClientLogin): Pool {
    const user = database.user ?? login.user;
    const id = JSON.stringify([database.name, user]);
    const known = this.#pools.get(id);
    if (known !== undefined) return known;
    const { pgbouncer } = this.#settings;
    const mode = this.#settings.users.get(user)?.pool_mode ?? database.pool_mode ?? pgbouncer.pool_mode;
    const resets = mode === 'session' || pgbouncer.server_reset_query_always;
    const pool = new Pool({
      database: database.name,
      user,
      settings: {
        mode,
        size: database.pool_size ?? pgbouncer.default_pool_size,
        maxPreparedStatements: pgbouncer.max_prepared_statements,
        resetQuery: resets && pgbouncer.server_reset_query !== '' ? pgbouncer.server_reset_query : null,
        connectQuery: database.connect_query,
        queryWaitTimeoutMs: pgbouncer.query_wait_timeout * 1000,
        serverLifetimeMs: pgbouncer.server_lifetime * 1000,
        serverIdleTimeoutMs: pgbouncer.server_idle_timeout * 1000,
        serverLoginRetryMs: pgbouncer.server_login_retry * 1000,
      },
      target: {
        host: database.host,
        port: database.port,
        database: database.dbname,
        user,
        credentials: this.#serverCredentials(database, user, login.credentials),
        connectTimeoutMs: pgbouncer.server_connect_timeout * 1000,
      },
      tracked: this.#tracked,
      times: this.#metrics.timesOf(database.name),
      log: this.#log,
      onClosed: (reason) => this.#metrics.closed(reason),
    });
    this.#pools.set(id, pool);
    return pool;
  }

  #serverCredentials(
    database: DatabaseSettings,
    user: string,
    fromClient: ServerCredentials | null,
  ): ServerCredentials | null {
    if (database.password !== null) return { kind: 'password', password: database.password };
    return credentialsFrom(this.#users?.get(user)) ?? (database.user === null ? fromClient : null);
  }

  /** The catalog of the database a line points to; null where refresh is off or no owner is known. */
  #catalog(
    database: DatabaseSettings,
  ): { readonly catalog: Catalog; readonly started: Promise<void> } | null {
    if (!this.#settings.tviews.refresh) return null;
    const owner = this.#owner(database);
    if (owner === null) return null;
    const id = JSON.stringify([database.host, database.port, database.dbname]);
    const known = this.#catalogs.get(id);
    if (known !== undefined) return { catalog: known, started: Promise.resolve() };
    const connection = {
      host: database.host,
      port: database.port,
      database: database.dbname,
      ...owner,
      connectTimeoutMs: this.#settings.pgbouncer.server_connect_timeout * 1000,
    };
    const catalog = new Catalog(database.name, connection, this.#log);
    this.#catalogs.set(id, catalog);
    const { verify_interval: intervalMs, verify_rows: rows } = this.#settings.tviews;
    if (intervalMs > 0) {
      const verifier = new Verifier(
        database.name,
        connection,
        () => catalog.snapshot,
        { intervalMs, rows, restFactor: VERIFY_REST_FACTOR },
        this.#log,
      );
      this.#verifiers.push(verifier);
      verifier.start();
    }
    return { catalog, started: catalog.start() };
  }

  /** Who owns schema tviews: owner_user, else the user the database's line forces. */
  #owner(
    database: DatabaseSettings,
  ): { readonly user: string; readonly password: string | undefined } | null {
    const { owner_user: configured, owner_password: configuredPassword } = this.#settings.tviews;
    const user = configured ?? database.user ?? [...this.#settings.logins.keys()][0] ?? null;
    if (user === null) return null;
    const secret = this.#users?.get(user);
    const password =
      (configured === null ? null : configuredPassword) ??
      (user === database.user ? database.password : null) ??
      (secret?.kind === 'plain' ? secret.password : null) ??
      undefined;
    return { user, password };
  }

  pools(): readonly PoolSnapshot[] {
    const clients = new Map<Pool, number>();
    for (const { pool } of this.#sessions.values()) clients.set(pool, (clients.get(pool) ?? 0) + 1);
    return [...this.#pools.values()].map((pool) => {
      const total = clients.get(pool) ?? 0;
      const { active, idle, settling, login } = pool.counts;
      return {
        database: pool.database,
        clients: {
          active,
          waiting: pool.waitingCount,
          idle: Math.max(0, total - active - pool.waitingCount),
        },
        servers: { active, idle, settling, login },
      };
    });
  }

  verification(): readonly VerifiedTview[] {
    return this.#verifiers.flatMap((verifier) => verifier.verified());
  }

  suspended(): readonly SuspendedTview[] {
    return [...this.#catalogs.values()].flatMap((catalog) => catalog.suspended());
  }

  building(): readonly BuildingTview[] {
    return [...this.#catalogs.values()].flatMap((catalog) => catalog.building());
  }

  async ready(): Promise<{ readonly ok: boolean; readonly reason?: string }> {
    if (this.#draining) return { ok: false, reason: 'draining' };
    const down = [...this.#pools.values()].map((pool) => pool.failure).find((failure) => failure !== null);
    return down === undefined ? { ok: true } : { ok: false, reason: down!.message };
  }

  async close(graceMs = 0): Promise<void> {
    this.#draining = true;
    for (const server of this.#servers) server.close();
    for (const wire of this.#loggingIn) wire.destroy();
    for (const { session } of this.#sessions.values()) session.closeWhenIdle();
    if (this.#sessions.size > 0 && graceMs > 0) await this.#emptyWithin(graceMs);
    for (const { session } of [...this.#sessions.values()]) session.closeForShutdown();
    this.#stopJanitor();
    for (const pool of this.#pools.values()) pool.destroy();
    await Promise.all([...this.#verifiers, ...this.#catalogs.values()].map((one) => one.close()));
  }

  async #emptyWithin(graceMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.#whenEmpty = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function listenError(error: unknown, address: string, port: number): TviewsError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const where = `${address === '*' ? '' : `${address}:`}${port}`;
  const reason =
    code === 'EADDRINUSE'
      ? 'another program listens there'
      : error instanceof Error
        ? error.message
        : String(error);
  return new TviewsError(SqlState.configFileError, `cannot listen on ${where}: ${reason}`, {
    hint: 'Stop that program, or choose another listen_port.',
    cause: error,
  });
}
