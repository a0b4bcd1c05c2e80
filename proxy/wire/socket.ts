/**
 * A TCP or Unix socket as the proxy uses it: bytes go to one replaceable receiver (handshake first, relay after),
 * writes are gathered, and nothing here knows a message. Reads from a server reuse one static buffer.
 */
import { connect, type Socket } from 'node:net';

/** Read buffer of a server connection; one read fills at most this much. */
const READ_BUFFER_BYTES = 65_536;

export type SocketAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

function ignoreBytes(): void {}
function ignoreEvent(): void {}

export class WireSocket {
  readonly socket: Socket;
  /** Must consume or copy what it needs before it returns, or call {@link retain}: the chunk's memory is reused. */
  onBytes: (chunk: Buffer) => void = ignoreBytes;
  /** Once, when the connection has ended; the error if it ended by one. */
  onClose: (error: Error | null) => void = ignoreEvent;
  /** The kernel took everything that was written. */
  onDrain: () => void = ignoreEvent;
  #closed = false;
  #error: Error | null = null;
  #retained = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      this.#closed = true;
      this.onClose(this.#error);
    });
    socket.on('drain', () => this.onDrain());
  }

  /** Takes over a socket that a listening server accepted. */
  static accept(socket: Socket): WireSocket {
    const wire = new WireSocket(socket);
    if (socket.remoteAddress !== undefined) socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => wire.onBytes(chunk));
    socket.on('end', () => socket.destroy());
    return wire;
  }

  /**
   * Connects; `onConnect` of the returned promise is the moment bytes may be written.
   * @throws the system's connection error, or one with code ETIMEDOUT after `timeoutMs`.
   */
  static connect(address: SocketAddress, timeoutMs: number): Promise<WireSocket> {
    return new Promise((resolve, reject) => {
      let wire: WireSocket | null = null;
      let buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
      const socket = connect({
        ...(address.kind === 'tcp' ? { host: address.host, port: address.port } : { path: address.path }),
        onread: {
          buffer: () => {
            if (wire?.takeRetained()) buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
            return buffer;
          },
          callback: (length: number, filled: Uint8Array) => {
            wire?.onBytes((filled as Buffer).subarray(0, length));
            return true;
          },
        },
      });
      const timer = setTimeout(() => {
        socket.destroy(Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' }));
      }, timeoutMs);
      const failed = (error: Error) => {
        clearTimeout(timer);
        reject(error);
      };
      socket.once('error', failed);
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.off('error', failed);
        if (address.kind === 'tcp') {
          socket.setNoDelay(true);
          socket.setKeepAlive(true);
        }
        wire = new WireSocket(socket);
        resolve(wire);
      });
      socket.on('end', () => socket.destroy());
    });
  }

  get closed(): boolean {
    return this.#closed || this.socket.destroyed;
  }

  /** Bytes written that the kernel has not taken yet. */
  get pendingBytes(): number {
    return this.socket.writableLength;
  }

  /** The chunk just received is still referenced (a write of it is pending): read into new memory from now on. */
  retain(): void {
    this.#retained = true;
  }

  /** @internal for the read callback */
  takeRetained(): boolean {
    const retained = this.#retained;
    this.#retained = false;
    return retained;
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  cork(): void {
    this.socket.cork();
  }

  uncork(): void {
    this.socket.uncork();
  }

  /** Stops reading: backpressure towards the peer. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Writes what is pending, then closes. */
  end(bytes?: Uint8Array): void {
    if (bytes === undefined) this.socket.end();
    else this.socket.end(bytes);
  }

  destroy(): void {
    this.socket.destroy();
  }
}
