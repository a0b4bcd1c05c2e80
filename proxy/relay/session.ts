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
import type { StatementStore } from '../statements/store.ts';
import { Frontend, TransactionStatus } from '../wire/codes.ts';
import { errorResponse, errorResponseFromFields, type ReceivedReport } from '../wire/messages/report.ts';
import { flush as flushRequest, query, sync } from '../wire/messages/requests.ts';
import { readyForQuery } from '../wire/messages/session.ts';
import { encodeError, encodeResult } from './answers.ts';
import { ClientStatements } from './client-statements.ts';
import { clock } from './clock.ts';
import { mayWriteUnclaimed, prepare, type StatementFacts } from './decide.ts';
import { ExtendedBatch } from './extended-batch.ts';
import { Inbox } from './inbox.ts';
import { Outbox } from './outbox.ts';
import { readOwnBatch } from './own-batch.ts';
import type { ServerSource, SessionRefresh, TviewDdl, Wire } from './ports.ts';
import { Action, type FlushTrigger, Kind, type Note } from './requests.ts';
import { HIGH_WATER_BYTES, type LinkOwner, type ServerLink, type Tag } from './server-link.ts';
import { BoundFacts, QueryFacts } from './statement-facts.ts';

/** A Query text up to this size is classified as a whole; a longer one is opaque. */
const QUERY_BUFFER_BYTES = 1_048_576;
/** Parse messages and the head of Bind are assembled up to this size. */
const PARSE_BUFFER_BYTES = 64 * 1_048_576;
/** PostgreSQL's limit for messages that hold no more than a name. */
const SMALL_MESSAGE_BYTES = 10_000;
const MAX_MESSAGE_BYTES = 0x3fffffff;
/** What a held session reads ahead: as long as it reads, it notices that its client has gone. */
const HELD_BYTES = 262_144;
/** How long a client may take to close its side after we have closed ours. */
const LINGER_MS = 5_000;

const CLAIM: Note = { kind: 'claim' };

type Hold =
  /** Waiting for a server. */
  | 'server'
  /** Statements are running whose changes have to be in before the next message goes out. */
  | 'replies'
  /** The outcome of a flush decides whether the next message goes out. */
  | 'flush'
  /** A statement of ours is running in the client's place. */
  | 'own';

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

export class Session implements LinkOwner {
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
  #streamed = 0;
  #streamedDropped = false;
  #hold: Hold | null = null;
  /** A flush of ours failed: the client's messages up to Sync are not sent. */
  #discardToSync = false;
  /** Flushes before COMMIT and the like whose outcome is not known. */
  #settlements = 0;
  #failedOrRolledBack = false;
  /** The held Query is dropped and answered by us: its settlement failed. */
  #dropHeldQuery = false;
  /** Prepared statements may be gone when what runs now is answered: nobody can say before what a name means. */
  #forgets = false;

