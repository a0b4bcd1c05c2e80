/**
 * The server connections of one (database, user): who gets which server, and who waits. One login at a time, as in
 * PgBouncer; idle servers are taken last in, first out, so that the surplus grows old and is closed by the janitor.
 *
 * ```
 *   login ──▶ idle ──acquire──▶ active ──release──▶ idle | resetting (session mode) | closing
 *                                    └─ cancel in flight ──▶ held back until it has ended ──▶ idle
 * ```
 */
import type { Logger } from 'pino';
import { SqlState } from '../../src/errors/errors.ts';
import type { DatabaseTimes } from '../../src/observe/metrics.ts';
import { clock } from '../relay/clock.ts';
import { runOwn } from '../relay/link-executor.ts';
import { ServerError } from '../relay/own-query.ts';
import type { ServerSource, SourceStats } from '../relay/ports.ts';
import { ServerLink } from '../relay/server-link.ts';
import type { Session } from '../relay/session.ts';
import { sendCancel } from '../server/cancel.ts';
import { connectServer } from '../server/handshake.ts';
import { ParameterValues } from '../server/parameters.ts';
import { ServerLoginError, type ServerTarget } from '../server/target.ts';
import { ServerStatements } from '../statements/store.ts';
import { terminate } from '../wire/messages/requests.ts';
import type { TrackedParameters } from '../wire/parameters.ts';

export interface PoolSettings {
  readonly mode: 'session' | 'transaction' | 'statement';
  /** Most server connections; 0: no limit. */
  readonly size: number;
  readonly maxPreparedStatements: number;
  /** Null: none. */
  readonly resetQuery: string | null;
  readonly connectQuery: string | null;
  /** All in milliseconds; 0: never, except for the lifetime, where it means "used once". */
  readonly queryWaitTimeoutMs: number;
  readonly serverLifetimeMs: number;
  readonly serverIdleTimeoutMs: number;
  readonly serverLoginRetryMs: number;
}

type Waiting = { readonly session: Session; readonly since: number };

/** Asks for the parameters a fresh server reports: the first client of a pool waits for the first login. */
type WelcomeCallback = (
  error: ServerLoginError | null,
  parameters: ReadonlyMap<string, string> | null,
) => void;

export class Pool implements ServerSource {
  readonly database: string;
  readonly user: string;
  readonly stats: SourceStats;
  readonly #settings: PoolSettings;
  readonly #target: ServerTarget;
  readonly #tracked: TrackedParameters;
  readonly #times: DatabaseTimes;
  readonly #log: Logger;
  readonly #onClosed: (reason: string) => void;
  readonly #abort = new AbortController();

  readonly #idle: ServerLink[] = [];
  readonly #active = new Set<ServerLink>();
  /** Being reset, or held back until a cancel request has ended. */
  readonly #settling = new Set<ServerLink>();
  #waiting: Waiting[] = [];
  #welcome: ReadonlyMap<string, string> | null = null;
  #welcomeCallbacks: WelcomeCallback[] = [];
  #loggingIn = false;
  #closing = false;
  #lastFailure: { readonly error: ServerLoginError; readonly until: number } | null = null;

  constructor(deps: {
    database: string;
    user: string;
    settings: PoolSettings;
    target: ServerTarget;
    tracked: TrackedParameters;
    times: DatabaseTimes;
    log: Logger;
    onClosed: (reason: string) => void;
  }) {
    this.database = deps.database;
    this.user = deps.user;
    this.#settings = deps.settings;
    this.#target = deps.target;
    this.#tracked = deps.tracked;
    this.#times = deps.times;
    this.#log = deps.log.child({ database: deps.database, user: deps.user });
    this.#onClosed = deps.onClosed;
    const times = deps.times;
    this.stats = {
      queries: 0,
      transactions: 0,
      receivedBytes: 0,
      observeQuery: (seconds) => times.query.observe(seconds),
      observeTransaction: (seconds) => times.transaction.observe(seconds),
    };
  }

  get mode(): 'session' | 'transaction' | 'statement' {
    return this.#settings.mode;
  }

  get counts(): {
    readonly idle: number;
    readonly active: number;
    readonly settling: number;
    readonly login: number;
  } {
    return {
      idle: this.#idle.length,
      active: this.#active.size,
      settling: this.#settling.size,
      login: this.#loggingIn ? 1 : 0,
    };
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  get #total(): number {
    return this.#idle.length + this.#active.size + this.#settling.size + (this.#loggingIn ? 1 : 0);
  }

