/**
 * Cuts what a client sends into messages. A complete one is handed on where it stands in its chunk, a large one as soon as
 * what has to be looked at is here; the rest of that is counted through. What becomes of a message is the receiver's to say.
 */
import { Frontend } from '../wire/codes.ts';
import type { Outbox } from './outbox.ts';

/** A Query text up to this size is classified as a whole; a longer one is opaque. */
const QUERY_BUFFER_BYTES = 1_048_576;
/** Parse messages and the head of Bind are assembled up to this size. */
const PARSE_BUFFER_BYTES = 64 * 1_048_576;
/** PostgreSQL's limit for messages that hold no more than a name. */
const SMALL_MESSAGE_BYTES = 10_000;
const MAX_MESSAGE_BYTES = 0x3fffffff;

export type Verdict =
  /** It goes to the server, as it is or with what the receiver has put into the outbox for it. */
  | 'pass'
  /** It goes nowhere. */
  | 'drop'
  /** The receiver has taken over the chunk from here on, or has closed the session. */
  | 'stop';

export interface MessageReceiver {
  /** The message in `chunk[at, next)`, of which there is `chunk[at, end)` where `next > end`. */
  message(type: number, chunk: Buffer, at: number, next: number, end: number): Verdict;
  /** Bytes no client of the protocol sends: the session ends. */
  violation(message: string): void;
}

export class ClientFraming {
  readonly #receiver: MessageReceiver;
  /** Bytes of a message's rest that are still to come, and whether they are dropped. */
  #streamed = 0;
  #streamedDropped = false;
  /** How many bytes have to be here before the rest of the last chunk is worth another look. */
  needed = 5;

  constructor(receiver: MessageReceiver) {
    this.#receiver = receiver;
  }

  /** Part of a message has gone out and the rest is still to come. */
  get isInsideMessage(): boolean {
    return this.#streamed > 0 && !this.#streamedDropped;
  }

  /** The next `bytes` bytes are the rest of a message that is dropped. */
  dropNext(bytes: number): void {
    this.#streamed = bytes;
    this.#streamedDropped = true;
  }

  /**
   * Hot path: one look at each header.
   * @returns up to where the chunk was worked off; -1 when the receiver said stop
   */
  scan(chunk: Buffer, outbox: Outbox): number {
    const end = chunk.length;
    let at = 0;
    if (this.#streamed > 0) {
      at = Math.min(this.#streamed, end);
      this.#streamed -= at;
    }
    outbox.begin(this.#streamedDropped ? at : 0);
    this.needed = 5;
    while (end - at >= 5) {
      const type = chunk[at]!;
      const length = chunk.readUInt32BE(at + 1);
      if (
        length < 4 ||
        length > MAX_MESSAGE_BYTES ||
        (length > SMALL_MESSAGE_BYTES && isTooLong(type, length))
      ) {
        this.#receiver.violation(`invalid message length ${length}`);
        return -1;
      }
      const next = at + 1 + length;
      if (next > end && !canStart(type, length, chunk, at)) {
        if (end - at > PARSE_BUFFER_BYTES) {
          this.#receiver.violation(`invalid message: no end of a name in ${end - at} bytes`);
          return -1;
        }
        this.needed = neededOf(type, next - at, end - at);
        break;
      }
      const verdict = this.#receiver.message(type, chunk, at, next, end);
      if (verdict === 'stop') return -1;
      if (verdict === 'drop') outbox.cut(chunk, at, Math.min(next, end));
      if (next > end) {
        this.#streamed = next - end;
        this.#streamedDropped = verdict === 'drop';
        return end;
      }
      at = next;
    }
    return at;
  }
}

/** Longer than what is assembled of such a message. */
function isTooLong(type: number, length: number): boolean {
  switch (type) {
    case Frontend.CopyData:
    case Frontend.FunctionCall:
    case Frontend.Query:
      return false;
    case Frontend.Bind:
      return false;
    case Frontend.Parse:
      return length > PARSE_BUFFER_BYTES;
    default:
      return true;
  }
}

/** Whether an incomplete message can be worked on with what is here of it. */
function canStart(type: number, length: number, chunk: Buffer, at: number): boolean {
  switch (type) {
    case Frontend.CopyData:
    case Frontend.FunctionCall:
      return true;
    case Frontend.Query:
      return length > QUERY_BUFFER_BYTES;
    case Frontend.Bind: {
      const portalEnd = chunk.indexOf(0, at + 5);
      return portalEnd >= 0 && chunk.indexOf(0, portalEnd + 1) >= 0;
    }
    default:
      return false;
  }
}

/** How many bytes of an incomplete message have to be here before it is worth another look. */
function neededOf(type: number, whole: number, here: number): number {
  // The head of a Bind ends somewhere: look for it at each doubling.
  return type === Frontend.Bind ? Math.min(whole, Math.max(2 * here, 64)) : whole;
}
