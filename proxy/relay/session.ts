/**
 * One client after it has logged in: reads the client's messages, links a server when one is needed, queues what is
 * forwarded, and asks {@link SessionRefresh} where a claim or a flush has to go in. Answers come through ServerLink.
 *
 * ```
 *            message, no server                    server assigned
 *   idle ───────────────────────▶ waiting ───────────────────────────▶ linked ◀─┐
 *    ▲                                                                   │  │    │ held: replies, flush outcome, DDL
 *    └──── last answer said "idle", nothing outstanding (transaction mode) ──┘  └──┘
 * ```
 * Hot path: a chunk in which nothing has to change is forwarded with one write, as the chunk it came in.
 */
import type { Logger } from 'pino';
import { SqlState } from '../../src/errors/errors.ts';
import type { ParameterValues } from '../server/parameters.ts';
import { classify, StatementClass } from '../statements/classify.ts';
import type { Statement, StatementStore } from '../statements/store.ts';
import { Frontend, TransactionStatus } from '../wire/codes.ts';
import { errorResponse, errorResponseFromFields, type ReceivedReport } from '../wire/messages/report.ts';
import { flush as flushRequest, query, sync } from '../wire/messages/requests.ts';
import { readyForQuery } from '../wire/messages/session.ts';
import { commandComplete } from './answers.ts';
import { ClientFraming, type MessageReceiver, type Verdict } from './client-framing.ts';
import { ClientStatements, type Prepared } from './client-statements.ts';
import { clock } from './clock.ts';
import { mayWriteUnclaimed, prepare, type StatementFacts } from './decide.ts';
import { ExtendedBatch } from './extended-batch.ts';
import { Inbox } from './inbox.ts';
import { Outbox } from './outbox.ts';
import { type OwnStatementHost, OwnStatements } from './own-statements.ts';
import type { ServerSource, SessionRefresh, TviewDdl, Wire } from './ports.ts';
import { Action, type FlushTrigger, Kind, type Note } from './requests.ts';
import { HIGH_WATER_BYTES, type LinkOwner, type ServerLink, type Tag } from './server-link.ts';
import { type SettledBy, Settlements } from './settlements.ts';
import { BoundFacts, QueryFacts } from './statement-facts.ts';

/** What a held session reads ahead: as long as it reads, it notices that its client has gone. */
const HELD_BYTES = 262_144;
/** How long a client may take to close its side after we have closed ours. */
const LINGER_MS = 5_000;

const CLAIM: Note = { kind: 'claim' };
/** Describe and Close: S means a statement, P a portal. */
const STATEMENT = 0x53;

/** What becomes of a message: it goes out, it was answered here, or the session waits (or has ended) and the rest is held. */
type Passed = boolean | 'drop';

type Hold =
  /** Waiting for a server. */
  | 'server'
  /** Statements are running whose changes have to be in before the next message goes out. */
  | 'replies'
  /** The outcome of a flush decides whether the next message goes out. */
  | 'flush'
  /** A statement of ours is running in the client's place. */
  | 'own'
  /** What the transaction that has ended could not see, or has made of the schema, is looked at, before the client hears of the end. */
  | 'repair';

export interface SessionDeps {
  readonly client: Wire;
  readonly source: ServerSource;
  readonly store: StatementStore;
  /** Client names are mapped to server-side names (transaction mode with max_prepared_statements > 0). */
  readonly renamesStatements: boolean;
  readonly parameters: ParameterValues;
  readonly refresh: SessionRefresh | null;
  readonly ddl: TviewDdl | null;
  readonly log: Logger;
  readonly onClosed: (session: Session, reason: string) => void;
}

export class Session implements LinkOwner, MessageReceiver {
  readonly client: Wire;
  readonly parameters: ParameterValues;
  readonly #deps: SessionDeps;
  readonly #source: ServerSource;
  readonly #refresh: SessionRefresh | null;
  link: ServerLink | null = null;
  #closed = false;
  #closeWhenIdle = false;
  /** The session will be closed when the chunk at hand is worked off. */
  #closing = false;

  readonly #inbox = new Inbox(false);
  readonly #framing = new ClientFraming(this);
  #hold: Hold | null = null;
  #failedOrRolledBack = false;
  /** Prepared statements may be gone when what runs now is answered: nobody can say before what a name means. */
  #forgets = false;

