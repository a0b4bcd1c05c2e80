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
import { closeMessage, type Statement, type StatementStore } from '../statements/store.ts';
import { Frontend, TransactionStatus } from '../wire/codes.ts';
import { errorResponse, errorResponseFromFields, type ReceivedReport } from '../wire/messages/report.ts';
import { flush as flushRequest, query } from '../wire/messages/requests.ts';
import { readyForQuery } from '../wire/messages/session.ts';
import type { WireSocket } from '../wire/socket.ts';
import { closeComplete, encodeError, encodeResult, type OwnResult, parseComplete } from './answers.ts';
import { classify, isSingleStatement, StatementClass } from './classify.ts';
import { readOwnBatch } from './own-batch.ts';
import { Action, type FlushTrigger, Kind, type Note } from './requests.ts';
import { HIGH_WATER_BYTES, type LinkOwner, type ServerLink, type Tag } from './server-link.ts';

/** A Query text up to this size is classified as a whole; a longer one is opaque. */
const QUERY_BUFFER_BYTES = 1_048_576;
/** Parse messages and the head of Bind are assembled up to this size. */
const PARSE_BUFFER_BYTES = 64 * 1_048_576;
const MAX_MESSAGE_BYTES = 0x3fffffff;

/** Who gives and takes servers: a pool. */
export interface ServerSource {
  readonly mode: 'session' | 'transaction' | 'statement';
  /** A server now, or null: then `session.assigned` or `session.refused` is called later. */
  acquire(session: Session): ServerLink | null;
  /** The session no longer waits. */
  leave(session: Session): void;
  /** Back to the pool; the link must be reusable or carry a close reason. */
  release(link: ServerLink, session: Session): void;
  readonly stats: SourceStats;
}

/** Plain numbers, added to on the hot path and read when metrics are scraped. */
export interface SourceStats {
  queries: number;
  transactions: number;
  receivedBytes: number;
  observeQuery(seconds: number): void;
  observeTransaction(seconds: number): void;
}

/** What the session asks where refresh meets the relay (proxy/tviews); null when the database has no tviews. */
export interface SessionRefresh {
  /** Nothing claimed, pending or remembered. */
  readonly isEmpty: boolean;
  /** A claim is held: whatever may end the transaction has to be preceded by a settlement. */
  readonly claimed: boolean;
  readonly hasPending: boolean;
  /** Whether a claim is worth taking before this statement. */
  wantsClaim(text: string): boolean;
  /** Whether the statement reads a tview (or a view over one). */
  readsTview(text: string): boolean;
  /** The claim as a message; marks the session as claimed. */
  claimMessage(): Buffer;
  /** The flush as a message: all pending changes; with `release` the claim is given back. */
  flushMessage(release: boolean): Buffer;
  onChange(change: string): void;
  onFlushed(note: Note, report: string): void;
  /** @returns the fields the client shall see: the server's, with a detail that names the tview. */
  onFlushFailed(note: Note, report: ReceivedReport): ReadonlyMap<string, string>;
  /** The session's client_encoding is another one now. */
  onEncodingChanged(): void;
  onCommitted(): void;
  onRolledBack(): void;
  /** The transaction is over. */
  clear(): void;
}

/** Runs a statement of ours (CREATE TVIEW …) that the session diverted. */
export interface TviewDdl {
  recognises(text: string): boolean;
  /**
   * Runs it on the session's server; resolves to the CommandComplete tag (and rows to show).
   * @throws TviewsError or the server's error, with position
   */
  run(text: string, session: Session): Promise<OwnResult>;
  /** The column of the row that a function form returns; null for the statement forms. */
  rowColumn(text: string): string | null;
}
/** What a client's statement name or the unnamed statement stands for. */
interface Prepared {
  readonly class: StatementClass;
  /** Null when it was not kept (an unnamed read): then it counts as reading whatever it could. */
  readonly text: string | null;
}

