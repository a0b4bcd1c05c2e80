/**
 * A login told as a story: write, await the next whole message, write again. For the handshake only; sessions are
 * relayed without promises.
 */
import { MessageAssembler, type WholeMessage } from '../wire/messages/assembler.ts';
import { MalformedMessage } from '../wire/messages/reader.ts';
import type { WireSocket } from '../wire/socket.ts';

interface Waiter {
  resolve(message: WholeMessage): void;
  reject(error: Error): void;
}

export class Conversation {
  readonly #wire: WireSocket;
  readonly #input: MessageAssembler;
  readonly #closed: (error: Error | null) => Error;
  #waiter: Waiter | null = null;
  #failure: Error | null = null;

  /** @param closed what to tell when the peer has closed the connection */
  constructor(wire: WireSocket, limit: number, closed: (error: Error | null) => Error) {
    this.#wire = wire;
    this.#input = new MessageAssembler(limit);
    this.#closed = closed;
    wire.onBytes = (chunk) => {
      // While we compute a proof nobody takes messages, and a login has few of them.
      if (this.#input.buffered > 2 * limit) {
        this.fail(new MalformedMessage('server sends more than a login can hold'));
        return;
      }
      this.#input.push(chunk);
      this.#settle();
    };
    wire.onClose = (error) => {
      // Messages that came before are told first: the last one usually says why the connection was closed.
      this.#failure ??= this.#closed(error);
      this.#settle();
    };
  }

  send(bytes: Uint8Array): void {
    this.#wire.write(bytes);
  }

  next(): Promise<WholeMessage> {
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#settle();
    });
  }

  /** Ends the story here, whatever else has been said: whoever waits, or comes to wait, gets the error. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#input.rest();
    this.#settle();
  }

  /** What the peer said beyond the last message taken. The socket's receivers are the caller's from now on. */
  finish(): Buffer {
    return this.#input.rest();
  }

  #settle(): void {
    const waiter = this.#waiter;
    if (waiter === null) return;
    try {
      const message = this.#input.message();
      if (message !== null) {
        this.#waiter = null;
        waiter.resolve(message);
      } else if (this.#failure !== null) {
        this.#waiter = null;
        waiter.reject(this.#failure);
      }
    } catch (error) {
      // A length that cannot be: nothing behind it can be read.
      this.#waiter = null;
      waiter.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