  readonly #batch = new ExtendedBatch();
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
    const end = chunk.length;
    let at = 0;
    if (this.#streamed > 0) {
      at = Math.min(this.#streamed, end);
      this.#streamed -= at;
    }
    this.#outbox.begin(this.#streamedDropped ? at : 0);
    let needed = 5;
    while (end - at >= 5) {
      const type = chunk[at]!;
      const length = chunk.readUInt32BE(at + 1);
      if (length < 4 || length > MAX_MESSAGE_BYTES) {
        this.#violation(`invalid message length ${length}`);
        return;
      }
      const next = at + 1 + length;
      if (next > end && !this.#canStart(type, chunk, at, end, length)) {
        needed = neededOf(type, next - at, end - at);
        break;
      }

      const dropped = this.#discards(type);
      if (!dropped) {
        if (type === Frontend.Terminate) {
          this.#terminate(chunk, at);
          return;
        }
        if (this.link === null && !this.#acquire(chunk, at)) return;
        if (!this.#message(this.link!, type, chunk, at, next, end)) return;
      } else {
        this.#outbox.cut(chunk, at, Math.min(next, end));
      }
      if (next > end) {
        this.#streamed = next - end;
        this.#streamedDropped = dropped;
        at = end;
        break;
      }
      at = next;
    }
    this.#send(chunk, at);
    if (this.#closed) return;
    if (at < end) this.#inbox.keep(chunk.subarray(at), needed);
    // Answered by us alone, as a Close of a statement is: a client that reads none of it must not fill our memory.
    if (this.client.pendingBytes > HIGH_WATER_BYTES) this.client.pause();
    const link = this.link;
    if (link !== null && link.queue.size === 0 && !this.#batch.unsynced) this.afterReceive();
  }

  /** Whether an incomplete message can be worked on with what is here of it. */
  #canStart(type: number, chunk: Buffer, at: number, end: number, length: number): boolean {
    switch (type) {
      case Frontend.CopyData:
      case Frontend.FunctionCall:
        return true;
      case Frontend.Query:
        return length > QUERY_BUFFER_BYTES;
      case Frontend.Bind: {
        const portalEnd = chunk.indexOf(0, at + 5);
        return portalEnd >= 0 && portalEnd < end && chunk.indexOf(0, portalEnd + 1) >= 0;
      }
      default:
        if (length > (isLarge(type) ? PARSE_BUFFER_BYTES : SMALL_MESSAGE_BYTES))
          this.#violation(`invalid message length ${length}`);
        return false;
    }
  }

  /** Messages that are not for the server: the rest of a batch that failed here, late data of a COPY that has ended. */
  #discards(type: number): boolean {
    if (this.#discardToSync) {
      if (type !== Frontend.Sync) return type !== Frontend.Terminate;
      this.#discardToSync = false;
      return false;
    }
    const { link } = this;
    // The server would ignore them. The queue holds what is answered, and the names what was really prepared.
    if (link?.skippingToSync && link.queue.syncs === 0)
      return type !== Frontend.Sync && type !== Frontend.Terminate;
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

  /** @returns false when the chunk's rest is held or the session has ended */
  #message(link: ServerLink, type: number, chunk: Buffer, at: number, next: number, end: number): boolean {
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
        this.#statements.describe(link, this.#outbox, chunk, at, next);
        break;
      case Frontend.Execute:
        return this.#execute(link, chunk, at);
      case Frontend.Close:
        this.#statements.close(link, this.#outbox, chunk, at, next);
        break;
      case Frontend.Sync:
        // In copy-in mode the server reads and ignores it.
        if (link.copyIn === 'open') return true;
        link.queue.push(Kind.Sync, Action.Forward, null);
        this.#batch.synced();
        return true;
      case Frontend.Flush:
        return true;
      case Frontend.FunctionCall:
        this.#started(link);
        link.queue.push(Kind.FunctionCall, Action.Forward, null);
        this.#batch.answeredInside();
        return true;
      case Frontend.CopyData:
        return true;
      case Frontend.CopyDone:
      case Frontend.CopyFail:
        if (link.copyIn === 'open') link.copyIn = 'ending';
        else if (link.queue.size > 0) link.queue.push(Kind.CopyEnd, Action.Forward, null);
        return true;
      default:
        this.#violation(`invalid frontend message type ${type}`);
        return false;
    }
    this.#batch.unsynced = true;
    return true;
  }

  #started(link: ServerLink): void {
    if (link.queue.running === 0) this.#queryStartedAt = clock.now;
  }

