/**
 * One server connection as the relay sees it: scans the server's messages, answers the request queue with them, and
 * passes on to the linked session what the client may see. It decides nothing about pools or tviews.
 *
 * Hot path: complete messages are passed on as one slice of the chunk they came in; only what must be swallowed or
 * added cuts it. Looked at: the five bytes of each header, and the body of the types in {@link isInspected}.
 */

import type { ParameterValues } from '../server/parameters.ts';
import { schemaChangeOf } from '../statements/classify.ts';
import type { ServerStatements, Statement } from '../statements/store.ts';
import { Backend, TransactionStatus } from '../wire/codes.ts';
import { type ReceivedReport, readReport, renamedReport } from '../wire/messages/report.ts';
import { clock } from './clock.ts';
import { Inbox } from './inbox.ts';
import type { Wire } from './ports.ts';
import { Action, Kind, type Note, RequestQueue } from './requests.ts';

/** SQLSTATEs of the notices by which the database tells us something (docs/database.md). */
const CHANGE_SQLSTATE = 'TV001';
const REPAIR_SQLSTATE = 'TV002';
/** A message that is looked at is assembled up to this size; a larger one is passed on unseen. */
const INSPECT_LIMIT = 1_048_576;
/** Bytes a peer may lag behind before we stop reading from the other side. */
export const HIGH_WATER_BYTES = 262_144;

/** `PREPARE TRANSACTION` with its zero; a longer tag is none of ours. */
const LONGEST_TAG = 20;

/** Ends of transactions and resets, as the server reports them in CommandComplete. */
export type Tag = 'COMMIT' | 'ROLLBACK' | 'PREPARE TRANSACTION' | 'DISCARD ALL' | 'DEALLOCATE ALL';

const DUPLICATE_STATEMENT = '42P05';
const UNKNOWN_STATEMENT = '26000';
const FEATURE_NOT_SUPPORTED = '0A000';
const FAILED_TRANSACTION = '25P02';

/** What a link tells the session it is linked to. */
export interface LinkOwner {
  /** Where the client's bytes go. */
  readonly client: Wire;
  onTag(tag: Tag): void;
  /** A statement of the client's has run that may have changed the schema; its transaction may still be open. */
  onSchemaChange(isLikely: boolean): void;
  /** A notice with the SQLSTATE of changes. @returns false when it is none: then the client sees it */
  onChange(message: string): boolean;
  /**
   * The notice that what this transaction changed has to be looked at again once it has committed.
   * @returns false when it is none of ours: then the client sees it
   */
  onRepairOwed(message: string): boolean;
  /** The server's ErrorResponse to a claim or flush of ours; gives what the client shall see. */
  onRefreshError(note: Note, fields: ReceivedReport): Uint8Array | null;
  onFlushed(note: Note, report: string): void;
  onError(): void;
  /** The server reported a parameter, or took over ours. */
  onParameters(): void;
  /** The server will not take the client's parameters. */
  onParametersRefused(report: ReceivedReport): void;
  /**
   * ReadyForQuery, its request popped.
   * @param asked it answers the client's request, not one of ours
   * @returns false to keep it from the client (the session will have another one sent).
   */
  onReady(status: number, asked: boolean): boolean;
  /** The server never ran this request: it failed itself, or the server ignored it after an earlier error. */
  onDropped(note: Note, failed: boolean): void;
  /** The plan of a statement of the pool's no longer fits its tables. */
  onOutdated(statement: Statement): void;
  /** After a chunk has been worked off. */
  afterReceive(): void;
  onServerLost(reason: Error | null): void;
}

function isInspected(type: number): boolean {
  switch (type) {
    case Backend.DataRow:
    case Backend.CopyData:
    case Backend.RowDescription:
    case Backend.ParameterDescription:
      return false;
    default:
      return true;
  }
}

/** What a server says without being asked: notices, parameters, notifications, and why it goes away. */
function isUnasked(type: number): boolean {
  switch (type) {
    case Backend.NoticeResponse:
    case Backend.ParameterStatus:
    case Backend.NotificationResponse:
    case Backend.ErrorResponse:
      return true;
    default:
      return false;
  }
}