  /** The parameters a server reports at login, for the client's welcome. */
  welcome(callback: WelcomeCallback): void {
    if (this.#welcome !== null) callback(null, this.#welcome);
    else if (this.failure !== null) callback(this.failure, null);
    else {
      this.#welcomeCallbacks.push(callback);
      this.#launch();
    }
  }

  /** The login failure that still counts (server_login_retry). */
  get failure(): ServerLoginError | null {
    if (this.#lastFailure === null || performance.now() > this.#lastFailure.until) return null;
    return this.#lastFailure.error;
  }

  acquire(session: Session): ServerLink | null {
    if (this.#waiting.length === 0) {
      let link = this.#idle.pop();
      // Its end may have come and not been told yet.
      while (link !== undefined && !link.isReusable) {
        this.#close(link);
        link = this.#idle.pop();
      }
      if (link !== undefined) {
        this.#active.add(link);
        this.#times.wait.observe(0);
        return link;
      }
    }
    this.#waiting.push({ session, since: clock.now });
    const failure = this.#total === 0 ? this.failure : null;
    // Not at once: the session has not noted yet that it waits.
    if (failure !== null) queueMicrotask(() => this.#refuseAll(failure));
    else this.#launch();
    return null;
  }

  leave(session: Session): void {
    this.#waiting = this.#waiting.filter((waiting) => waiting.session !== session);
  }

  release(link: ServerLink, session: Session): void {
    this.#active.delete(link);
    if (!link.isReusable) {
      this.#close(link, link.queue.size > 0 && !link.saidGoodbye);
      this.#launch();
      return;
    }
    void session;
    link.saidGoodbye = false;
    if (link.cancelsInFlight === 0) {
      this.#recycle(link);
      return;
    }
    // A cancel that arrives late must hit neither the reset nor the next client's query: cancel() goes on with it.
    this.#settling.add(link);
    link.onUnlinkedClose = () => {
      this.#close(link);
      this.#launch();
    };
  }

  #recycle(link: ServerLink): void {
    if (this.#settings.resetQuery !== null) this.#reset(link, this.#settings.resetQuery);
    else this.#free(link);
  }

  #reset(link: ServerLink, resetQuery: string): void {
    this.#settling.add(link);
    // Lost in the middle of it, the query tells.
    link.onUnlinkedClose = () => {};
    runOwn(link, resetQuery).then(
      () => {
        this.#settling.delete(link);
        this.#free(link);
      },
      (error: unknown) => {
        link.closeReason ??= `server_reset_query failed: ${error instanceof Error ? error.message : error}`;
        this.#close(link);
        this.#launch();
      },
    );
  }

  /** A reusable server goes to whoever has waited longest, or becomes idle. */
  #free(link: ServerLink, isNew = false): void {
    // A new one is used in any case: with a lifetime of 0 it would otherwise be replaced for ever.
    const tooOld = !isNew && this.#isTooOld(link);
    if (this.#closing || tooOld || !link.isReusable) {
      if (this.#closing) link.closeReason ??= 'server shutting down';
      else if (tooOld) link.closeReason ??= 'server lifetime over';
      this.#close(link);
      this.#launch();
      return;
    }
    const next = this.#waiting.shift();
    if (next !== undefined) {
      this.#active.add(link);
      this.#times.wait.observe((clock.now - next.since) / 1000);
      next.session.assigned(link);
      return;
    }
    link.idleSince = clock.now;
    link.onUnlinkedClose = (reason) => {
      link.closeReason ??= reason;
      const at = this.#idle.indexOf(link);
      if (at >= 0) this.#idle.splice(at, 1);
      this.#close(link);
    };
    this.#idle.push(link);
  }

  #isTooOld(link: ServerLink): boolean {
    return clock.now - link.connectedAt >= this.#settings.serverLifetimeMs;
  }

  /** @param busy a statement is running that nobody waits for any more: cancel it, or it would run on */
  #close(link: ServerLink, busy = false): void {
    this.#settling.delete(link);
    link.retire();
    link.onUnlinkedClose = () => {};
    if (link.wire.closed && link.closeReason === null) link.closeReason = 'server conn crashed?';
    const reason = link.closeReason ?? 'closed';
    this.#log.info(
      { reason },
      `closing because: ${reason} (age=${Math.round((performance.now() - link.connectedAt) / 1000)}s)`,
    );
    this.#onClosed(reason);
    if (link.wire.closed) return;
    if (busy) {
      sendCancel(this.#target, link.processId, link.secretKey)
        .catch((error: unknown) => this.#log.warn({ err: error }, 'could not cancel an abandoned query'))
        .finally(() => link.wire.destroy());
      return;
    }
    link.wire.end(terminate);
  }

  /** Forwards a client's cancel request; settles when the server has ended that connection. */
  async cancel(link: ServerLink): Promise<void> {
    link.cancelsInFlight += 1;
    try {
      await sendCancel(this.#target, link.processId, link.secretKey);
    } catch (error) {
      // Nobody knows whether the signal is still to come: this server is not for another client.
      link.closeReason ??= 'cancel request failed';
      throw error;
    } finally {
      link.cancelsInFlight -= 1;
      // In #settling it can only wait for us: its reset, too, begins when the last cancel has ended.
      if (link.cancelsInFlight === 0 && this.#settling.delete(link)) {
        clock.tick();
        this.#afterCancels(link);
      }
    }
  }

  #afterCancels(link: ServerLink): void {
    if (link.isReusable) {
      this.#recycle(link);
      return;
    }
    this.#close(link);
    this.#launch();
  }

  /** Starts a login if somebody waits, there is room, and the last one did not fail just now. */
  #launch(): void {
    if (this.#loggingIn || this.#closing || this.failure !== null) return;
    if (this.#waiting.length === 0 && this.#welcomeCallbacks.length === 0) return;
    if (this.#settings.size > 0 && this.#total >= this.#settings.size) return;
    this.#loggingIn = true;
    this.#logIn().then(
      (link) => {
        this.#loggingIn = false;
        this.#lastFailure = null;
        clock.tick();
        this.#free(link, true);
        this.#launch();
      },
      (error: unknown) => {
        this.#loggingIn = false;
        const failure = loginFailure(error);
        this.#log.warn({ err: failure }, `server login failed: ${failure.message}`);
        this.#lastFailure = { error: failure, until: performance.now() + this.#settings.serverLoginRetryMs };
        const callbacks = this.#welcomeCallbacks;
        this.#welcomeCallbacks = [];
        for (const callback of callbacks) callback(failure, null);
        if (this.#total === 0) this.#refuseAll(failure);
      },
    );
  }

  async #logIn(): Promise<ServerLink> {
    const login = await connectServer(this.#target, this.#abort.signal);
    clock.tick();
    const link = new ServerLink(login.wire, {
      processId: login.pid,
      secretKey: login.secret,
      parameters: new ParameterValues(this.#tracked, login.parameters),
      statements: new ServerStatements(Math.max(1, this.#settings.maxPreparedStatements)),
    });
    this.#log.debug({ serverPid: login.pid }, 'new connection to server');
    if (login.leftover.length > 0) login.wire.onBytes(login.leftover);
    if (this.#settings.connectQuery !== null) {
      try {
        await runOwn(link, this.#settings.connectQuery);
      } catch (error) {
        link.wire.end(terminate);
        throw error;
      }
    }
    this.#welcome = login.parameters;
    const callbacks = this.#welcomeCallbacks;
    this.#welcomeCallbacks = [];
    for (const callback of callbacks) callback(null, login.parameters);
    return link;
  }

  #refuseAll(failure: ServerLoginError): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { session } of waiting) {
      session.refused({ code: failure.code, message: failure.message, detail: failure.detail });
    }
  }

  /** Called a few times a second by the janitor. */
  maintain(): void {
    const { now } = clock;
    const { queryWaitTimeoutMs, serverIdleTimeoutMs } = this.#settings;
    while (
      queryWaitTimeoutMs > 0 &&
      this.#waiting.length > 0 &&
      now - this.#waiting[0]!.since > queryWaitTimeoutMs
    ) {
      const { session } = this.#waiting.shift()!;
      session.refused({ code: SqlState.tooManyConnections, message: 'query_wait_timeout' });
    }
    for (let index = this.#idle.length - 1; index >= 0; index -= 1) {
      const link = this.#idle[index]!;
      const idle = serverIdleTimeoutMs > 0 && now - link.idleSince > serverIdleTimeoutMs;
      if (!idle && !this.#isTooOld(link) && link.closeReason === null) continue;
      link.closeReason ??= idle ? 'server idle timeout' : 'server lifetime over';
      this.#idle.splice(index, 1);
      this.#close(link);
    }
    this.#launch();
  }

  /** Closes what is idle and everything else as it is released. */
  shutDown(): void {
    this.#closing = true;
    this.#abort.abort(new Error('shutting down'));
    for (const link of this.#idle.splice(0)) {
      link.closeReason ??= 'server shutting down';
      this.#close(link);
    }
  }

  /** At once, whatever is under way. */
  destroy(): void {
    this.shutDown();
    for (const link of [...this.#active, ...this.#settling]) link.wire.destroy();
  }
}

function loginFailure(error: unknown): ServerLoginError {
  if (error instanceof ServerLoginError) return error;
  // connect_query is part of the login, and its error the server's own.
  if (error instanceof ServerError) return ServerLoginError.refused(error.report);
  return ServerLoginError.protocol(error instanceof Error ? error.message : String(error));
}
