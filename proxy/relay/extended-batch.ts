/**
 * What a session knows of the batch its client is sending in the extended protocol (everything up to Sync): what stands
 * between two ReadyForQuerys is known from nowhere else.
 */

import { StatementClass } from '../statements/classify.ts';
import { TransactionStatus } from '../wire/codes.ts';
import type { Prepared } from './client-statements.ts';
import { maySteer } from './decide.ts';

export class ExtendedBatch {
  /** What was last forwarded in extended protocol has no Sync behind it. */
  unsynced = false;
  /**
   * A ReadyForQuery came in the middle of a batch: "in transaction" may mean the batch's implicit block, which Sync
   * commits without any COMMIT to flush before. Nothing is claimed until Sync.
   */
  implicitBlock = false;
  /** A flush before COMMIT is on its way: what may follow it without knowing the outcome. */
  settlement: 'none' | 'execute' | 'sync' | 'nothing' = 'none';
  /**
   * Portals of statements that begin, end or roll back: a COMMIT bound when nothing was owed may be executed when
   * something is. They outlive their batch, to the end of the transaction at most.
   */
  readonly #steering = new Map<string, Prepared>();
  /** What stood in `steering` where a Bind that may still fail has put something else. */
  readonly #displaced = new Map<string, Prepared>();
  /** What is under way since the last ReadyForQuery, and not answered yet, makes of the transaction. */
  #block: number | null = null;

  /** Status of the transaction for what is sent now; `last` is that of the last ReadyForQuery. */
  status(last: number): number {
    return this.#block ?? last;
  }

  bound(chunk: Buffer, nameStart: number, nameEnd: number, prepared: Prepared): void {
    const steers = maySteer(prepared.class);
    if (!steers && this.#steering.size === 0) return;
    const name = chunk.toString('latin1', nameStart, nameEnd);
    const before = this.#steering.get(name);
    if (before !== undefined && !this.#displaced.has(name)) this.#displaced.set(name, before);
    if (steers) this.#steering.set(name, prepared);
    else this.#steering.delete(name);
  }

  /**
   * An error: what has been sent behind it is ignored up to Sync. A COMMIT among that ends nothing, and a portal bound
   * again is what it was before.
   */
  failed(): void {
    this.#block = null;
    if (this.#displaced.size === 0) return;
    for (const [name, before] of this.#displaced) this.#steering.set(name, before);
    this.#displaced.clear();
  }

  /** What an Execute at `at` runs, if that was worth remembering. */
  steeringAt(chunk: Buffer, at: number): Prepared | undefined {
    if (this.#steering.size === 0) return undefined;
    return this.#steering.get(chunk.toString('latin1', at + 5, chunk.indexOf(0, at + 5)));
  }

  executed(statementClass: StatementClass, last: number): void {
    switch (statementClass) {
      case StatementClass.Begin:
        // What follows it unanswered is not claimed, but a read of a tview there has to be preceded by a flush.
        this.#block = TransactionStatus.inTransaction;
        return;
      case StatementClass.Commit:
      case StatementClass.PrepareTransaction:
      case StatementClass.Rollback:
        // With AND CHAIN it goes on; then it is not claimed before the next ReadyForQuery, and the database does it all.
        this.#block = TransactionStatus.idle;
        return;
      case StatementClass.RollbackTo:
        if (last !== TransactionStatus.idle) this.#block = TransactionStatus.inTransaction;
    }
  }

  synced(): void {
    this.unsynced = false;
    this.implicitBlock = false;
  }

  /** A request that ReadyForQuery answers ends a batch that had no Sync, though perhaps not its transaction. */
  answeredInside(): void {
    if (!this.unsynced) return;
    this.unsynced = false;
    this.implicitBlock = true;
  }

  /** ReadyForQuery for the client, with nothing of its running. */
  settled(): void {
    this.#block = null;
    if (this.#displaced.size > 0) this.#displaced.clear();
  }

  /** Nothing is outstanding and no transaction open. */
  over(): void {
    this.implicitBlock = false;
    if (this.#steering.size > 0) this.#steering.clear();
  }

  /** Whether a message may go out behind a flush before COMMIT whose outcome is not known. */
  mayFollowSettlement(isExecute: boolean, isSync: boolean, isHarmless: boolean): boolean {
    switch (this.settlement) {
      case 'none':
        return true;
      case 'nothing':
        return false;
      default:
        if (isSync) this.settlement = 'nothing';
        else if (isExecute && this.settlement === 'execute') this.settlement = 'sync';
        else return isHarmless;
        return true;
    }
  }
}