export class ServerLink {
  readonly wire: Wire;
  readonly processId: number;
  readonly secretKey: Buffer;
  readonly parameters: ParameterValues;
  readonly statements: ServerStatements;
  readonly queue = new RequestQueue();
  readonly connectedAt = clock.now;
  /** Since when it is idle, for server_idle_timeout. */
  idleSince = this.connectedAt;
  owner: LinkOwner | null = null;
  /** Status byte of the last ReadyForQuery. */
  status: number = TransactionStatus.idle;
  /** The server has failed in an extended batch and ignores everything up to Sync. */
  skippingToSync = false;
  /** What is sent now is ignored by the server: no Sync that ends its skipping is on its way yet. */
  get ignoresRequests(): boolean {
    return this.skippingToSync && this.queue.syncs === 0;
  }

  /** Between CopyInResponse and the end the client gives it. */
  copyIn: 'no' | 'open' | 'ending' = 'no';
  /** Why it must not be reused; null while it is good. */
  closeReason: string | null = null;
  /** Its client has ended in order: what it sent before is still to be done, though nobody waits for it. */
  saidGoodbye = false;
  /** Cancel requests under way to this server: it is not reused until they have ended. */
  cancelsInFlight = 0;
  /** Told when an unlinked connection is lost or says what no idle server says. */
  onUnlinkedClose: (reason: string) => void = () => {};
  receivedBytes = 0;

  /** After a failed claim or flush: the answers of the requests that came with it are not the client's. */
  #discardAnswers = false;
  readonly #inbox = new Inbox(true);
  #streamed = 0;
  #streamedSwallowed = false;
  /** The client has the beginning of a message, and its rest is still to come. */
  #clientInsideMessage = false;
  /** The session has heard how the flush at the head of the queue ended. */
  #outcomeTold = false;
  /** What made us close the connection: bytes that are no PostgreSQL server's, or a mistake of ours. */
  #fault: Error | null = null;

  constructor(
    wire: Wire,
    login: {
      processId: number;
      secretKey: Buffer;
      parameters: ParameterValues;
      statements: ServerStatements;
    },
  ) {
    this.wire = wire;
    this.processId = login.processId;
    this.secretKey = login.secretKey;
    this.parameters = login.parameters;
    this.statements = login.statements;
    wire.onBytes = (received) => {
      clock.tick();
      try {
        const chunk = this.#inbox.take(received);
        this.receivedBytes += received.length;
        if (chunk !== null) this.#receive(chunk);
      } catch (error) {
        // One connection's fault, the server's or ours, must not take the others down with it.
        this.#broken(error instanceof Error ? error : new Error(String(error)));
      }
    };
    wire.onClose = (error) => this.#lost(this.#fault ?? error);
  }

  /** Let go by its pool: nothing more is sent over it. */
  #retired = false;

  get isRetired(): boolean {
    return this.#retired || this.wire.closed;
  }

  retire(): void {
    this.#retired = true;
  }

  /** Idle, answered, and good for another client. */
  get isReusable(): boolean {
    return (
      this.status === TransactionStatus.idle &&
      this.queue.size === 0 &&
      this.copyIn === 'no' &&
      !this.skippingToSync &&
      this.closeReason === null &&
      !this.wire.closed &&
      this.#streamed === 0
    );
  }

  /** Whatever the client is sent now that is not the server's next bytes, it takes for the rest of a message it has a part of. */
  get isInsideMessage(): boolean {
    return this.#clientInsideMessage;
  }

