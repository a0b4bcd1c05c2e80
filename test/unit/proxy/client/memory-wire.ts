/** A client's socket in memory: what the client says is handed to the receiver, what it is told is collected. */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { WireSocket } from '../../../../proxy/wire/socket.ts';

export class MemoryClient {
  readonly wire: WireSocket;
  readonly #stream: Duplex;
  #told = Buffer.alloc(0);
  /** The proxy has said its last word. */
  ended = false;

  constructor() {
    const stream = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        this.#told = Buffer.concat([this.#told, chunk]);
        done();
      },
      final: (done) => {
        this.ended = true;
        done();
      },
    });
    this.#stream = stream;
    // A stream has everything of a socket that WireSocket uses while it has no address.
    this.wire = WireSocket.accept(stream as unknown as Socket);
  }

  say(...bytes: Uint8Array[]): void {
    for (const chunk of bytes) this.wire.onBytes(Buffer.from(chunk));
  }

  /** Everything told since the last call. */
  heard(): Buffer {
    const told = this.#told;
    this.#told = Buffer.alloc(0);
    return told;
  }

  /** Whole messages told since the last call; bytes without a type (the refusal of encryption) are not for here. */
  messages(): { code: string; body: Buffer }[] {
    const bytes = this.heard();
    const messages: { code: string; body: Buffer }[] = [];
    for (let offset = 0; offset < bytes.length; ) {
      const length = bytes.readInt32BE(offset + 1);
      messages.push({
        code: String.fromCharCode(bytes[offset]!),
        body: bytes.subarray(offset + 5, offset + 1 + length),
      });
      offset += 1 + length;
    }
    return messages;
  }

  async vanish(): Promise<void> {
    const closed = new Promise((resolve) => this.#stream.once('close', resolve));
    this.#stream.destroy();
    await closed;
  }
}
