/**
 * CREATE TVIEW and the like, which no server ever sees as they are: run in the client's place, with everything of its
 * session held meanwhile, and answered by us. Nothing of a batch is kept: each message is answered when it comes.
 *
 * ```
 *             Bind               Execute                Sync
 *   unbound ────────▶ bound ───────────────▶ executed ────────▶ running, the session held
 *    ▲  ▲               │ Sync, Close,                                 │ done
 *    │  └───────────────┘ another Bind                                 │
 *    └─────────────────────────────────────────────────────────────────┘
 * ```
 * It runs at Sync, for it has to be the last of its batch: what comes between Execute and Sync is dropped, and a statement
 * among that makes it fail.
 */
import { Frontend } from '../wire/codes.ts';
import {
  bindComplete,
  encodeError,
  encodeResult,
  noData,
  noParameters,
  type OwnResult,
  parseComplete,
  rowDescription,
} from './answers.ts';
import type { TviewDdl } from './ports.ts';
import type { ServerLink } from './server-link.ts';

/** The session, as far as a statement of ours takes it over. */
export interface OwnStatementHost {
  /** Everything the client has sent before is answered first; then the message at `at` comes again. */
  waitForReplies(chunk: Buffer, at: number): void;
  /** To the client, behind everything that was sent to it. */
  answer(bytes: Uint8Array): void;
  /** What the client has sent before in the same batch is ended as a transaction of its own. */
  endBatch(chunk: Buffer, at: number): void;
  /** `chunk[at, end)` is answered here; what is behind it waits for {@link done}. */
  takeOver(chunk: Buffer, at: number, end: number): void;
  rememberPrepared(name: string, text: string): void;
  /** The answers; ReadyForQuery goes behind them, and the session goes on. */
  done(answers: readonly Uint8Array[]): void;
  /** Runs it on the session's server. */
  run(text: string, alone: boolean): Promise<OwnResult>;
}

type State =
  | { readonly kind: 'unbound' }
  /** The portal (as latin1) of ours that was bound last: one is enough, for no more than one of a batch can run. */
  | { readonly kind: 'bound'; readonly portal: string; readonly text: string }
  | { readonly kind: 'executed'; readonly text: string; readonly alone: boolean };

const UNBOUND: State = { kind: 'unbound' };

/** What became of a message: answered and not to be sent, or the session waits and the rest of the chunk is held. */
type Outcome = 'drop' | false;

export class OwnStatements {
  readonly #ddl: TviewDdl;
  readonly #host: OwnStatementHost;
  #state: State = UNBOUND;

  constructor(ddl: TviewDdl, host: OwnStatementHost) {
    this.#ddl = ddl;
    this.#host = host;
  }

  recognises(text: string): boolean {
    return this.#ddl.recognises(text);
  }

  /** Waits for Sync; everything before it belongs to {@link behind}. */
  get isExecuted(): boolean {
    return this.#state.kind === 'executed';
  }

  /** A Query message in `chunk[at, next)`. */
  query(link: ServerLink, text: string, chunk: Buffer, at: number, next: number): void {
    if (!this.#isInTurn(link, chunk, at)) return;
    this.#host.takeOver(chunk, at, next);
    this.#run(text, true, true);
  }

  parse(link: ServerLink, text: string, name: string, chunk: Buffer, at: number): Outcome {
    if (!this.#isInTurn(link, chunk, at)) return false;
    this.#host.rememberPrepared(name, text);
    this.#host.answer(parseComplete);
    return 'drop';
  }

  /** @param portalEnd of the portal's name, which begins at `at + 5` */
  bind(link: ServerLink, text: string, chunk: Buffer, at: number, portalEnd: number): Outcome {
    if (!this.#isInTurn(link, chunk, at)) return false;
    this.#state = { kind: 'bound', portal: chunk.toString('latin1', at + 5, portalEnd), text };
    this.#host.answer(bindComplete);
    return 'drop';
  }

  describe(link: ServerLink, text: string, isStatement: boolean, chunk: Buffer, at: number): Outcome {
    if (!this.#isInTurn(link, chunk, at)) return false;
    if (isStatement) this.#host.answer(noParameters);
    const column = this.#ddl.rowColumn(text);
    this.#host.answer(column === null ? noData : rowDescription(column));
    return 'drop';
  }

  execute(link: ServerLink, text: string, chunk: Buffer, at: number): Outcome {
    if (!this.#isInTurn(link, chunk, at)) return false;
    this.#state = { kind: 'executed', text, alone: true };
    return 'drop';
  }

  /** A message between Execute and Sync. */
  behind(type: number): void {
    if (type === Frontend.Describe || type === Frontend.Close || type === Frontend.Flush) return;
    if (this.#state.kind === 'executed') this.#state = { ...this.#state, alone: false };
  }

  /** The Sync in `chunk[at, next)`. @returns whether it is answered here */
  sync(chunk: Buffer, at: number, next: number): boolean {
    const state = this.#state;
    this.#state = UNBOUND;
    if (state.kind !== 'executed') return false;
    this.#host.endBatch(chunk, at);
    this.#host.takeOver(chunk, at, next);
    this.#run(state.text, state.alone, false);
    return true;
  }

  /** The text of ours in the portal whose name begins at `from`; null when it is none of ours. */
  boundTo(chunk: Buffer, from: number): string | null {
    if (this.#state.kind !== 'bound' || this.#state.portal !== portalAt(chunk, from)) return null;
    return this.#state.text;
  }

  /** The portal is closed, or another statement's now. */
  unbind(chunk: Buffer, from: number): void {
    if (this.boundTo(chunk, from) !== null) this.#state = UNBOUND;
  }

  #isInTurn(link: ServerLink, chunk: Buffer, at: number): boolean {
    if (link.queue.size === 0) return true;
    this.#host.waitForReplies(chunk, at);
    return false;
  }

  #run(text: string, alone: boolean, described: boolean): void {
    this.#host.run(text, alone).then(
      (result) => this.#host.done(encodeResult(result, described)),
      (error: unknown) => this.#host.done([encodeError(error)]),
    );
  }
}

function portalAt(chunk: Buffer, from: number): string {
  return chunk.toString('latin1', from, chunk.indexOf(0, from));
}
