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

/** Writes up to this size are copied and gathered; larger ones go out as they are. */
const SMALL_WRITE_BYTES = 4_096;
const GATHER_BYTES = 16_384;
/** Gather buffers kept for the next turn. */
const FREE_GATHERS = 64;

/** So many turns are looked at before the writes that follow are gathered or not. */
const TURNS_OBSERVED = 32;
/** Where a turn hardly ever writes to more than one socket, gathering is only delay: so many writes go out at once. */
const EAGER_WRITES = 1_024;

const freeGathers: Buffer[] = [];
let dirtySockets: WireSocket[] = [];
let turns = 0;
let socketsInTurns = 0;
let eagerWrites = 0;

function flushDirtySockets(): void {
  const sockets = dirtySockets;
  dirtySockets = [];
  for (const socket of sockets) socket.endTurn();
  turns += 1;
  socketsInTurns += sockets.length;
  if (turns < TURNS_OBSERVED) return;
  if (socketsInTurns < TURNS_OBSERVED * 1.25) eagerWrites = EAGER_WRITES;
  turns = 0;
  socketsInTurns = 0;
}

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
  /** Whether small writes may wait for the end of the turn: yes once the relay has taken over. */
  gathers = false;
  /** Small writes of this turn; null while there are none. */
  #gather: Buffer | null = null;
  #gathered = 0;

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

  /**
   * Hot path. Under load small writes are gathered and go out at the end of the event loop's turn: one system call for all
   * that a turn has for a socket, and the peers are woken when we have nothing left to do, not while we compete with them
   * for the processor. With one busy client there is nothing to gather, and writes go out at once.
   */
  write(bytes: Uint8Array): void {
    const length = bytes.length;
    if (this.#gather === null && (!this.gathers || eagerWrites > 0)) {
      if (this.gathers) eagerWrites -= 1;
      this.socket.write(bytes);
      return;
    }
    if (this.#gathered + length > GATHER_BYTES || length > SMALL_WRITE_BYTES) {
      this.flush();
      if (length > SMALL_WRITE_BYTES) {
        this.socket.write(bytes);
        return;
      }
    }
    if (this.#gather === null) {
      this.#gather = freeGathers.pop() ?? Buffer.allocUnsafeSlow(GATHER_BYTES);
      if (dirtySockets.push(this) === 1) setImmediate(flushDirtySockets);
    }
    this.#gather.set(bytes, this.#gathered);
    this.#gathered += length;
  }

  /** Sends what has been gathered. */
  flush(): void {
    const gather = this.#gather;
    if (gather === null || this.#gathered === 0) return;
    const bytes = gather.subarray(0, this.#gathered);
    this.#gathered = 0;
    this.socket.write(bytes);
    // What the kernel has not taken belongs to the write still under way.
    if (this.socket.writableLength > 0) this.#gather = Buffer.allocUnsafeSlow(GATHER_BYTES);
  }

  /** @internal at the end of the turn */
  endTurn(): void {
    this.flush();
    if (this.#gather !== null && freeGathers.length < FREE_GATHERS) freeGathers.push(this.#gather);
    this.#gather = null;
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
    this.flush();
    if (bytes === undefined) this.socket.end();
    else this.socket.end(bytes);
  }

  destroy(): void {
    this.socket.destroy();
  }
}