  #broken(error: Error): void {
    this.#fault = error;
    this.closeReason ??= error.message;
    this.wire.destroy();
  }

  #lost(error: Error | null): void {
    this.closeReason ??= error === null ? 'server conn crashed?' : error.message;
    while (this.queue.size > 0) {
      const note = this.queue.headNote;
      this.queue.pop();
      if (note?.kind === 'own')
        note.query.lost(error ?? new Error('server closed the connection unexpectedly'));
    }
    const owner = this.owner;
    if (owner === null) this.onUnlinkedClose(this.closeReason);
    else owner.onServerLost(error);
  }

  #receive(chunk: Buffer): void {
    const owner = this.owner;
    const client = owner?.client ?? null;
    const end = chunk.length;
    let at = 0;
    /** Start of the bytes that are to be passed on and have not been. */
    let run = 0;
    let corked = false;
    let needed = 5;

    if (this.#streamed > 0) {
      at = Math.min(this.#streamed, end);
      this.#streamed -= at;
      if (this.#streamedSwallowed) run = at;
    }

    while (end - at >= 5) {
      const type = chunk[at]!;
      const length = chunk.readInt32BE(at + 1);
      if (length < 4) throw new Error(`the server sent a message of length ${length}`);
      if (client === null && this.queue.size === 0 && !isUnasked(type))
        throw new Error(`an idle server sent a message of type ${String.fromCharCode(type)}`);
      const next = at + 1 + length;
      const swallowed = this.#discardAnswers || this.queue.headAction === Action.Skip || client === null;
      let pass: boolean | Uint8Array = !swallowed;

      if (next > end) {
        if (this.#isReadWhole(type, length, chunk, at, end)) {
          needed = next - at;
          break;
        }
        // Not looked at, or too large to be: pass on what is here and count the rest.
        if (type === Backend.RowDescription) this.#answered(Kind.Describe);
        else if (type === Backend.ErrorResponse) pass = this.#error(chunk, at + 5, end, swallowed);
        this.#streamed = next - end;
        this.#streamedSwallowed = pass !== true;
      } else if (type !== Backend.DataRow && type !== Backend.CopyData) {
        pass = this.#message(type, chunk, at, next, swallowed);
      } else if (swallowed) {
        this.#own(type, chunk, at, next);
      }

      const stop = Math.min(next, end);
      if (pass !== true) {
        if (client !== null) {
          if (!corked) {
            client.cork();
            corked = true;
          }
          if (at > run) client.write(chunk.subarray(run, at));
          if (pass !== false) client.write(pass);
        }
        run = stop;
      }
      at = stop;
      // Requests the server never saw are answered when their turn comes.
      while (this.queue.headAction === Action.Fake) {
        const note = this.queue.headNote;
        this.queue.pop();
        if (note?.kind === 'answer' && client !== null && !this.#discardAnswers) {
          if (!corked) {
            client.cork();
            corked = true;
          }
          if (at > run) client.write(chunk.subarray(run, at));
          run = at;
          client.write(note.bytes);
        }
      }
    }

    if (client !== null) {
      if (at > run) client.write(run === 0 && at === end ? chunk : chunk.subarray(run, at));
      if (corked) client.uncork();
    }
    this.#clientInsideMessage = this.#streamed > 0 && !this.#streamedSwallowed;
    if (at < end) this.#inbox.keep(chunk.subarray(at), needed);
    if (owner === null) {
      if (this.closeReason !== null && this.queue.size === 0) this.onUnlinkedClose(this.closeReason);
      return;
    }
    if (owner.client.pendingBytes > 0) {
      this.wire.retain();
      if (owner.client.pendingBytes > HIGH_WATER_BYTES) this.wire.pause();
    }
    owner.afterReceive();
  }

  /** The head of the queue is a query of ours. */
  get #isOwn(): boolean {
    const kind = this.queue.headNote?.kind;
    return kind === 'own' || kind === 'own-part';
  }

  /** Whether a message of which only a part is here has to be waited for. */
  #isReadWhole(type: number, length: number, chunk: Buffer, at: number, end: number): boolean {
    // What a query of ours asked for is read whole, rows too: nobody else will see it.
    if (this.#isOwn) return true;
    if (length <= INSPECT_LIMIT) return isInspected(type);
    // A change must not get lost, however large the owner of the database lets it grow.
    return type === Backend.NoticeResponse && mayBeChange(chunk, at + 5, end);
  }

  #own(type: number, chunk: Buffer, at: number, next: number): void {
    const note = this.queue.headNote;
    if (note?.kind === 'own' || note?.kind === 'own-part') note.query.message(type, chunk, at, next);
  }

  /** Pops the head if it is of this kind. */
  #answered(kind: Kind): void {
    if (this.queue.headKind === kind) this.queue.pop();
  }

  /**
   * One complete message. @returns true: pass it on (unless swallowed); false: swallow; bytes: pass these on instead.
   */
  #message(type: number, chunk: Buffer, at: number, next: number, swallowed: boolean): boolean | Uint8Array {
    if (swallowed) this.#own(type, chunk, at, next);
    switch (type) {
      case Backend.ReadyForQuery:
        return this.#ready(chunk[at + 5]!);
      case Backend.CommandComplete:
        this.#complete(chunk, at + 5, next);
        this.#answered(Kind.Execute);
        return !swallowed;
      case Backend.EmptyQueryResponse:
      case Backend.PortalSuspended:
        this.#answered(Kind.Execute);
        return !swallowed;
      case Backend.RowDescription:
      case Backend.NoData:
        this.#answered(Kind.Describe);
        return !swallowed;
      case Backend.ParseComplete:
        this.#answered(Kind.Parse);
        return !swallowed;
      case Backend.BindComplete:
        this.#answered(Kind.Bind);
        return !swallowed;
      case Backend.CloseComplete:
        this.#answered(Kind.Close);
        return !swallowed;
      case Backend.ErrorResponse:
        return this.#error(chunk, at + 5, next, swallowed);
      case Backend.NoticeResponse:
        return this.#notice(chunk, at + 5, next, swallowed);
      case Backend.ParameterStatus:
        return this.#parameter(chunk, at + 5, next, swallowed);
      case Backend.FunctionCallResponse:
        return this.#functionResult(chunk, at + 5, swallowed);
      case Backend.CopyInResponse:
      case Backend.CopyBothResponse:
        this.copyIn = this.queue.dropSyncsOfCopy() ? 'ending' : 'open';
        return !swallowed;
      case Backend.NotificationResponse:
        return this.owner !== null;
      default:
        return !swallowed;
    }
  }

  #ready(status: number): boolean {
    this.copyIn = 'no';
    const answersError = this.skippingToSync;
    if (answersError) {
      this.#dropToSync(null);
      this.skippingToSync = false;
    }
    const action = this.queue.headAction;
    const note = this.queue.headNote;
    // A Sync sent into a COPY that the server had already given up is not in the queue, but it ends the error.
    if (action !== undefined) this.queue.pop();
    else if (!answersError) throw new Error('the server is ready though nothing was asked of it');
    this.status = status;
    if (note?.kind === 'own') note.query.ready();
    else if (note?.kind === 'parameters') this.owner?.onParameters();
    else if (note?.kind === 'flush') this.#tellOutcome(note, '[]');
    const toClient =
      action === undefined ||
      action === Action.Forward ||
      (note?.kind === 'flush' && note.trigger === 'late');
    if (toClient) this.#discardAnswers = false;
    if (this.owner === null) return false;
    const shown = this.owner.onReady(status, action !== Action.Skip);
    return toClient && shown;
  }

  /** Its session may be waiting for it: whatever the server answered, the flush has worked unless it failed. */
  #tellOutcome(note: Note, report: string): void {
    if (!this.#outcomeTold) this.owner?.onFlushed(note, report);
    this.#outcomeTold = false;
  }

  /** The server ignores everything up to Sync, behind what has failed: undo what those requests would have done. */
  #dropToSync(failed: Note | null): void {
    this.queue.dropToSync((note) => {
      if (note.kind === 'prepare') this.statements.delete(note.statement);
      else if (note.kind === 'evict') this.statements.restore(note.statement);
      else if (note.kind === 'own')
        note.query.lost(new Error('the server discarded the query after an earlier error'));
      this.owner?.onDropped(note, note === failed);
    });
  }

  #complete(chunk: Buffer, from: number, next: number): void {
    const first = chunk[from]!;
    // C(OMMIT, CREATE …), R(OLLBACK), P(REPARE TRANSACTION), D(ISCARD ALL, DEALLOCATE ALL, DROP …), A(LTER …): everything else is
    // not for us.
    if (first !== 0x43 && first !== 0x52 && first !== 0x50 && first !== 0x44 && first !== 0x41) return;
    if (next - from > LONGEST_TAG) return;
    const tag = chunk.toString('latin1', from, next - 1);
    switch (tag) {
      case 'DISCARD ALL':
      case 'DEALLOCATE ALL':
        this.statements.clear();
        this.owner?.onTag(tag);
        return;
      case 'COMMIT':
      case 'ROLLBACK':
      case 'PREPARE TRANSACTION':
        this.owner?.onTag(tag);
        return;
      default: {
        // A statement of ours reports what it did by itself.
        const change = this.#isOwn ? 'none' : schemaChangeOf(tag);
        if (change !== 'none') this.owner?.onSchemaChange(change === 'likely');
      }
    }
  }

  #error(chunk: Buffer, from: number, next: number, swallowed: boolean): boolean | Uint8Array {
    const kind = this.queue.headKind;
    const note = this.queue.headNote;
    if (this.copyIn === 'open' || this.copyIn === 'ending') this.copyIn = 'no';
    this.owner?.onError();
    if (kind === undefined) {
      // Nobody asked: the server says why it goes away (57P01 …). The client sees it, and so does the log.
      this.closeReason ??= readReport(chunk.subarray(from, next)).message;
      return this.owner !== null;
    }
    if (kind !== Kind.Query && kind !== Kind.FunctionCall && kind !== Kind.Sync) {
      this.skippingToSync = true;
      // Now, so that everything is as it was before the client hears of the error and prepares it anew.
      this.#dropToSync(note);
    }
    if (note !== null && (note.kind === 'claim' || note.kind === 'flush')) {
      this.#outcomeTold = note.kind === 'flush';
      const report = readReport(chunk.subarray(from, next));
      // Not ours: the transaction had failed already. Nothing was flushed and nothing is owed, and what the client has sent
      // is answered as in any such transaction.
      if (report.code === FAILED_TRANSACTION) {
        if (note.kind === 'flush') this.owner?.onFlushed(note, '[]');
        return false;
      }
      const shown = this.owner?.onRefreshError(note, report) ?? null;
      if (this.#discardAnswers || this.owner === null) return false;
      // The request that came in the same packet fails for this reason: its own answers would only repeat it.
      this.#discardAnswers = note.kind === 'claim' || note.trigger === 'commit' || note.trigger === 'read';
      return shown ?? false;
    }
    switch (note?.kind) {
      case 'duplicate':
      case 'prepare':
      case 'pooled':
        this.#statementFailed(note, readReport(chunk.subarray(from, next)));
        // An injected Parse that fails is the answer to the Bind it was injected for.
        if (this.owner === null || this.#discardAnswers) return false;
        // Under the client's name, not the pool's. A report of which only a part is here is too long to name a statement.
        return chunk.readUInt32BE(from - 4) === next - from + 4
          ? renamedReport(chunk.subarray(from - 5, next), note.statement.serverName, note.name)
          : true;
      case 'unnamed':
      case 'unnamed-again':
        return this.owner !== null && !this.#discardAnswers;
      case 'parameters':
        // The client's next answers would come from a session that is not set up as it asked.
        this.closeReason ??= 'invalid server parameter';
        this.owner?.onParametersRefused(readReport(chunk.subarray(from, next)));
        return false;
      default:
        return !swallowed;
    }
  }

  /** What the server says about a statement of the pool's corrects what the pool thinks. */
  #statementFailed(note: Note & { readonly statement: Statement }, report: ReceivedReport): void {
    const { statement } = note;
    switch (report.code) {
      case UNKNOWN_STATEMENT:
        // Deallocated behind our back, and perhaps more than this one: the session goes on here, and nobody after it.
        if (note.kind !== 'pooled' || !this.statements.has(statement)) return;
        this.statements.delete(statement);
        this.closeReason ??= 'a prepared statement has gone';
        return;
      case DUPLICATE_STATEMENT:
        // Somebody else's statement has our name: it must never be run for it.
        if (note.kind === 'prepare') this.closeReason ??= 'a prepared statement is not the one of the pool';
        return;
      case FEATURE_NOT_SUPPORTED:
        // The server keeps it: whoever has its old description shall be told as often as PostgreSQL would.
        if (report.fields.get('R') === 'RevalidateCachedQuery') this.owner?.onOutdated(statement);
        return;
      default:
    }
  }

  #notice(chunk: Buffer, from: number, next: number, swallowed: boolean): boolean {
    const ours = ourNotice(chunk, from, next);
    if (ours !== null) {
      if (this.owner === null) {
        this.closeReason = 'a change arrived from a server nobody uses';
        return false;
      }
      const { sqlState, message } = ours;
      const isTaken =
        sqlState === REPAIR_SQLSTATE ? this.owner.onRepairOwed(message) : this.owner.onChange(message);
      if (isTaken) return false;
    }
    return this.owner !== null && !swallowed;
  }

  #parameter(chunk: Buffer, from: number, next: number, swallowed: boolean): boolean {
    const nameEnd = chunk.indexOf(0, from);
    if (nameEnd < 0 || nameEnd >= next) return false;
    const name = chunk.toString('utf8', from, nameEnd);
    const value = chunk.toString('utf8', nameEnd + 1, next - 1);
    this.parameters.learn(name, value);
    // A change the client did not ask for (our sync) is not told; it knows its own value already. What a transaction that
    // a flush of ours has failed takes back is told, though its other answers are not.
    const isOurs = swallowed && !this.#discardAnswers;
    if (this.owner === null || isOurs) return false;
    this.owner.onParameters();
    return true;
  }

  #functionResult(chunk: Buffer, from: number, swallowed: boolean): boolean {
    const note = this.queue.headNote;
    if (note?.kind === 'flush') {
      const length = chunk.readInt32BE(from);
      this.#tellOutcome(note, length < 0 ? '[]' : chunk.toString('utf8', from + 4, from + 4 + length));
      this.#outcomeTold = true;
    }
    return !swallowed;
  }
}

