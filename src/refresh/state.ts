/**
 * Refresh state of one session: what it still owes in the current transaction. Pure: it knows no socket and no SQL.
 *
 * ```
 *   none ──claim──▶ held ──release──▶ given back (later writes go to the queue)
 *    ▲               │  ▲                  │
 *    │               ▼  │ claim            │ ROLLBACK TO: the claim may have been taken, or given back, behind the
 *    │            perhaps ◀────────────────┘ savepoint; everything flushed is pending again
 *    └─────────────── end of the transaction, whatever the end; DISCARD ALL
 * ```
 */
import { type Change, everythingOf, QUEUED } from './change.ts';

/** Whether the database sends this transaction's changes here. */
type Claim = 'none' | 'held' | 'perhaps' | 'given back';

/** Changes by their text, so that none is there twice. */
type Changes = Map<string, Change>;

export class RefreshState {
  readonly #maximumBytes: number;
  #claim: Claim = 'none';
  /** Changes not yet flushed. */
  #pending: Changes = new Map();
  #pendingBytes = 0;
  /** Changes flushed in this transaction: a rolled-back savepoint makes them pending again. */
  #flushed: Changes = new Map();
  #flushedBytes = 0;
  /** A statement has run that was not claimed: what it changed, if anything, is in the queue of this transaction. */
  #unseen = false;

  /** @param maximumBytes beyond it, the changes of a source are remembered as "every row" */
  constructor(maximumBytes: number) {
    this.#maximumBytes = maximumBytes;
  }

  /** The claim is certainly held: none needs to be taken before a write. */
  get claimed(): boolean {
    return this.#claim === 'held';
  }

  /** The claim may be held: it has to be given back before the transaction ends. */
  get mayBeClaimed(): boolean {
    return this.#claim === 'held' || this.#claim === 'perhaps';
  }

  get hasPending(): boolean {
    return this.#pending.size > 0;
  }

  /** Something was flushed that a ROLLBACK TO would make pending again. */
  get hasFlushed(): boolean {
    return this.#flushed.size > 0;
  }

  /** A read of a tview would miss something, or may. */
  get mayOwe(): boolean {
    return this.#unseen || this.#pending.size > 0;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Nothing owed and nothing remembered: the only state in which a server may change hands. */
  get isEmpty(): boolean {
    return this.#claim === 'none' && !this.#unseen && this.#pending.size === 0 && this.#flushed.size === 0;
  }

  claim(): void {
    this.#claim = 'held';
  }

  /** An unclaimed statement is sent that may write a source. */
  ranUnclaimed(): void {
    this.#unseen = true;
  }

  /**
   * A change arrived.
   * @throws when there are more sources in it than could be remembered: no database of ours sends that
   */
  add(change: Change): void {
    if (this.#pending.has(change.text)) return;
    this.#pending.set(change.text, change);
    this.#pendingBytes += change.text.length;
    if (this.#pendingBytes <= this.#maximumBytes) return;
    this.#pending = widened(this.#pending);
    this.#pendingBytes = bytesOf(this.#pending);
    if (this.#pendingBytes > this.#maximumBytes) throw new Error('too many changes in one transaction');
  }

  /** The argument of `tviews.flush`: all pending changes as one JSON array. They count as flushed from here on. */
  takePending(): string {
    if (this.#unseen) this.add(QUEUED);
    this.#unseen = false;
    const changes = `[${[...this.#pending.keys()].join(',')}]`;
    for (const [text, change] of this.#pending) this.#flushed.set(text, change);
    this.#flushedBytes += this.#pendingBytes;
    if (this.#flushedBytes > this.#maximumBytes) {
      this.#flushed = widened(this.#flushed);
      this.#flushedBytes = bytesOf(this.#flushed);
    }
    this.#pending.clear();
    this.#pendingBytes = 0;
    return changes;
  }

  /** The claim was given back, in the flush before COMMIT. */
  release(): void {
    if (this.#claim !== 'none') this.#claim = 'given back';
  }

  /**
   * ROLLBACK TO SAVEPOINT may have undone a flush, the claim, or its release. A flush recomputes, so changes too many only
   * cost work; changes too few would be a stale row.
   */
  rollbackTo(): void {
    const flushed = this.#flushed;
    this.#flushed = new Map();
    this.#flushedBytes = 0;
    for (const change of flushed.values()) this.add(change);
    if (this.#claim !== 'none') this.#claim = 'perhaps';
  }

  /** COMMIT worked. What is still pending now was not flushed in time: it stays, to be flushed late. */
  committed(): void {
    this.#claim = 'none';
    this.#unseen = false;
    this.#flushed.clear();
    this.#flushedBytes = 0;
  }

  /** End of the transaction, whatever the end. */
  clear(): void {
    this.committed();
    if (this.#pending.size > 0) this.#pending.clear();
    this.#pendingBytes = 0;
  }
}

function widened(changes: Changes): Changes {
  const wide: Changes = new Map();
  for (const { source } of changes.values()) {
    const change = source === null ? QUEUED : everythingOf(source);
    wide.set(change.text, change);
  }
  return wide;
}

function bytesOf(changes: Changes): number {
  let bytes = 0;
  for (const text of changes.keys()) bytes += text.length;
  return bytes;
}
