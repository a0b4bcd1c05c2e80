/** A client that speaks in messages: tests send exact bytes and see exactly what comes back. */
import { connect, type Socket } from 'node:net';
import { cancelRequest, startupMessage } from '../../proxy/wire/messages/startup.ts';
import { authenticateRaw, field, type RawMessage } from './raw-login.ts';

export { field, type RawMessage } from './raw-login.ts';

export class RawClient {
  readonly #socket: Socket;
  #buffer: Buffer = Buffer.alloc(0);
  readonly #messages: RawMessage[] = [];
  #wake: () => void = () => {};
  #ended = false;
  #url = '';
  /** Process id and secret, for cancel(). */
  #key: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      while (this.#buffer.length >= 5) {
        const next = 1 + this.#buffer.readUInt32BE(1);
        if (this.#buffer.length < next) break;
        this.#messages.push({
          type: String.fromCharCode(this.#buffer[0]!),
          body: Buffer.from(this.#buffer.subarray(5, next)),
        });
        this.#buffer = this.#buffer.subarray(next);
      }
      this.#wake();
    });
    socket.on('error', () => {}); // 'close' follows, and the test sees the end
    socket.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** Connects and logs in (trust, cleartext or SCRAM); the welcome's messages are dropped. */
  static async connect(url: string): Promise<RawClient> {
    const { hostname, port, username, password, pathname } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const client = new RawClient(socket);
    const user = decodeURIComponent(username);
    client.send(
      startupMessage(
        new Map([
          ['user', user],
          ['database', pathname.slice(1)],
        ]),
      ),
    );
    await authenticateRaw(client, decodeURIComponent(password));
    client.#url = url;
    client.#key = (await client.untilReady()).find(({ type }) => type === 'K')?.body ?? client.#key;
    return client;
  }

  send(...messages: readonly Uint8Array[]): void {
    this.#socket.write(Buffer.concat(messages));
  }

  /** Each piece in a write of its own, with a turn of the event loop between them. */
  async sendSlowly(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) {
      this.#socket.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** The next message; null when the connection has ended. */
  async next(timeoutMs = 10_000): Promise<RawMessage | null> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      if (this.#ended) return null;
      const left = deadline - Date.now();
      if (left <= 0) throw new Error('no message came');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** All messages up to and including the `count`th ReadyForQuery. */
  async untilReady(count = 1): Promise<RawMessage[]> {
    const messages: RawMessage[] = [];
    for (let ready = 0; ready < count; ) {
      const message = await this.next();
      if (message === null) throw new Error(`connection ended after ${describe(messages).join(' ')}`);
      messages.push(message);
      if (message.type === 'Z') ready += 1;
    }
    return messages;
  }

  /** All messages until the connection has ended. */
  async untilEnd(): Promise<RawMessage[]> {
    const messages: RawMessage[] = [];
    for (;;) {
      const message = await this.next();
      if (message === null) return messages;
      messages.push(message);
    }
  }

  /** CancelRequest for what this client runs now; resolves when the other side has closed that connection. */
  async cancel(): Promise<void> {
    const { hostname, port } = new URL(this.#url);
    const socket = connect({ host: hostname, port: Number(port) });
    socket.on('error', () => {}); // a reset is an end, too: 'close' follows
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.write(cancelRequest(this.#key.readInt32BE(0), this.#key.subarray(4)));
    await closed;
  }

  /** No more is sent; what comes is still read. */
  halfClose(): void {
    this.#socket.end();
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** The conversation for comparing: types, with what matters of the body; process ids and lines of C code left out. */
export function describe(messages: readonly RawMessage[]): string[] {
  return messages.map(({ type, body }) => {
    switch (type) {
      case 'Z':
        return `Z(${String.fromCharCode(body[0]!)})`;
      case 'C':
        return `C(${body.toString('utf8', 0, body.length - 1)})`;
      case 'E':
      case 'N':
        return `${type}(${field(body, 'C')} ${field(body, 'M')})`;
      case 'D':
      case 'd':
        return `${type}(${body.toString('hex')})`;
      default:
        return type;
    }
  });
}
