/**
 * The flushes that have to work before the client's next message may count: before COMMIT, in its packet, or ahead of
 * something opaque. Until the outcome is known this says what may follow, and after a failure what is not sent any more.
 */
import type { ExtendedBatch } from './extended-batch.ts';
import type { Note } from './requests.ts';

/** The message a settlement goes in front of. */
export type SettledBy = 'query' | 'bind' | 'execute';

export class Settlements {
  readonly #batch: ExtendedBatch;
  #outstanding = 0;
  /** The client's messages up to Sync are not sent: the server would have skipped them, had the error been its own. */
  discardsToSync = false;
  /** The held Query is dropped, and answered by us, unless its settlement works. */
  #dropsHeldQuery = false;

  constructor(batch: ExtendedBatch) {
    this.#batch = batch;
  }

  /** Every outcome is known. */
  get areKnown(): boolean {
    return this.#outstanding === 0;
  }

  /** Sent in the packet of a COMMIT or PREPARE TRANSACTION. */
  sentWith(by: SettledBy): void {
    this.#outstanding += 1;
    if (by !== 'query') this.#batch.settlement = by === 'bind' ? 'execute' : 'sync';
  }

  /** Sent by itself; the message it is for is held until the outcome is known. */
  sentAhead(by: SettledBy): void {
    this.#outstanding += 1;
    this.#dropsHeldQuery = by === 'query';
  }

  outcome(note: Note, worked: boolean): void {
    if (!isSettlement(note)) return;
    this.#outstanding -= 1;
    if (note.trigger === 'commit' && this.#batch.settlement !== 'none') {
      // The server goes on after a failed FunctionCall; the client expects everything up to Sync to be skipped.
      if (!worked && this.#batch.settlement !== 'nothing') this.discardsToSync = true;
      this.#batch.settlement = 'none';
    }
    if (note.trigger === 'opaque') {
      if (worked) this.#dropsHeldQuery = false;
      else if (!this.#dropsHeldQuery) this.discardsToSync = true;
    }
  }

  /**
   * The server ignored it, with everything up to Sync. A flush among that leaves nothing unsaid: the transaction has
   * failed, its changes count as flushed, and a ROLLBACK TO that brings it back makes them pending again.
   */
  dropped(note: Note): void {
    if (!isSettlement(note)) return;
    this.#outstanding -= 1;
    this.#batch.settlement = 'none';
    this.#dropsHeldQuery = false;
  }

  /** Whether the held message is a Query whose settlement has failed; asked once. */
  takeDropsHeldQuery(): boolean {
    const drops = this.#dropsHeldQuery;
    this.#dropsHeldQuery = false;
    return drops;
  }
}

function isSettlement(
  note: Note,
): note is Note & { readonly kind: 'flush'; readonly trigger: 'commit' | 'opaque' } {
  return note.kind === 'flush' && (note.trigger === 'commit' || note.trigger === 'opaque');
}
