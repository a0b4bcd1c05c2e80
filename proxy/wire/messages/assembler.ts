/**
 * Whole messages out of chunks, for startup, authentication and the handshake with a server, where messages are
 * small and all of them are read. The relay does not assemble: it has the framer.
 */
import { MalformedMessage } from './reader.ts';

const EMPTY = Buffer.alloc(0);

export interface WholeMessage {
  readonly code: number;
  /** What follows the length. The caller's own copy. */
  readonly body: Buffer;
}

export class MessageAssembler {
  readonly #limit: number;
  #buffer: Buffer = EMPTY;
  #start = 0;
  #end = 0;

  /** @param limit the largest message taken, its length word included. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes received and not yet taken. */
  get buffered(): number {
    return this.#end - this.#start;
  }

  /** Copies the chunk, so that its memory may be used again. */
  push(chunk: Buffer): void {
    const needed = this.buffered + chunk.length;
    if (this.#end + chunk.length > this.#buffer.length) {
      // Doubling keeps a peer that sends byte by byte from making us copy everything each time.
      const target =
        needed > this.#buffer.length ? Buffer.allocUnsafe(Math.max(256, 2 * needed)) : this.#buffer;
      this.#buffer.copy(target, 0, this.#start, this.#end);
      this.#end = this.buffered;
      this.#start = 0;
      this.#buffer = target;
    }
    chunk.copy(this.#buffer, this.#end);
    this.#end += chunk.length;
  }

  /** The body of the next startup packet (which has a length but no type byte), or null until all of it is there. */
  startupPacket(): Buffer | null {
    if (this.buffered < 4) return null;
    const length = this.#buffer.readInt32BE(this.#start);
    // A startup packet holds at least a protocol version or a request code.
    if (length < 8 || length > this.#limit) throw new MalformedMessage('invalid length of startup packet');
    if (this.buffered < length) return null;
    return this.#take(4, length);
  }

  /** The next message, or null until all of it is there. */
  message(): WholeMessage | null {
    if (this.buffered < 5) return null;
    const code = this.#buffer.readUInt8(this.#start);
    const length = this.#buffer.readInt32BE(this.#start + 1);
    if (length < 4 || length > this.#limit) {
      throw new MalformedMessage(
        'invalid message length',
        `A message of type 0x${code.toString(16)} claims ${length} bytes.`,
      );
    }
    if (this.buffered < 1 + length) return null;
    return { code, body: this.#take(5, 1 + length) };
  }

  /** Everything not taken yet; the assembler is empty afterwards. */
  rest(): Buffer {
    return this.#take(0, this.buffered);
  }

  #take(from: number, to: number): Buffer {
    const taken = Buffer.from(this.#buffer.subarray(this.#start + from, this.#start + to));
    this.#start += to;
    if (this.#start === this.#end) {
      this.#start = 0;
      this.#end = 0;
    }
    return taken;
  }
}
