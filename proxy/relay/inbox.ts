/**
 * Received bytes that cannot be worked on yet: the beginning of a message whose rest is on its way, or whatever a held
 * session goes on receiving. They are joined once, when they are enough: joining at each arrival would cost the square
 * of a large message's length.
 */
export class Inbox {
  readonly #copies: boolean;
  #parts: Buffer[] = [];
  #bytes = 0;
  #needed = 0;

  /** @param copies received chunks stand in memory that is read into again */
  constructor(copies: boolean) {
    this.#copies = copies;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Hot path: what is to be worked on now, which is the chunk itself when nothing was kept; null: not enough yet. */
  take(received: Buffer): Buffer | null {
    if (this.#bytes === 0) return received;
    if (this.#bytes + received.length >= this.#needed) {
      this.#parts.push(received);
      return this.takeAll();
    }
    this.add(received);
    return null;
  }

  /** Nothing is taken before there are `needed` bytes, `rest` included. */
  keep(rest: Buffer, needed: number): void {
    // A copy: a few bytes must not keep the whole chunk they came in.
    this.#parts = [Buffer.from(rest)];
    this.#bytes = rest.length;
    this.#needed = needed;
  }

  add(received: Buffer): void {
    this.#parts.push(this.#copies ? Buffer.from(received) : received);
    this.#bytes += received.length;
  }

  takeAll(): Buffer {
    const parts = this.#parts;
    this.#parts = [];
    this.#bytes = 0;
    this.#needed = 0;
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }
}
