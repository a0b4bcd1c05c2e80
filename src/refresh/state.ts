/** The change that tells a flush to take what this transaction has in the queue, too. */
const QUEUED = '{"queued": true}';

/**
 * Refresh state of one session: what it still owes in the current transaction. Pure: it knows no socket and no SQL.
 *
 * ```
 *   idle ──claim──▶ claimed ──settle──▶ settled (released; later writes go to the queue) ─┐
 *     ▲               │  ▲                                                                │
 *     │               ▼  │ rollbackTo: everything flushed is pending again, the claim     │
 *     │            (changes arrive, flush before read)            may be undone           │
 *     └──────────────── end of the transaction, whatever the end; DISCARD ALL ────────────┘
 * ```
 */
export class RefreshState {
  #claimed = false;
  /** Changes not yet flushed: the JSON text of each as the database sent it, one character per byte, no duplicates. */
  #pending = new Set<string>();
  /** Changes flushed in this transaction: a rolled-back savepoint makes them pending again. */
  #flushed = new Set<string>();
  #pendingBytes = 0;
  /** A statement has run that was not claimed: what it changed, if anything, is in the queue of this transaction. */
  #unseen = false;

  get claimed(): boolean {
    return this.#claimed;
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
    return !this.#claimed && !this.#unseen && this.#pending.size === 0 && this.#flushed.size === 0;
  }

  claim(): void {
    this.#claimed = true;
  }

  /** A change arrived: the text of the notice, one character per byte. */
  add(change: string): void {
    if (this.#pending.has(change)) return;
    this.#pending.add(change);
    this.#pendingBytes += change.length;
  }

  /** An unclaimed statement is sent that may write a source. */
  ranUnclaimed(): void {
    this.#unseen = true;
  }

  /** The argument of `tviews.flush`: all pending changes as one JSON array. They count as flushed from here on. */
  takePending(): string {
    if (this.#unseen) this.add(QUEUED);
    this.#unseen = false;
    const changes = `[${[...this.#pending].join(',')}]`;
    for (const change of this.#pending) this.#flushed.add(change);
    this.#pending.clear();
    this.#pendingBytes = 0;
    return changes;
  }

  /** The claim was given back, in the flush before COMMIT. */
  release(): void {
    this.#claimed = false;
  }

  /**
   * ROLLBACK TO SAVEPOINT may have undone a flush and the claim. A flush recomputes, so changes too many only cost
   * work; changes too few would be a stale row.
   */
  rollbackTo(): void {
    for (const change of this.#flushed) this.add(change);
    this.#flushed.clear();
    this.#claimed = false;
  }

  /**
   * Rewrites what is remembered. For a change of client_encoding, after which the bytes of a change would mean
   * something else when they are sent back.
   */
  rewrite(change: (text: string) => string): void {
    this.#pending = new Set([...this.#pending].map(change));
    this.#flushed = new Set([...this.#flushed].map(change));
    this.#pendingBytes = 0;
    for (const text of this.#pending) this.#pendingBytes += text.length;
  }

  /** COMMIT worked. What is still pending now was not flushed in time: it stays, to be flushed late. */
  committed(): void {
    this.#claimed = false;
    this.#unseen = false;
    this.#flushed.clear();
  }

  /** End of the transaction, whatever the end. */
  clear(): void {
    this.#claimed = false;
    this.#unseen = false;
    if (this.#pending.size > 0) this.#pending.clear();
    if (this.#flushed.size > 0) this.#flushed.clear();
    this.#pendingBytes = 0;
  }
}