  #query(link: ServerLink, chunk: Buffer, at: number, next: number, end: number): boolean {
    const whole = next <= end;
    const from = at + 5;
    const to = next - 1;
    let statementClass: StatementClass = whole ? classify(chunk, from, to) : StatementClass.Opaque;
    if (statementClass === StatementClass.MaybeTview) {
      const text = chunk.toString('utf8', from, to);
      if (this.#deps.ddl?.recognises(text))
        return this.#runOwnQuery(link, this.#deps.ddl, text, chunk, at, next);
      statementClass = StatementClass.Read;
    }
    if (this.#refresh !== null && this.#isInBlock(link)) {
      const facts = new QueryFacts(this.#refresh, statementClass, chunk, from, to);
      if (!this.#prepare(link, this.#refresh, facts, 'query', chunk, at)) return false;
    }
    this.#started(link);
    link.queue.push(Kind.Query, Action.Forward, null);
    this.#batch.answeredInside();
    if (statementClass === StatementClass.Forget) this.#forgets = true;
    return true;
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
    by: 'query' | 'bind' | 'execute',
    chunk: Buffer,
    at: number,
  ): boolean {
    const situation = {
      status: this.#batch.status(link.status),
      deaf: link.skippingToSync || link.copyIn === 'open',
      running: link.queue.running,
      claimed: refresh.claimed,
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
        this.#settlements += 1;
        this.#inject(link, flushNote('commit'), refresh.flushMessage(true), chunk, at);
        if (by !== 'query') this.#batch.settlement = by === 'bind' ? 'execute' : 'sync';
        return true;
      case 'settle-first':
        this.#settlements += 1;
        this.#inject(link, flushNote('opaque'), refresh.flushMessage(true), chunk, at);
        this.#dropHeldQuery = by === 'query';
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

  #parse(link: ServerLink, chunk: Buffer, at: number, next: number): boolean {
    const nameEnd = chunk.indexOf(0, at + 5);
    const textEnd = nameEnd < 0 ? -1 : chunk.indexOf(0, nameEnd + 1);
    if (textEnd < 0 || textEnd >= next) return this.#malformed('Parse');
    const ddl = this.#deps.ddl;
    const statementClass = classify(chunk, nameEnd + 1, textEnd);
    if (ddl !== null && statementClass === StatementClass.MaybeTview) {
      const text = chunk.toString('utf8', nameEnd + 1, textEnd);
      if (ddl.recognises(text)) {
        const name = chunk.toString('utf8', at + 5, nameEnd);
        return this.#runOwnBatch(link, ddl, text, name, chunk, at);
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

  #bind(link: ServerLink, chunk: Buffer, at: number, next: number): boolean {
    const portalEnd = chunk.indexOf(0, at + 5);
    const nameEnd = portalEnd < 0 ? -1 : chunk.indexOf(0, portalEnd + 1);
    if (nameEnd < 0 || nameEnd >= next) return this.#malformed('Bind');
    const refresh = this.#refresh;
    const prepared = this.#statements.boundBy(chunk, portalEnd + 1, nameEnd);
    if (prepared.class === StatementClass.MaybeTview && prepared.text !== null) {
      const ddl = this.#deps.ddl;
      if (ddl?.recognises(prepared.text)) return this.#runOwnBatch(link, ddl, prepared.text, null, chunk, at);
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

  #execute(link: ServerLink, chunk: Buffer, at: number): boolean {
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

  #runOwnQuery(
    link: ServerLink,
    ddl: TviewDdl,
    text: string,
    chunk: Buffer,
    at: number,
    next: number,
  ): boolean {
    if (link.queue.size > 0) {
      this.#waitForReplies(chunk, at);
      return false;
    }
    this.#outbox.cut(chunk, at, next);
    this.#holdFrom(chunk, next, 'own');
    ddl.run(text, this, true).then(
      (result) => this.#ownDone(encodeResult(result, true)),
      (error: unknown) => this.#ownDone([encodeError(error)]),
    );
    return false;
  }

  /**
   * A batch with a statement of ours: all of it, up to Sync, is answered by us.
   * @param at of its Parse, or of its Bind when it was prepared in an earlier batch
   * @param name under which the Parse prepares it; null for a Bind
   */
  #runOwnBatch(
    link: ServerLink,
    ddl: TviewDdl,
    text: string,
    name: string | null,
    chunk: Buffer,
    at: number,
  ): boolean {
    if (link.queue.size > 0) {
      this.#waitForReplies(chunk, at);
      return false;
    }
    const batch = readOwnBatch(chunk, at, ddl.rowColumn(text));
    if (batch === null) {
      // The rest of the batch has not arrived: look again when it has.
      this.#send(chunk, at);
      this.#inbox.keep(chunk.subarray(at), chunk.length - at + 1);
      return false;
    }
    if (this.#batch.unsynced) {
      // The batch began with statements that are not ours: its Sync is not for us alone.
      this.#outbox.insert(sync, chunk, at);
      link.queue.push(Kind.Sync, Action.Skip, null);
      this.#batch.synced();
    }
    if (name !== null) this.#statements.rememberOwn(name, text);
    this.#outbox.cut(chunk, at, batch.end);
    this.#holdFrom(chunk, batch.end, 'own');
    if (!batch.executes) {
      this.#ownDone([batch.answers]);
      return false;
    }
    ddl.run(text, this, !batch.goesOn).then(
      (result) => this.#ownDone([batch.answers, ...encodeResult(result, false)]),
      (error: unknown) => this.#ownDone([batch.answers, encodeError(error)]),
    );
    return false;
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

  onError(): void {
    this.#failedOrRolledBack = true;
  }

  onChange(change: string): void {
    this.#refresh?.onChange(change);
  }

  onFlushed(note: Note, report: string): void {
    this.#refresh?.onFlushed(note, report);
    this.#settled(note, true);
  }

  onRefreshError(note: Note, report: ReceivedReport): Uint8Array | null {
    const shown = this.#refresh?.onFlushFailed(note, report) ?? report.fields;
    if (note.kind === 'flush' && note.trigger === 'late') return null;
    this.#settled(note, false);
    return errorResponseFromFields(shown);
  }

  /** The outcome of a flush is known. What was held for it goes on in afterReceive. */
  #settled(note: Note, worked: boolean): void {
    if (note.kind !== 'flush' || (note.trigger !== 'commit' && note.trigger !== 'opaque')) return;
    this.#settlements -= 1;
    if (note.trigger === 'commit' && this.#batch.settlement !== 'none') {
      // The server goes on after a failed FunctionCall; the client expects everything up to Sync to be skipped.
      if (!worked && this.#batch.settlement !== 'nothing') this.#discardToSync = true;
      this.#batch.settlement = 'none';
    }
    if (note.trigger === 'opaque') {
      if (worked) this.#dropHeldQuery = false;
      else if (!this.#dropHeldQuery) this.#discardToSync = true;
    }
  }

  /**
   * The server ignores it, with everything up to Sync. A flush among it leaves nothing unsaid: the transaction has
   * failed, its changes count as flushed, and a ROLLBACK TO that brings it back makes them pending again.
   */
  onDropped(note: Note): void {
    this.#statements.undo(note);
    if (note.kind !== 'flush' || (note.trigger !== 'commit' && note.trigger !== 'opaque')) return;
    this.#settlements -= 1;
    this.#batch.settlement = 'none';
    this.#dropHeldQuery = false;
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
    const link = this.link;
    if (link === null) return;
    const before = this.parameters.get('client_encoding');
    this.parameters.adopt(link.parameters);
    if (this.#refresh !== null && this.parameters.get('client_encoding') !== before)
      this.#refresh.onEncodingChanged();
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
    if (status !== TransactionStatus.idle || refresh === null || refresh.isEmpty) return true;
    if (refresh.hasPending && !failed && link.queue.size === 0) {
      // Must not happen: a claimed transaction committed before its changes were flushed. Flush now, before the
      // client hears of the commit, and say so loudly.
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

  afterReceive(): void {
    const link = this.link;
    if (link === null || this.#closed) return;
    if (this.#hold === 'replies') {
      if (link.queue.running === 0 || link.skippingToSync || link.copyIn === 'open')
        this.#resumeFrom('replies');
    } else if (this.#hold === 'flush' && this.#settlements === 0 && link.queue.headNote?.kind !== 'flush') {
      // While a flush is at the head its error is here and not yet its ReadyForQuery.
      this.#afterFlushOutcome(link);
    }
    this.#maybeRelease();
  }

  #afterFlushOutcome(link: ServerLink): void {
    if (!this.#dropHeldQuery) {
      this.#resumeFrom('flush');
      return;
    }
    // The settlement of an opaque Query failed: the client has the error; the Query itself is not sent.
    this.#dropHeldQuery = false;
    const held = this.#inbox.takeAll();
    const length = 1 + held.readUInt32BE(1);
    this.#inbox.keep(held.subarray(Math.min(length, held.length)), 0);
    this.#streamed = Math.max(0, length - held.length);
    this.#streamedDropped = true;
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
    if (!link.isReusable || this.#streamed > 0) {
      if (link.closeReason === null || link.queue.size > 0) return;
    }
    this.#detach(link);
  }

  #isBetweenTransactions(link: ServerLink): boolean {
    return link.isReusable && !this.#batch.unsynced && this.#hold === null;
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
    this.link = null;
    link.owner = null;
    this.#source.release(link, this);
    if (error !== null) this.#deps.log.warn({ err: error }, 'a server connection was lost');
    this.close(SqlState.connectionFailure, 'server closed the connection unexpectedly', error?.message);
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
    this.client.end(errorResponse({ severity: 'FATAL', code, message, detail }));
    this.#end(message);
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

  #violation(message: string): void {
    this.close(SqlState.protocolViolation, message);
    this.client.destroy();
  }

  #malformed(what: string): false {
    this.#violation(`invalid ${what} message`);
    return false;
  }
}

function flushNote(trigger: FlushTrigger): Note {
  return { kind: 'flush', trigger, startedAt: clock.now };
}

function isLarge(type: number): boolean {
  switch (type) {
    case Frontend.Query:
    case Frontend.Parse:
    case Frontend.Bind:
      return true;
    default:
      return false;
  }
}

/** How many bytes of an incomplete message have to be here before it is worth another look. */
function neededOf(type: number, whole: number, here: number): number {
  // The head of a Bind ends somewhere: look for it at each doubling.
  return type === Frontend.Bind ? Math.min(whole, Math.max(2 * here, 64)) : whole;
}
