/**
 * What goes to the server for one chunk of the client's: the chunk as it came where nothing has to change, otherwise
 * slices of it with our own messages between them, in one write.
 */
import type { ServerLink } from './server-link.ts';

export class Outbox {
  /** Pieces that stand before `#run`; empty while the chunk goes out as it is. */
  #pieces: Uint8Array[] = [];
  /** Start of the chunk's bytes that are neither sent nor among the pieces. */
  #run = 0;

  /** A new chunk, of which the first `from` bytes are dropped. */
  begin(from: number): void {
    this.#run = from;
  }

  /** A message of ours; what stands before `at` goes ahead of it. */
  insert(bytes: Uint8Array, chunk: Buffer, at: number): void {
    this.#flushTo(chunk, at);
    this.#pieces.push(bytes);
  }

  /** A message of ours behind whatever has been put in so far. */
  push(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
  }

  /** Leaves `chunk[from, to)` out. */
  cut(chunk: Buffer, from: number, to: number): void {
    this.#flushTo(chunk, from);
    this.#run = to;
  }

  #flushTo(chunk: Buffer, at: number): void {
    if (at > this.#run) this.#pieces.push(chunk.subarray(this.#run, at));
    this.#run = at;
  }

  /** Hot path: one write, and without a copy when nothing was put in or left out. */
  send(link: ServerLink, chunk: Buffer, to: number): void {
    const pieces = this.#pieces;
    if (pieces.length === 0) {
      if (to > this.#run)
        link.wire.write(this.#run === 0 && to === chunk.length ? chunk : chunk.subarray(this.#run, to));
    } else {
      this.#flushTo(chunk, to);
      link.wire.write(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
      this.#pieces = [];
    }
    this.#run = to;
  }
}
