/**
 * A client's unnamed statement, and whether the server's unnamed statement is it. Some clients prepare it in one batch and
 * bind it in the next, perhaps on another server: there it is prepared again, from the client's own message.
 */
import { StatementClass } from '../statements/classify.ts';
import { closeMessage } from '../statements/store.ts';
import type { Prepared } from './client-statements.ts';
import type { Note } from './requests.ts';

/** Whatever a name stands for that this client never prepared: SQL's PREPARE has made it, or another client. */
export const UNKNOWN: Prepared = { class: StatementClass.Opaque, text: null };
/** A Parse message is kept for another server up to this size. */
const KEPT_BYTES = 4_096;

const CLOSE_UNNAMED = closeMessage(Buffer.from([0]));
/** Nothing is outstanding when it is sent: it may fail, but cannot be ignored. */
const FIRST: Note = { kind: 'unnamed', before: null };
const AGAIN: Note = { kind: 'unnamed-again' };

/** Everything there is to know, for a request that the server may ignore. */
export interface UnnamedState {
  readonly prepared: Prepared;
  readonly isHere: boolean;
  readonly chunk: Buffer | null;
  readonly from: number;
  readonly isBound: boolean;
}

export class UnnamedStatement {
  #prepared: Prepared = UNKNOWN;
  /** The server's is this client's; where the client has none, neither has the server. */
  #isHere = false;
  /** Holds the Parse message at `#from`, for another server; null where there is none, or it was not kept. */
  #chunk: Buffer | null = null;
  #from = 0;
  #isBound = false;

  get prepared(): Prepared {
    return this.#prepared;
  }

  get isHere(): boolean {
    return this.#isHere;
  }

  /** Its Parse goes to the server. @param isFirst nothing is outstanding there */
  parse(prepared: Prepared, chunk: Buffer, from: number, isFirst: boolean): Note {
    const note = this.#note(isFirst);
    this.#become(prepared, true, chunk, from, false);
    return note;
  }

  /** The client's own Close of it, or a simple Query, goes to the server: then neither has one. */
  forget(isFirst: boolean): Note {
    const note = this.#note(isFirst);
    this.#become(UNKNOWN, true, null, 0, false);
    return note;
  }

  /** A simple Query that no server sees. */
  forgetHere(): void {
    this.#become(UNKNOWN, false, null, 0, false);
  }

  /** A statement of ours, which no server ever sees. */
  rememberOwn(prepared: Prepared): void {
    this.#become(prepared, false, null, 0, false);
  }

  bound(): void {
    this.#isBound = true;
  }

  /** Something of ours, or of another client's, takes its place on the server. */
  displace(): void {
    this.#isHere = false;
  }

  /** A long one that was bound is not kept, for hardly any is bound twice. */
  leaveServer(): void {
    if (!this.#isHere) return;
    this.#isHere = false;
    if (this.#chunk === null || this.#chunk.length <= KEPT_BYTES) return;
    const message = parseAt(this.#chunk, this.#from);
    const keeps = !this.#isBound || message.length <= KEPT_BYTES;
    // A copy: it may be kept for long, and must not keep the whole large chunk it came in.
    this.#chunk = keeps ? Buffer.from(message) : null;
    this.#from = 0;
  }

  /** What makes the server's this client's: its Parse, or a Close, and then the server itself says that there is none. */
  get again(): { readonly message: Buffer; readonly isParse: boolean; readonly note: Note } {
    const isParse = this.#chunk !== null;
    const message = this.#chunk === null ? CLOSE_UNNAMED : parseAt(this.#chunk, this.#from);
    this.#isHere = true;
    return { message, isParse, note: AGAIN };
  }

  /** PostgreSQL drops the old one before it looks at the new one's text. */
  parseFailed(): void {
    this.#become(UNKNOWN, true, null, 0, false);
  }

  /** The request with this state in its note was ignored. */
  restore(before: UnnamedState): void {
    this.#become(before.prepared, before.isHere, before.chunk, before.from, before.isBound);
  }

  #note(isFirst: boolean): Note {
    if (isFirst) return FIRST;
    const before = {
      prepared: this.#prepared,
      isHere: this.#isHere,
      chunk: this.#chunk,
      from: this.#from,
      isBound: this.#isBound,
    };
    return { kind: 'unnamed', before };
  }

  #become(prepared: Prepared, isHere: boolean, chunk: Buffer | null, from: number, isBound: boolean): void {
    this.#prepared = prepared;
    this.#isHere = isHere;
    this.#chunk = chunk;
    this.#from = from;
    this.#isBound = isBound;
  }
}

function parseAt(chunk: Buffer, at: number): Buffer {
  return chunk.subarray(at, at + 1 + chunk.readUInt32BE(at + 1));
}