  readonly #batch = new ExtendedBatch();
  readonly #settlements = new Settlements(this.#batch);
  readonly #own: OwnStatements | null;
  readonly #statements: ClientStatements;
  readonly #outbox = new Outbox();

  #queryStartedAt = 0;
  #linkedAt = 0;
  /** Reads on unless one of three is full: what is held, the server's socket, the client's. */
  readonly #resumeReading: () => void;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
    this.client = deps.client;
    this.parameters = deps.parameters;
    this.#source = deps.source;
    this.#refresh = deps.refresh;
    this.#statements = new ClientStatements(deps.store, deps.renamesStatements, deps.refresh !== null);
    this.#own = deps.ddl === null ? null : new OwnStatements(deps.ddl, this.#ownHost(deps.ddl));
    this.client.onBytes = (chunk) => this.#receive(chunk);
    this.client.onClose = () => this.#clientGone();
    this.client.onDrain = () => {
      this.link?.wire.resume();
      this.#resumeReading();
    };
    this.#resumeReading = () => {
      if (this.#hold !== null && this.#inbox.bytes > HELD_BYTES) return;
      if (this.client.pendingBytes > HIGH_WATER_BYTES) return;
      if (this.link !== null && this.link.wire.pendingBytes > HIGH_WATER_BYTES) return;
      this.client.resume();
    };
  }

  get isWaiting(): boolean {
    return this.#hold === 'server';
  }

  get log(): Logger {
    return this.#deps.log;
  }

  // ---------------------------------------------------------------------------------------------- client → server

  /** Bytes that came with the startup packet. */
  begin(leftover: Buffer): void {
    if (leftover.length > 0) this.#receive(leftover);
  }

  #receive(received: Buffer): void {
    if (this.#closed) return;
    clock.tick();
    this.#source.stats.receivedBytes += received.length;
    if (this.#hold !== null) {
      this.#inbox.add(received);
      if (this.#inbox.bytes > HELD_BYTES) this.client.pause();
      return;
    }
    const chunk = this.#inbox.take(received);
    if (chunk !== null) this.#process(chunk);
  }

  #process(chunk: Buffer): void {
    try {
      this.#work(chunk);
    } catch (error) {
      // A mistake of ours costs this session and no other.
      this.#deps.log.error({ err: error }, 'a session failed');
      if (this.link !== null) this.link.closeReason ??= 'internal error';
      this.close(SqlState.internalError, 'internal error of the proxy');
    }
  }

  #work(chunk: Buffer): void {
    const at = this.#framing.scan(chunk, this.#outbox);
    if (at < 0) return;
    this.#send(chunk, at);
    if (this.#closed) return;
    if (at < chunk.length) this.#inbox.keep(chunk.subarray(at), this.#framing.needed);
    // Answered by us alone, as a Close of a statement is: a client that reads none of it must not fill our memory.
    if (this.client.pendingBytes > HIGH_WATER_BYTES) this.client.pause();
    const link = this.link;
    if (link !== null && link.queue.size === 0 && !this.#batch.unsynced) this.afterReceive();
  }

  /** @internal one message of the client's, from its framing */
  message(type: number, chunk: Buffer, at: number, next: number, end: number): Verdict {
    if (this.#discards(type)) return 'drop';
    if (type === Frontend.Terminate) {
      this.#terminate(chunk, at);
      return 'stop';
    }
    if (this.link === null && !this.#acquire(chunk, at)) return 'stop';
    if (this.#own?.isExecuted && type !== Frontend.Sync) {
      this.#own.behind(type);
      return 'drop';
    }
    const passed = this.#message(this.link!, type, chunk, at, next, end);
    if (passed === 'drop') return passed;
    return passed ? 'pass' : 'stop';
  }

  /** Messages that are not for the server: the rest of a batch that failed here, late data of a COPY that has ended. */
  #discards(type: number): boolean {
    if (this.#settlements.discardsToSync) {
      if (type !== Frontend.Sync) return type !== Frontend.Terminate;
      this.#settlements.discardsToSync = false;
      return false;
    }
    const { link } = this;
    // The server would ignore them. The queue holds what is answered, and the names what was really prepared.
    if (link?.ignoresRequests) return type !== Frontend.Sync && type !== Frontend.Terminate;
    if (type === Frontend.CopyData || type === Frontend.CopyDone || type === Frontend.CopyFail) {
      return link === null || (link.copyIn === 'no' && link.queue.running === 0);
    }
    return false;
  }

  /** @returns false when the session has to wait; the rest of the chunk is held then */
  #acquire(chunk: Buffer, at: number): boolean {
    const link = this.#source.acquire(this);
    if (link === null) {
      this.#holdFrom(chunk, at, 'server');
      return false;
    }
    this.#attach(link);
    return true;
  }

  #attach(link: ServerLink): void {
    this.link = link;
    link.owner = this;
    this.#linkedAt = clock.now;
    link.wire.onDrain = this.#resumeReading;
    const sync = this.parameters.difference(link.parameters);
    if (sync !== null) {
      link.queue.push(Kind.Query, Action.Skip, { kind: 'parameters' });
      this.#outbox.push(query(sync));
    }
  }

  /** The pool found a server for a waiting session. */
  assigned(link: ServerLink): void {
    this.#attach(link);
    this.#resumeFrom('server');
  }

  /** The pool gave up; the client is told and closed. */
  refused(error: {
    readonly code: string;
    readonly message: string;
    readonly detail?: string | undefined;
  }): void {
    this.close(error.code, error.message, error.detail);
  }

  #holdFrom(chunk: Buffer, at: number, reason: Hold): void {
    this.#send(chunk, at);
    this.#hold = reason;
    this.#inbox.keep(chunk.subarray(at), 0);
    if (this.#inbox.bytes > HELD_BYTES) this.client.pause();
  }

  #resumeFrom(reason: Hold): void {
    if (this.#hold !== reason) return;
    const held = this.#inbox.takeAll();
    this.#hold = null;
    this.#resumeReading();
    if (!this.#closed) this.#process(held);
  }

  #send(chunk: Buffer, to: number): void {
    const link = this.link;
    if (link === null) return;
    this.#outbox.send(link, chunk, to);
    if (link.wire.pendingBytes > HIGH_WATER_BYTES) this.client.pause();
  }

  #message(link: ServerLink, type: number, chunk: Buffer, at: number, next: number, end: number): Passed {
    if (this.#batch.settlement !== 'none' && !this.#mayFollowSettlement(type)) {
      this.#holdFrom(chunk, at, 'flush');
      return false;
    }
    if (this.#forgets) {
      if (link.queue.running > 0 && link.copyIn !== 'open') {
        this.#waitForReplies(chunk, at);
        return false;
      }
      this.#forgets = false;
    }
    switch (type) {
      case Frontend.Query:
        return this.#query(link, chunk, at, next, end);
      case Frontend.Parse:
        return this.#parse(link, chunk, at, next);
      case Frontend.Bind:
        return this.#bind(link, chunk, at, next);
      case Frontend.Describe:
        return this.#describe(link, chunk, at, next);
      case Frontend.Execute:
        return this.#execute(link, chunk, at);
      case Frontend.Close:
        if (chunk[at + 5] !== STATEMENT) this.#own?.unbind(chunk, at + 6);
        this.#statements.close(link, this.#outbox, chunk, at, next);
        break;
      case Frontend.Sync:
        if (this.#own?.sync(chunk, at, next)) return false;
        link.queue.push(Kind.Sync, Action.Forward, null);
        // In copy-in mode the server reads and ignores it, unless the COPY has failed meanwhile: then it ends the batch.
        if (link.copyIn === 'open') this.#batch.unsynced = false;
        else this.#batch.synced();
        return true;
      case Frontend.Flush:
        return true;
      case Frontend.FunctionCall:
        this.#started(link);
        link.queue.push(Kind.FunctionCall, Action.Forward, null);
        this.#batch.answeredInside();
        return true;
      case Frontend.CopyData:
        if (link.copyIn === 'open') this.#copyGoesOn(link);
        return true;
      case Frontend.CopyDone:
      case Frontend.CopyFail:
        if (link.copyIn === 'open') {
          this.#copyGoesOn(link);
          link.copyIn = 'ending';
        } else if (link.queue.size > 0) link.queue.push(Kind.CopyEnd, Action.Forward, null);
        return true;
      default:
        this.violation(`invalid frontend message type ${type}`);
        return false;
    }
    this.#batch.unsynced = true;
    return true;
  }

  /** A client that sends more data has not ended the COPY with the Syncs before them: the server ignores those. */
  #copyGoesOn(link: ServerLink): void {
    if (link.queue.syncs === 0) return;
    link.queue.dropSyncsOfCopy();
    this.#batch.unsynced = link.queue.headKind === Kind.Execute;
  }

  #started(link: ServerLink): void {
    if (link.queue.running === 0) this.#queryStartedAt = clock.now;
  }

  #query(link: ServerLink, chunk: Buffer, at: number, next: number, end: number): Passed {
    const whole = next <= end;
    const from = at + 5;
    const to = next - 1;
    let statementClass: StatementClass = whole ? classify(chunk, from, to) : StatementClass.Opaque;
    if (statementClass === StatementClass.MaybeTview) {
      const text = chunk.toString('utf8', from, to);
      if (this.#own?.recognises(text)) {
        this.#statements.ownQuery();
        this.#own.query(link, text, chunk, at, next);
        return false;
      }
      statementClass = StatementClass.Read;
    }
    if (statementClass === StatementClass.Forget) {
      const name = this.#statements.deallocatedBy(chunk, from, to);
      const passed = name === null || this.#deallocate(link, name, chunk, at);
      if (passed !== true) return passed;
    }
    if (statementClass === StatementClass.Execute) statementClass = this.#statements.classOfExecute;
    if (this.#refresh !== null && this.#isInBlock(link)) {
      const facts = new QueryFacts(this.#refresh, statementClass, chunk, from, to);
      if (!this.#prepare(link, this.#refresh, facts, 'query', chunk, at)) return false;
    }
    if (statementClass === StatementClass.Begin) this.#batch.executed(statementClass, link.status);
    this.#started(link);
    link.queue.push(Kind.Query, Action.Forward, this.#statements.simpleQuery(link.queue.size === 0));
    this.#batch.answeredInside();
    if (statementClass === StatementClass.Forget) this.#forgets = true;
    return true;
  }

  /** DEALLOCATE of a name that no server knows; in a failed transaction, or out of turn, the server has to refuse it. */
  #deallocate(link: ServerLink, name: string, chunk: Buffer, at: number): Passed {
    if (this.#batch.unsynced || link.copyIn !== 'no') return true;
    if (link.queue.size > 0) {
      this.#waitForReplies(chunk, at);
      return false;
    }
    if (link.status === TransactionStatus.failed) return true;
    this.#statements.deallocate(name);
    this.client.write(commandComplete('DEALLOCATE'));
    this.client.write(readyForQuery(link.status));
    return 'drop';
  }

  /** Outside a block nothing is owed: nothing has to be asked about the statement. */
  #isInBlock(link: ServerLink): boolean {
    return this.#batch.status(link.status) !== TransactionStatus.idle;
  }

  /**
   * Puts in front of a statement what refresh needs there.
   * @returns false when the message has to wait (it is held and will be looked at again)
   */
  #prepare(
    link: ServerLink,
    refresh: SessionRefresh,
    statement: StatementFacts,
    by: SettledBy,
    chunk: Buffer,
    at: number,
  ): boolean {
    const situation = {
      status: this.#batch.status(link.status),
      deaf: link.ignoresRequests || link.copyIn === 'open',
      running: link.queue.running,
      claimed: refresh.claimed,
      mayBeClaimed: refresh.mayBeClaimed,
      pending: refresh.hasPending,
      mayOwe: refresh.mayOwe,
      flushed: refresh.hasFlushed,
    };
    switch (prepare(situation, statement)) {
      case 'nothing':
        if (!refresh.claimed && mayWriteUnclaimed(statement)) refresh.ranUnclaimed();
        return true;
      case 'claim':
        if (this.#batch.implicitBlock) refresh.ranUnclaimed();
        else this.#inject(link, CLAIM, refresh.claimMessage(), chunk, at);
        return true;
      case 'flush':
        this.#inject(link, flushNote('read'), refresh.flushMessage(false), chunk, at);
        return true;
      case 'settle':
        this.#inject(link, flushNote('commit'), refresh.flushMessage(true), chunk, at);
        this.#settlements.sentWith(by);
        return true;
      case 'settle-first':
        this.#inject(link, flushNote('opaque'), refresh.flushMessage(true), chunk, at);
        this.#settlements.sentAhead(by);
        this.#holdFrom(chunk, at, 'flush');
        return false;
      case 'wait':
        this.#waitForReplies(chunk, at);
        return false;
    }
  }

  /** Changes of statements still running have to be in before the message at `at` goes out. */
  #waitForReplies(chunk: Buffer, at: number): void {
    // Without Sync or Flush the server would sit on its answers.
    if (this.#batch.unsynced) this.#outbox.insert(flushRequest, chunk, at);
    this.#holdFrom(chunk, at, 'replies');
  }

  /** Sends a request of ours ahead of the message at `at`, through the FunctionCall message. */
  #inject(link: ServerLink, note: Note, message: Buffer, chunk: Buffer, at: number): void {
    this.#outbox.insert(message, chunk, at);
    link.queue.push(Kind.FunctionCall, Action.Skip, note);
  }

  #mayFollowSettlement(type: number): boolean {
    return this.#batch.mayFollowSettlement(
      type === Frontend.Execute,
      type === Frontend.Sync,
      type === Frontend.Flush || (type === Frontend.Describe && this.#batch.settlement === 'execute'),
    );
  }

  #parse(link: ServerLink, chunk: Buffer, at: number, next: number): Passed {
    const nameEnd = chunk.indexOf(0, at + 5);
    const textEnd = nameEnd < 0 ? -1 : chunk.indexOf(0, nameEnd + 1);
    if (textEnd < 0 || textEnd >= next) return this.#malformed('Parse');
    const statementClass = classify(chunk, nameEnd + 1, textEnd);
    if (this.#own !== null && statementClass === StatementClass.MaybeTview) {
      const text = chunk.toString('utf8', nameEnd + 1, textEnd);
      if (this.#own.recognises(text)) {
        return this.#own.parse(link, text, chunk.toString('latin1', at + 5, nameEnd), chunk, at);
      }
    }
    // The Parse that took the name may fail yet: PostgreSQL would then take this one.
    if (link.queue.size > 0 && this.#statements.isTaken(chunk, at + 5, nameEnd)) {
      this.#waitForReplies(chunk, at);
      return false;
    }
    this.#statements.parse(link, this.#outbox, statementClass, chunk, at, nameEnd, textEnd, next);
    this.#batch.unsynced = true;
    return true;
  }

  #bind(link: ServerLink, chunk: Buffer, at: number, next: number): Passed {
    const portalEnd = chunk.indexOf(0, at + 5);
    const nameEnd = portalEnd < 0 ? -1 : chunk.indexOf(0, portalEnd + 1);
    if (nameEnd < 0 || nameEnd >= next) return this.#malformed('Bind');
    const refresh = this.#refresh;
    const prepared = this.#statements.boundBy(chunk, portalEnd + 1, nameEnd);
    if (this.#own !== null) {
      const text = this.#ownText(prepared);
      if (text !== null) return this.#own.bind(link, text, chunk, at, portalEnd);
      this.#own.unbind(chunk, at + 5);
    }
    if (refresh !== null && this.#isInBlock(link)) {
      const facts = new BoundFacts(refresh, prepared);
      if (!this.#prepare(link, refresh, facts, 'bind', chunk, at)) return false;
    }
    this.#batch.bound(chunk, at + 5, portalEnd, prepared);
    this.#statements.bind(link, this.#outbox, chunk, at, portalEnd + 1, nameEnd, next);
    this.#batch.unsynced = true;
    return true;
  }

  #describe(link: ServerLink, chunk: Buffer, at: number, next: number): Passed {
    if (this.#own !== null) {
      const isStatement = chunk[at + 5] === STATEMENT;
      const text = isStatement
        ? this.#ownText(this.#statements.boundBy(chunk, at + 6, next - 1))
        : this.#own.boundTo(chunk, at + 6);
      if (text !== null) return this.#own.describe(link, text, isStatement, chunk, at);
    }
    this.#statements.describe(link, this.#outbox, chunk, at, next);
    this.#batch.unsynced = true;
    return true;
  }

  #execute(link: ServerLink, chunk: Buffer, at: number): Passed {
    const own = this.#own?.boundTo(chunk, at + 5) ?? null;
    if (own !== null) return this.#own!.execute(link, own, chunk, at);
    const steering = this.#batch.steeringAt(chunk, at);
    if (steering !== undefined) {
      const refresh = this.#refresh;
      if (refresh !== null && this.#isInBlock(link)) {
        // What was owed when it was bound was settled then; since then there may be more.
        const facts = new BoundFacts(refresh, steering);
        if (!this.#prepare(link, refresh, facts, 'execute', chunk, at)) return false;
      }
      this.#batch.executed(steering.class, link.status);
      if (steering.class === StatementClass.Forget) this.#forgets = true;
    }
    this.#started(link);
    link.queue.push(Kind.Execute, Action.Forward, null);
    this.#batch.unsynced = true;
    return true;
  }

  // ------------------------------------------------------------------------------------------ statements of ours

  /** The statement of ours that was prepared; null for everything else. */
  #ownText({ class: statementClass, text }: Prepared): string | null {
    if (statementClass !== StatementClass.MaybeTview || text === null) return null;
    return this.#own?.recognises(text) ? text : null;
  }

  #ownHost(ddl: TviewDdl): OwnStatementHost {
    return {
      run: (text, alone) => {
        this.#statements.serverRunsOurs();
        return ddl.run(text, this, alone);
      },
      waitForReplies: (chunk, at) => this.#waitForReplies(chunk, at),
      answer: (bytes) => this.client.write(bytes),
      endBatch: (chunk, at) => {
        if (!this.#batch.unsynced) return;
        // The batch began with statements that are not ours: its Sync is not for us alone.
        this.#outbox.insert(sync, chunk, at);
        this.link!.queue.push(Kind.Sync, Action.Skip, null);
        this.#batch.synced();
      },
      takeOver: (chunk, at, end) => {
        this.#outbox.cut(chunk, at, end);
        this.#holdFrom(chunk, end, 'own');
      },
      rememberPrepared: (name, text) => this.#statements.rememberOwn(name, text),
      done: (answers) => this.#ownDone(answers),
    };
  }

  #ownDone(answers: readonly Uint8Array[]): void {
    if (this.#closed) return;
    const status = this.link?.status ?? TransactionStatus.idle;
    this.client.cork();
    for (const answer of answers) this.client.write(answer);
    this.client.write(readyForQuery(status));
    this.client.uncork();
    this.#resumeFrom('own');
    this.afterReceive();
  }

  // ---------------------------------------------------------------------------------------------- server → client

  onTag(tag: Tag): void {
    switch (tag) {
      case 'COMMIT':
      case 'PREPARE TRANSACTION':
        this.#refresh?.onCommitted();
        return;
      case 'ROLLBACK':
        this.#failedOrRolledBack = true;
        this.#refresh?.onRolledBack();
        return;
      case 'DISCARD ALL':
      case 'DEALLOCATE ALL':
        this.#statements.clear();
        return;
    }
  }

  onSchemaChange(isLikely: boolean): void {
    this.#refresh?.onSchemaChange(isLikely);
  }

  onRepairOwed(message: string): boolean {
    return this.#refresh?.onRepairOwed(message) ?? false;
  }

  onError(): void {
    this.#failedOrRolledBack = true;
    this.#batch.failed();
  }

  onChange(message: string): boolean {
    return this.#refresh?.onChange(message) ?? false;
  }

  onFlushed(note: Note, report: string): void {
    this.#refresh?.onFlushed(note, report);
    this.#settlements.outcome(note, true);
  }

  onRefreshError(note: Note, report: ReceivedReport): Uint8Array | null {
    const shown = this.#refresh?.onFlushFailed(note, report) ?? report.fields;
    if (note.kind === 'flush' && note.trigger === 'late') return null;
    this.#settlements.outcome(note, false);
    return errorResponseFromFields(shown);
  }

  onOutdated(statement: Statement): void {
    this.#deps.store.forget(statement);
  }

  onDropped(note: Note, failed: boolean): void {
    this.#statements.undo(note, failed);
    this.#settlements.dropped(note);
  }

  onParametersRefused(report: ReceivedReport): void {
    this.#closeSoon(report.code, report.message, report.detail);
  }

  /** When the chunk of the server's that is being worked on has been. */
  #closeSoon(code: string, message: string, detail?: string): void {
    this.#closing = true;
    queueMicrotask(() => this.close(code, message, detail));
  }

  onParameters(): void {
    if (this.link !== null) this.parameters.adopt(this.link.parameters);
  }

  onReady(status: number, asked: boolean): boolean {
    const link = this.link!;
    const refresh = this.#refresh;
    const failed = this.#failedOrRolledBack;
    this.#failedOrRolledBack = false;
    if (asked && link.queue.running === 0) this.#batch.settled();
    if (status === TransactionStatus.idle && link.queue.size === 0) this.#batch.over();
    if (this.#closing) return false;
    if (this.#source.mode === 'statement' && status !== TransactionStatus.idle) {
      link.closeReason = 'transaction blocks not allowed in statement pooling mode';
      this.#closeSoon(SqlState.protocolViolation, link.closeReason);
      return false;
    }
    if (link.queue.running === 0 && this.#queryStartedAt !== 0) {
      const stats = this.#source.stats;
      stats.queries += 1;
      stats.observeQuery((clock.now - this.#queryStartedAt) / 1000);
      this.#queryStartedAt = 0;
    }
    if (status !== TransactionStatus.idle || refresh === null) return true;
    const shown = refresh.isEmpty || this.#settleAtEnd(link, refresh, failed);
    return shown && !this.#repairsFirst(link, refresh, asked);
  }

  /**
   * Nothing may be owed when a transaction is over.
   * @returns false to keep its ReadyForQuery from the client
   */
  #settleAtEnd(link: ServerLink, refresh: SessionRefresh, failed: boolean): boolean {
    if (refresh.hasPending && !failed) {
      // Must not happen: a claimed transaction committed before its changes were flushed. Flush now, before the
      // client hears of the commit, and say so loudly.
      if (link.queue.size > 0) {
        // What is queued already may begin a transaction that rolls back, and the flush with it.
        refresh.flushLate();
        refresh.clear();
        return true;
      }
      this.#deps.log.error('changes were left at the end of a transaction; flushing them now');
      const message = refresh.flushMessage(false);
      refresh.clear();
      link.queue.push(Kind.FunctionCall, Action.Skip, flushNote('late'));
      link.wire.write(message);
      return false;
    }
    // More may have been sent behind what rolled back; nothing of that can be claimed yet, for a claim waits for answers.
    if (link.queue.size === 0 || failed) refresh.clear();
    return true;
  }

  /** A client that has sent more already hears of the end while the repair is under way. */
  #repairsFirst(link: ServerLink, refresh: SessionRefresh, asked: boolean): boolean {
    const repaired = refresh.repair();
    if (repaired === null) return false;
    const waits = this.#hold === null && link.queue.size === 0 && !this.#batch.unsynced;
    if (!asked || !waits || this.#framing.isInsideMessage) return false;
    this.#hold = 'repair';
    void repaired.then(() => {
      if (this.#closed) return;
      this.client.write(readyForQuery(link.status));
      this.#resumeFrom('repair');
      this.afterReceive();
    });
    return true;
  }

  afterReceive(): void {
    const link = this.link;
    if (link === null || this.#closed) return;
    if (this.#hold === 'replies') {
      if (link.queue.running === 0 || link.ignoresRequests || link.copyIn === 'open')
        this.#resumeFrom('replies');
    } else if (
      this.#hold === 'flush' &&
      this.#settlements.areKnown &&
      link.queue.headNote?.kind !== 'flush'
    ) {
      // While a flush is at the head its error is here and not yet its ReadyForQuery.
      this.#afterFlushOutcome(link);
    }
    this.#maybeRelease();
  }

  #afterFlushOutcome(link: ServerLink): void {
    if (!this.#settlements.takeDropsHeldQuery()) {
      this.#resumeFrom('flush');
      return;
    }
    // The settlement of an opaque Query failed: the client has the error; the Query itself is not sent.
    const held = this.#inbox.takeAll();
    const length = 1 + held.readUInt32BE(1);
    this.#inbox.keep(held.subarray(Math.min(length, held.length)), 0);
    this.#framing.dropNext(Math.max(0, length - held.length));
    this.client.write(readyForQuery(link.status));
    this.#resumeFrom('flush');
  }

  #maybeRelease(): void {
    const link = this.link;
    if (link === null) return;
    if (this.#closeWhenIdle && this.#isBetweenTransactions(link)) {
      this.closeForShutdown();
      return;
    }
    if (this.#source.mode === 'session') return;
    if (link.queue.size > 0 || link.status !== TransactionStatus.idle || this.#hold !== null) return;
    // Answered because of a Flush: the server is inside the batch, perhaps in its implicit transaction, whatever the
    // last ReadyForQuery said. Another client's Sync would commit what this one has not.
    if (this.#batch.unsynced) return;
    if (!link.isReusable || this.#framing.isInsideMessage) {
      if (link.closeReason === null || link.queue.size > 0) return;
    }
    this.#detach(link);
  }

  #isBetweenTransactions(link: ServerLink): boolean {
    // What has begun to go out would be ended by another client's bytes.
    return link.isReusable && !this.#batch.unsynced && this.#hold === null && !this.#framing.isInsideMessage;
  }

  #detach(link: ServerLink): void {
    if (this.#refresh !== null && !this.#refresh.isEmpty) {
      // The one assertion everything rests on: no server changes hands with a session's changes.
      this.#deps.log.error(
        'a session was about to give up its server with changes pending; closing the server',
      );
      link.closeReason = 'refresh state was not empty';
      this.#refresh.clear();
    }
    this.link = null;
    link.owner = null;
    link.wire.resume();
    this.#statements.leaveServer();
    // Data of a COPY that failed may still be on its way to the server: nothing will tell when it has gone.
    this.#resumeReading();
    const stats = this.#source.stats;
    stats.transactions += 1;
    stats.observeTransaction((clock.now - this.#linkedAt) / 1000);
    this.#source.release(link, this);
  }

  onServerLost(error: Error | null): void {
    const link = this.link!;
    if (error !== null) this.#deps.log.warn({ err: error }, 'a server connection was lost');
    // Before it is let go: what the client may be told depends on what it has got of the last message.
    this.#tell(SqlState.connectionFailure, 'server closed the connection unexpectedly', error?.message);
    this.link = null;
    link.owner = null;
    this.#source.release(link, this);
    this.#end('server closed the connection unexpectedly');
  }

  // ------------------------------------------------------------------------------------------------------- ending

  #terminate(chunk: Buffer, at: number): void {
    this.#send(chunk, at);
    if (this.link !== null) this.link.saidGoodbye = true;
    this.client.end();
    this.#end('client close request');
  }

  #clientGone(): void {
    this.#end('client unexpected eof');
  }

  /** A cancel request for a client that waits for a server: nothing runs yet, and nothing will. */
  cancelWaiting(): void {
    if (this.#hold !== 'server') return;
    this.close(SqlState.queryCanceled, 'canceling statement due to user request');
  }

  /** Closes the session as soon as it is between transactions; now, if it is. */
  closeWhenIdle(): void {
    this.#closeWhenIdle = true;
    if (this.link === null || this.#isBetweenTransactions(this.link)) this.closeForShutdown();
  }

  /** Now, whatever is under way: 57P01. */
  closeForShutdown(): void {
    this.close(SqlState.adminShutdown, 'terminating connection because the proxy is shutting down');
  }

  /** Tells the client why (FATAL) and closes the session. */
  close(code: string, message: string, detail?: string): void {
    if (this.#closed) return;
    this.#tell(code, message, detail);
    this.#end(message);
  }

  /** The last the client hears; nothing, where it would take it for the rest of a row. */
  #tell(code: string, message: string, detail?: string): void {
    if (this.#closed) return;
    if (this.link?.isInsideMessage) this.client.end();
    else this.client.end(errorResponse({ severity: 'FATAL', code, message, detail }));
  }

  #end(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#hold === 'server') this.#source.leave(this);
    const link = this.link;
    this.#refresh?.clear();
    // An unread end of the client's would keep the socket for ever.
    this.client.resume();
    if (!this.client.closed) setTimeout(() => this.client.destroy(), LINGER_MS).unref();
    if (link !== null) {
      this.link = null;
      link.owner = null;
      // Of a server nobody reads from the pool would wait for answers in vain.
      link.wire.resume();
      if (!this.#isBetweenTransactions(link))
        link.closeReason ??= 'client disconnect while server was not ready';
      this.#source.release(link, this);
    }
    this.#deps.onClosed(this, reason);
  }

  /** @internal bytes no client of the protocol sends */
  violation(message: string): void {
    this.close(SqlState.protocolViolation, message);
    this.client.destroy();
  }

  #malformed(what: string): false {
    this.violation(`invalid ${what} message`);
    return false;
  }
}

function flushNote(trigger: FlushTrigger): Note {
  return { kind: 'flush', trigger, startedAt: clock.now };
}