const NOTHING_PREPARED: Prepared = { class: StatementClass.Read, text: '' };

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
  readonly client: WireSocket;
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
  readonly client: WireSocket;
  readonly parameters: ParameterValues;
  readonly #deps: SessionDeps;
  readonly #source: ServerSource;
  readonly #refresh: SessionRefresh | null;
  link: ServerLink | null = null;
  #closed = false;
  #closeWhenIdle = false;

  #carry: Buffer | null = null;
  #streamed = 0;
  #streamedDropped = false;
  #held: Buffer | null = null;
  #hold: Hold | null = null;
  /** A flush of ours failed: the client's messages up to Sync are not sent. */
  #discardToSync = false;
  /** A flush before COMMIT is on its way in an extended batch; what may follow it without knowing the outcome. */
  #commitBatch: 'none' | 'execute' | 'sync' | 'nothing' = 'none';
  /** What was last forwarded in extended protocol has no Sync or Flush behind it. */
  #unsynced = false;
  #failedOrRolledBack = false;
  /** The held Query is dropped and answered by us: its settlement failed. */
  #dropHeldQuery = false;

  readonly #names = new Map<string, Statement | Prepared>();
  #unnamed: Prepared = NOTHING_PREPARED;

  #queryStartedAt = 0;
  #linkedAt = 0;

  /** Pieces to send to the server in place of the chunk; empty when the chunk goes out as it is. */
  #out: Uint8Array[] = [];
  #run = 0;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
    this.client = deps.client;
    this.parameters = deps.parameters;
    this.#source = deps.source;
    this.#refresh = deps.refresh;
    this.client.onBytes = (chunk) => this.#receive(chunk);
    this.client.onClose = () => this.#clientGone();
    this.client.onDrain = () => this.link?.wire.resume();
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
    this.#source.stats.receivedBytes += received.length;
    if (this.#held !== null) {
      this.#held = Buffer.concat([this.#held, received]);
      return;
    }
    if (this.#carry !== null) {
      const chunk = Buffer.concat([this.#carry, received]);
      this.#carry = null;
      this.#process(chunk);
    } else {
      this.#process(received);
    }
  }

  #process(chunk: Buffer): void {
    const end = chunk.length;
    let at = 0;
    this.#run = 0;
    if (this.#streamed > 0) {
      at = Math.min(this.#streamed, end);
      this.#streamed -= at;
      if (this.#streamedDropped) this.#run = at;
    }
    while (end - at >= 5) {
      const type = chunk[at]!;
      const length = chunk.readUInt32BE(at + 1);
      if (length < 4 || length > MAX_MESSAGE_BYTES)
        return this.#violation(`invalid message length ${length}`);
      const next = at + 1 + length;
      if (next > end && !this.#canStart(type, chunk, at, end, length)) break;

      const dropped = this.#discards(type);
      if (!dropped) {
        if (type === Frontend.Terminate) return this.#terminate(chunk, at);
        if (this.link === null && !this.#acquire(chunk, at)) return;
        if (!this.#message(this.link!, type, chunk, at, next, end)) return;
      } else {
        this.#cut(chunk, at, Math.min(next, end));
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
    if (at < end) this.#carry = at === 0 ? chunk : Buffer.from(chunk.subarray(at));
    if (this.#closed) return;
    // Everything may have been answered by us alone (Close of a statement, say).
    const link = this.link;
    if (link !== null && link.queue.size === 0 && !this.#unsynced) this.afterReceive();
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
        if (length > PARSE_BUFFER_BYTES)
          this.#violation(`message of type ${type} with ${length} bytes is too large`);
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
    if (type === Frontend.CopyData || type === Frontend.CopyDone || type === Frontend.CopyFail) {
      const link = this.link;
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
    this.#linkedAt = performance.now();
    link.wire.onDrain = () => {
      if (this.#hold === null) this.client.resume();
    };
    const sync = this.parameters.difference(link.parameters);
    if (sync !== null) {
      link.queue.push(Kind.Query, Action.Skip, { kind: 'parameters' });
      this.#out.push(query(sync));
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
    this.#held = Buffer.from(chunk.subarray(at));
    this.#hold = reason;
    this.client.pause();
  }

  #resumeFrom(reason: Hold): void {
    if (this.#hold !== reason) return;
    const held = this.#held;
    this.#held = null;
    this.#hold = null;
    this.client.resume();
    if (held !== null && !this.#closed) this.#process(held);
  }

  /** What stands before `at` and has not been sent goes out ahead of whatever is pushed next. */
  #before(chunk: Buffer, at: number): void {
    if (at > this.#run) this.#out.push(chunk.subarray(this.#run, at));
    this.#run = at;
  }

  #cut(chunk: Buffer, from: number, to: number): void {
    this.#before(chunk, from);
    this.#run = to;
  }

  #send(chunk: Buffer, to: number): void {
    const link = this.link;
    if (link === null) return;
    const out = this.#out;
    if (out.length === 0) {
      if (to <= this.#run) return;
      link.wire.write(this.#run === 0 && to === chunk.length ? chunk : chunk.subarray(this.#run, to));
    } else {
      if (to > this.#run) out.push(chunk.subarray(this.#run, to));
      link.wire.write(out.length === 1 ? out[0]! : Buffer.concat(out));
      this.#out = [];
    }
    this.#run = to;
    if (link.wire.pendingBytes > HIGH_WATER_BYTES) this.client.pause();
  }

  /** @returns false when the chunk's rest is held or the session has ended */
  #message(link: ServerLink, type: number, chunk: Buffer, at: number, next: number, end: number): boolean {
    if (this.#commitBatch !== 'none' && !this.#mayFollowCommitFlush(type)) {
      this.#holdFrom(chunk, at, 'flush');
      return false;
    }
    switch (type) {
      case Frontend.Query:
        return this.#query(link, chunk, at, next, end);
      case Frontend.Parse:
        return this.#parse(link, chunk, at, next);
      case Frontend.Bind:
        return this.#bind(link, chunk, at, next, end);
      case Frontend.Describe:
        this.#describe(link, chunk, at, next);
        break;
      case Frontend.Execute:
        this.#started(link);
        link.queue.push(Kind.Execute, Action.Forward, null);
        break;
      case Frontend.Close:
        this.#closeStatement(link, chunk, at, next);
        break;
      case Frontend.Sync:
        // In copy-in mode the server reads and ignores it.
        if (link.copyIn === 'open') return true;
        link.queue.push(Kind.Sync, Action.Forward, null);
        this.#unsynced = false;
        return true;
      case Frontend.Flush:
        return true;
      case Frontend.FunctionCall:
        this.#started(link);
        link.queue.push(Kind.FunctionCall, Action.Forward, null);
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
    this.#unsynced = true;
    return true;
  }

  #started(link: ServerLink): void {
    if (link.queue.running === 0) this.#queryStartedAt = performance.now();
  }

  #query(link: ServerLink, chunk: Buffer, at: number, next: number, end: number): boolean {
    const whole = next <= end;
    const from = at + 5;
    const to = next - 1;
    const statementClass = whole ? classify(chunk, from, to) : StatementClass.Opaque;
    if (statementClass === StatementClass.MaybeTview && this.#deps.ddl !== null) {
      const text = chunk.toString('utf8', from, to);
      if (this.#deps.ddl.recognises(text)) return this.#runDdl(link, text, chunk, at, next);
    }
    const refresh = this.#refresh;
    if (
      refresh !== null &&
      !this.#prepareStatement(link, refresh, statementClass, null, chunk, at, from, to, whole)
    ) {
      return false;
    }
    this.#started(link);
    link.queue.push(Kind.Query, Action.Forward, null);
    // A Query ends a batch that had no Sync.
    this.#unsynced = false;
    return true;
  }

  /**
   * Puts in front of a statement what refresh needs there: a claim, a flush, or nothing. Text only prepares: a
   * statement misjudged as harmless still meets the fallback, because it was not claimed or is settled as opaque.
   * @param prepared for Bind: what is bound; null: a Query message whose text is `chunk[from, to)`
   * @returns false when the message has to wait (it is held and will be looked at again)
   */
  #prepareStatement(
    link: ServerLink,
    refresh: SessionRefresh,
    firstClass: StatementClass,
    prepared: Prepared | null,
    chunk: Buffer,
    at: number,
    from: number,
    to: number,
    whole: boolean,
  ): boolean {
    if (link.skippingToSync || link.copyIn !== 'no') return true;
    const inTransaction = link.status === TransactionStatus.inTransaction;
    if (!inTransaction) return true;
    const extended = prepared !== null;
    const text = (): string => prepared?.text ?? chunk.toString('utf8', from, to);

    if (!refresh.claimed) {
      // A claim in the middle of running statements would not know whether the transaction still stands.
      const mayClaim = firstClass === StatementClass.Write && link.queue.running === 0 && whole;
      if (mayClaim && (extended || isSingleStatement(chunk, from, to)) && refresh.wantsClaim(text())) {
        this.#inject(link, { kind: 'claim' }, refresh.claimMessage(), chunk, at);
      }
      return this.#flushBeforeRead(link, refresh, firstClass, prepared, chunk, at, text);
    }

    const single = extended || (whole && isSingleStatement(chunk, from, to));
    const statementClass = single ? firstClass : StatementClass.Opaque;
    switch (statementClass) {
      case StatementClass.Read:
      case StatementClass.Write:
      case StatementClass.Begin:
      case StatementClass.Rollback:
      case StatementClass.RollbackTo:
        return this.#flushBeforeRead(link, refresh, statementClass, prepared, chunk, at, text);
      case StatementClass.Commit:
      case StatementClass.PrepareTransaction:
        if (this.#waitsForReplies(link, chunk, at)) return false;
        this.#inject(link, flushNote('commit'), refresh.flushMessage(true), chunk, at);
        if (extended) this.#commitBatch = 'execute';
        return true;
      default:
        // CALL, DO, several statements …: nothing that follows may rely on the claim, and nothing goes out before
        // the flush is known to have worked, because the statement may begin with COMMIT and go on after it.
        if (this.#waitsForReplies(link, chunk, at)) return false;
        this.#inject(link, flushNote('opaque'), refresh.flushMessage(true), chunk, at);
        this.#dropHeldQuery = !extended;
        this.#holdFrom(chunk, at, 'flush');
        return false;
    }
  }

  #flushBeforeRead(
    link: ServerLink,
    refresh: SessionRefresh,
    statementClass: StatementClass,
    prepared: Prepared | null,
    chunk: Buffer,
    at: number,
    text: () => string,
  ): boolean {
    if (statementClass !== StatementClass.Read && statementClass !== StatementClass.Write) return true;
    if (!refresh.claimed && !refresh.hasPending) return true;
    if (!refresh.hasPending && link.queue.running === 0) return true;
    const reads = prepared !== null && prepared.text === null ? true : refresh.readsTview(text());
    if (!reads) return true;
    if (this.#waitsForReplies(link, chunk, at)) return false;
    if (refresh.hasPending) this.#inject(link, flushNote('read'), refresh.flushMessage(false), chunk, at);
    return true;
  }

  /** Changes of statements still running have to be in before we flush: holds the message until they are. */
  #waitsForReplies(link: ServerLink, chunk: Buffer, at: number): boolean {
    if (link.queue.running === 0) return false;
    this.#before(chunk, at);
    // Without Sync or Flush the server would sit on its answers.
    if (this.#unsynced) this.#out.push(flushRequest);
    this.#holdFrom(chunk, at, 'replies');
    return true;
  }

  /** Sends a request of ours ahead of the message at `at`, through the FunctionCall message. */
  #inject(link: ServerLink, note: Note, message: Buffer, chunk: Buffer, at: number): void {
    this.#before(chunk, at);
    this.#out.push(message);
    link.queue.push(Kind.FunctionCall, Action.Skip, note);
  }

  #mayFollowCommitFlush(type: number): boolean {
    switch (this.#commitBatch) {
      case 'execute':
        if (type === Frontend.Execute) this.#commitBatch = 'sync';
        else if (type === Frontend.Sync) this.#commitBatch = 'nothing';
        return type !== Frontend.Query && type !== Frontend.FunctionCall;
      case 'sync':
        if (type !== Frontend.Sync) return type === Frontend.Flush;
        this.#commitBatch = 'nothing';
        return true;
      default:
        return false;
    }
  }

  #parse(link: ServerLink, chunk: Buffer, at: number, next: number): boolean {
    const nameEnd = chunk.indexOf(0, at + 5);
    const textEnd = nameEnd < 0 ? -1 : chunk.indexOf(0, nameEnd + 1);
    if (textEnd < 0 || textEnd >= next) return this.#malformed('Parse');
    if (nameEnd === at + 5) {
      const statementClass = classify(chunk, nameEnd + 1, textEnd);
      if (statementClass === StatementClass.MaybeTview && this.#deps.ddl !== null) {
        const text = chunk.toString('utf8', nameEnd + 1, textEnd);
        if (this.#deps.ddl.recognises(text)) return this.#runDdlExtended(link, text, chunk, at, next);
      }
      const keep = this.#refresh !== null && statementClass !== StatementClass.Read;
      this.#unnamed = {
        class: statementClass,
        text: keep ? chunk.toString('utf8', nameEnd + 1, textEnd) : null,
      };
      link.queue.push(Kind.Parse, Action.Forward, null);
    } else if (this.#deps.renamesStatements) {
      this.#parseNamed(link, chunk, at, nameEnd, next);
    } else {
      const name = chunk.toString('utf8', at + 5, nameEnd);
      this.#names.set(name, {
        class: classify(chunk, nameEnd + 1, textEnd),
        text: chunk.toString('utf8', nameEnd + 1, textEnd),
      });
      link.queue.push(Kind.Parse, Action.Forward, null);
    }
    this.#unsynced = true;
    return true;
  }

  #parseNamed(link: ServerLink, chunk: Buffer, at: number, nameEnd: number, next: number): void {
    const name = chunk.toString('utf8', at + 5, nameEnd);
    const statement = this.#deps.store.intern(chunk.subarray(nameEnd + 1, next));
    const taken = this.#names.get(name);
    this.#cut(chunk, at, next);
    if (isPooled(taken)) {
      // The server says 42P05 as it would to a client of its own: by a name it does hold.
      this.#ensurePrepared(link, taken);
      this.#out.push(taken.parseMessage);
      link.queue.push(Kind.Parse, Action.Forward, { kind: 'duplicate', name });
      return;
    }
    this.#names.set(name, statement);
    if (link.statements.has(statement)) {
      if (link.queue.size === 0) this.client.write(parseComplete);
      else link.queue.push(Kind.Parse, Action.Fake, { kind: 'answer', bytes: parseComplete });
      return;
    }
    this.#out.push(statement.parseMessage);
    link.queue.push(Kind.Parse, Action.Forward, { kind: 'prepare', statement, clientName: name });
    this.#addPrepared(link, statement);
  }

  /** The server holds one more statement; the least recently used one goes when there are too many. */
  #addPrepared(link: ServerLink, statement: Statement): void {
    const evicted = link.statements.add(statement);
    if (evicted === null) return;
    this.#out.push(closeMessage(evicted));
    link.queue.push(Kind.Close, Action.Skip, { kind: 'evict', statement: evicted });
  }

  #ensurePrepared(link: ServerLink, statement: Statement): void {
    if (link.statements.has(statement)) return;
    this.#out.push(statement.parseMessage);
    link.queue.push(Kind.Parse, Action.Skip, { kind: 'prepare', statement, clientName: null });
    this.#addPrepared(link, statement);
  }

  #bind(link: ServerLink, chunk: Buffer, at: number, next: number, end: number): boolean {
    const portalEnd = chunk.indexOf(0, at + 5);
    const nameEnd = portalEnd < 0 ? -1 : chunk.indexOf(0, portalEnd + 1);
    if (nameEnd < 0 || nameEnd >= next) return this.#malformed('Bind');
    const isUnnamed = nameEnd === portalEnd + 1;
    const named = isUnnamed ? undefined : this.#names.get(chunk.toString('utf8', portalEnd + 1, nameEnd));
    const prepared: Prepared = isUnnamed ? this.#unnamed : (named ?? NOTHING_PREPARED);

    const refresh = this.#refresh;
    if (
      refresh !== null &&
      !this.#prepareStatement(link, refresh, prepared.class, prepared, chunk, at, 0, 0, true)
    ) {
      return false;
    }
    if (isPooled(named)) {
      this.#cut(chunk, at, Math.min(nameEnd + 1, end));
      this.#ensurePrepared(link, named);
      this.#out.push(renamedHead(Frontend.Bind, chunk, at, portalEnd + 1, nameEnd + 1, next, named));
    }
    // A name the client never prepared goes to the server as it is: 26000, in stream order.
    link.queue.push(Kind.Bind, Action.Forward, null);
    this.#unsynced = true;
    return true;
  }

  #describe(link: ServerLink, chunk: Buffer, at: number, next: number): void {
    const statement = this.#namedTarget(chunk, at, next);
    if (statement !== null) {
      this.#cut(chunk, at, next);
      this.#ensurePrepared(link, statement);
      this.#out.push(renamedHead(Frontend.Describe, chunk, at, at + 6, next, next, statement));
    }
    link.queue.push(Kind.Describe, Action.Forward, null);
  }

  #closeStatement(link: ServerLink, chunk: Buffer, at: number, next: number): void {
    if (chunk[at + 5] === 0x53 && next > at + 7) {
      const name = chunk.toString('utf8', at + 6, next - 1);
      this.#names.delete(name);
      if (this.#deps.renamesStatements) {
        this.#cut(chunk, at, next);
        if (link.queue.size === 0) this.client.write(closeComplete);
        else link.queue.push(Kind.Close, Action.Fake, { kind: 'answer', bytes: closeComplete });
        return;
      }
    }
    link.queue.push(Kind.Close, Action.Forward, null);
  }

  /** The pool's statement that a Describe of a named statement means; null where the name goes out as it is. */
  #namedTarget(chunk: Buffer, at: number, next: number): Statement | null {
    if (chunk[at + 5] !== 0x53 || next <= at + 7) return null;
    const target = this.#names.get(chunk.toString('utf8', at + 6, next - 1));
    return isPooled(target) ? target : null;
  }

  // ------------------------------------------------------------------------------------------ statements of ours

  #runDdl(link: ServerLink, text: string, chunk: Buffer, at: number, next: number): boolean {
    if (this.#waitsForReplies(link, chunk, at)) return false;
    this.#cut(chunk, at, next);
    this.#holdFrom(chunk, next, 'own');
    this.#deps.ddl!.run(text, this).then(
      (result) => this.#ddlDone(encodeResult(result, true)),
      (error: unknown) => this.#ddlDone([encodeError(error)]),
    );
    return false;
  }

  /** Parse of a statement of ours: the whole batch up to Sync is answered by us. */
  #runDdlExtended(link: ServerLink, text: string, chunk: Buffer, at: number, next: number): boolean {
    if (this.#waitsForReplies(link, chunk, at)) return false;
    const ddl = this.#deps.ddl!;
    const batch = readOwnBatch(chunk, next, ddl.rowColumn(text));
    if (batch === null) {
      // The rest of the batch has not arrived: look again when it has.
      this.#send(chunk, at);
      this.#carry = Buffer.from(chunk.subarray(at));
      return false;
    }
    this.#cut(chunk, at, batch.end);
    this.#holdFrom(chunk, batch.end, 'own');
    if (!batch.executes) {
      this.#ddlDone([batch.answers]);
      return false;
    }
    ddl.run(text, this).then(
      (result) => this.#ddlDone([batch.answers, ...encodeResult(result, false)]),
      (error: unknown) => this.#ddlDone([batch.answers, encodeError(error)]),
    );
    return false;
  }

  #ddlDone(answers: readonly Uint8Array[]): void {
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
        this.#names.clear();
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
    if (note.kind === 'flush') this.#settled(note, false);
    return errorResponseFromFields(shown);
  }

  /** The outcome of a flush is known. What was held for it goes on in afterReceive. */
  #settled(note: Note, worked: boolean): void {
    if (note.kind !== 'flush') return;
    if (note.trigger === 'commit' && this.#commitBatch !== 'none') {
      // The server goes on after a failed FunctionCall; the client expects everything up to Sync to be skipped.
      if (!worked && this.#commitBatch !== 'nothing') this.#discardToSync = true;
      this.#commitBatch = 'none';
    }
    if (note.trigger === 'opaque') {
      if (worked) this.#dropHeldQuery = false;
      else if (!this.#dropHeldQuery) this.#discardToSync = true;
    }
  }

  onParameters(): void {
    const link = this.link;
    if (link === null) return;
    const before = this.parameters.get('client_encoding');
    this.parameters.adopt(link.parameters);
    if (this.#refresh !== null && this.parameters.get('client_encoding') !== before)
      this.#refresh.onEncodingChanged();
  }

  onPrepareUndone(note: Note): void {
    if (
      note.kind === 'prepare' &&
      note.clientName !== null &&
      this.#names.get(note.clientName) === note.statement
    ) {
      this.#names.delete(note.clientName);
    }
  }

  onReady(status: number): boolean {
    const link = this.link!;
    const refresh = this.#refresh;
    const failed = this.#failedOrRolledBack;
    this.#failedOrRolledBack = false;
    if (this.#source.mode === 'statement' && status !== TransactionStatus.idle) {
      link.closeReason = 'transaction blocks not allowed in statement pooling mode';
      queueMicrotask(() => this.close(SqlState.protocolViolation, link.closeReason!));
      return false;
    }
    if (link.queue.running === 0 && this.#queryStartedAt !== 0) {
      const stats = this.#source.stats;
      stats.queries += 1;
      stats.observeQuery((performance.now() - this.#queryStartedAt) / 1000);
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
    if (this.#hold === 'replies' && (link.queue.running === 0 || link.skippingToSync))
      this.#resumeFrom('replies');
    else if (
      this.#hold === 'flush' &&
      link.queue.headNote?.kind !== 'flush' &&
      this.#commitBatch === 'none'
    ) {
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
    const held = this.#held!;
    this.#held = held.subarray(Math.min(held.length, 1 + held.readUInt32BE(1)));
    this.client.write(readyForQuery(link.status));
    this.#resumeFrom('flush');
  }

  #maybeRelease(): void {
    const link = this.link;
    if (link === null) return;
    if (this.#closeWhenIdle && this.#isBetweenTransactions(link) && this.#hold === null)
      return this.#closeForShutdown();
    if (this.#source.mode === 'session') return;
    if (link.queue.size > 0 || link.status !== TransactionStatus.idle || this.#hold !== null) return;
    // Answered because of a Flush: the server is inside the batch, perhaps in its implicit transaction, whatever the
    // last ReadyForQuery said. Another client's Sync would commit what this one has not.
    if (this.#unsynced) return;
    if (!link.isReusable || this.#streamed > 0) {
      if (link.closeReason === null || link.queue.size > 0) return;
    }
    this.#detach(link);
  }

  #isBetweenTransactions(link: ServerLink): boolean {
    return link.isReusable && !this.#unsynced;
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
    const stats = this.#source.stats;
    stats.transactions += 1;
    stats.observeTransaction((performance.now() - this.#linkedAt) / 1000);
    this.#source.release(link, this);
  }

  onServerLost(error: Error | null): void {
    const link = this.link!;
    this.link = null;
    link.owner = null;
    this.#source.release(link, this);
    this.close(SqlState.connectionFailure, 'server closed the connection unexpectedly', error?.message);
  }

  // ------------------------------------------------------------------------------------------------------- ending

  #terminate(chunk: Buffer, at: number): void {
    this.#send(chunk, at);
    this.#end('client close request');
    this.client.end();
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
    if (this.link === null || this.#isBetweenTransactions(this.link)) this.#closeForShutdown();
  }

  #closeForShutdown(): void {
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
    if (link !== null) {
      this.link = null;
      link.owner = null;
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
  return { kind: 'flush', trigger, startedAt: performance.now() };
}

/** The head of a message up to and including the statement's name, with the pool's name in place of the client's. */
function renamedHead(
  type: number,
  chunk: Buffer,
  at: number,
  nameStart: number,
  nameEnd: number,
  next: number,
  statement: Statement,
): Buffer {
  const prefix = nameStart - at;
  const head = Buffer.allocUnsafe(prefix + statement.serverName.length);
  head[0] = type;
  head.writeUInt32BE(next - at - 1 - (nameEnd - nameStart) + statement.serverName.length, 1);
  chunk.copy(head, 5, at + 5, nameStart);
  statement.serverName.copy(head, prefix);
  return head;
}

function isPooled(prepared: Statement | Prepared | undefined): prepared is Statement {
  return prepared !== undefined && 'serverName' in prepared;
}
