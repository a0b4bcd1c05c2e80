/** A cursor over the body of one message. Every length is checked against the body before anything is read. */
import { SqlState, TviewsError } from '../../../src/errors/errors.ts';

/** Bytes that are no message of the protocol. */
export class MalformedMessage extends TviewsError {
  override readonly name = 'MalformedMessage';
  constructor(message: string, detail?: string) {
    super(SqlState.protocolViolation, message, { detail });
  }
}

export class MessageReader {
  readonly #body: Buffer;
  #offset = 0;

  constructor(body: Buffer) {
    this.#body = body;
  }

  get remaining(): number {
    return this.#body.length - this.#offset;
  }

  uint8(): number {
    const at = this.#advance(1);
    return this.#body.readUInt8(at);
  }

  int16(): number {
    const at = this.#advance(2);
    return this.#body.readInt16BE(at);
  }

  int32(): number {
    const at = this.#advance(4);
    return this.#body.readInt32BE(at);
  }

  uint32(): number {
    const at = this.#advance(4);
    return this.#body.readUInt32BE(at);
  }

  /** A view of the next bytes: copy what must outlive the message. */
  bytes(length: number): Buffer {
    const at = this.#advance(length);
    return this.#body.subarray(at, at + length);
  }

  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  /** A string up to its zero byte. */
  cstring(): string {
    const end = this.#body.indexOf(0, this.#offset);
    if (end < 0)
      throw new MalformedMessage('invalid string in message', 'The terminating zero byte is missing.');
    const text = this.#body.toString('utf8', this.#offset, end);
    this.#offset = end + 1;
    return text;
  }

  /** Says that the message ends here, as PostgreSQL's pq_getmsgend does. */
  end(): void {
    if (this.remaining > 0) {
      throw new MalformedMessage(
        'invalid message format',
        `The message has ${this.remaining} bytes too many.`,
      );
    }
  }

  #advance(length: number): number {
    if (length < 0 || length > this.remaining)
      throw new MalformedMessage('insufficient data left in message');
    const at = this.#offset;
    this.#offset += length;
    return at;
  }
}