/**
 * A notice of the database's to us. Its message byte for byte (as latin1: a change goes back to the same server in the
 * same client_encoding, whatever that is); null for any other notice.
 */
function ourNotice(
  chunk: Buffer,
  from: number,
  next: number,
): { readonly sqlState: string; readonly message: string } | null {
  let sqlState: string | null = null;
  let message = '';
  let at = from;
  while (at < next && chunk[at] !== 0) {
    const field = chunk[at];
    const end = chunk.indexOf(0, at + 1);
    if (end < 0 || end >= next) return null;
    if (field === 0x43) {
      // C, the SQLSTATE; it stands before M.
      sqlState = chunk.toString('latin1', at + 1, end);
      if (sqlState !== CHANGE_SQLSTATE && sqlState !== REPAIR_SQLSTATE) return null;
    } else if (field === 0x4d) {
      message = chunk.toString('latin1', at + 1, end);
    }
    at = end + 1;
  }
  return sqlState === null ? null : { sqlState, message };
}

/** Whether a notice of which this is the beginning may be a change: its SQLSTATE says so, or is not here yet. */
function mayBeChange(chunk: Buffer, from: number, end: number): boolean {
  for (let at = from; at < end && chunk[at] !== 0x4d; ) {
    const fieldEnd = chunk.indexOf(0, at + 1);
    if (fieldEnd < 0 || fieldEnd >= end) return end - from < 256;
    if (chunk[at] === 0x43) return chunk.toString('latin1', at + 1, fieldEnd) === CHANGE_SQLSTATE;
    at = fieldEnd + 1;
  }
  return end - from < 256;
}
