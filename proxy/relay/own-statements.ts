/**
 * CREATE TVIEW and the like, which no server ever sees as they are: run in the client's place, with everything of its
 * session held meanwhile, and answered by us.
 */
import { encodeError, encodeResult, type OwnResult } from './answers.ts';
import { readOwnBatch } from './own-batch.ts';
import type { TviewDdl } from './ports.ts';
import type { ServerLink } from './server-link.ts';

/** The session, as far as a statement of ours takes it over. */
export interface OwnStatementHost {
  /** Everything the client has sent before is answered first; then the message at `at` comes again. */
  waitForReplies(chunk: Buffer, at: number): void;
  /** The rest of the batch has not arrived: the message at `at` comes again with it. */
  waitForRest(chunk: Buffer, at: number): void;
  /** What the client has sent before in the same batch, Sync or not, is ended as a transaction of its own. */
  endBatch(chunk: Buffer, at: number): void;
  /** `chunk[at, end)` is answered here; what is behind it waits for {@link done}. */
  takeOver(chunk: Buffer, at: number, end: number): void;
  rememberPrepared(name: string, text: string): void;
  /** The answers; ReadyForQuery goes behind them, and the session goes on. */
  done(answers: readonly Uint8Array[]): void;
  /** Runs it on the session's server. */
  run(text: string, alone: boolean): Promise<OwnResult>;
}

export class OwnStatements {
  readonly #ddl: TviewDdl;
  readonly #host: OwnStatementHost;

  constructor(ddl: TviewDdl, host: OwnStatementHost) {
    this.#ddl = ddl;
    this.#host = host;
  }

  recognises(text: string): boolean {
    return this.#ddl.recognises(text);
  }

  /** A Query message in `chunk[at, next)`. */
  query(link: ServerLink, text: string, chunk: Buffer, at: number, next: number): void {
    if (link.queue.size > 0) {
      this.#host.waitForReplies(chunk, at);
      return;
    }
    this.#host.takeOver(chunk, at, next);
    this.#host.run(text, true).then(
      (result) => this.#host.done(encodeResult(result, true)),
      (error: unknown) => this.#host.done([encodeError(error)]),
    );
  }

  /**
   * A batch with a statement of ours: all of it, up to Sync, is answered by us.
   * @param at of its Parse, or of its Bind when it was prepared in an earlier batch
   * @param name under which the Parse prepares it; null for a Bind
   */
  batch(link: ServerLink, text: string, name: string | null, chunk: Buffer, at: number): void {
    if (link.queue.size > 0) {
      this.#host.waitForReplies(chunk, at);
      return;
    }
    const batch = readOwnBatch(chunk, at, this.#ddl.rowColumn(text));
    if (batch === null) {
      this.#host.waitForRest(chunk, at);
      return;
    }
    this.#host.endBatch(chunk, at);
    if (name !== null) this.#host.rememberPrepared(name, text);
    this.#host.takeOver(chunk, at, batch.end);
    if (!batch.executes) {
      this.#host.done([batch.answers]);
      return;
    }
    this.#host.run(text, !batch.goesOn).then(
      (result) => this.#host.done([batch.answers, ...encodeResult(result, false)]),
      (error: unknown) => this.#host.done([batch.answers, encodeError(error)]),
    );
  }
}
