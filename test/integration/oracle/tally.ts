/** Counts what became of transactions, so that a run can say that it did what it is for. */
import type { Outcome } from './session.ts';
import type { Transaction } from './transaction.ts';

/** Errors that concurrent writers get from PostgreSQL: conflicts, deadlocks, violated constraints, a lock that took too long. */
const ordinary = /^(40001|40P01|55P03|23\d\d\d)$/;
/** Ours, in the classes above: they say that a definition is at fault, which those generated here must not be. */
const ours = /definition of tview/;

export const isOrdinary = ({ code, message }: { code: string; message: string }): boolean =>
  ordinary.test(code) && !ours.test(message);

export class Tally {
  finished = 0;
  committed = 0;
  readonly #counts = new Map<string, number>();

  count(transaction: Transaction, outcome: Outcome): void {
    this.finished += 1;
    if (outcome.kind === 'committed') this.committed += 1;
    this.#add(outcome.kind === 'refused' ? outcome.code : outcome.kind);
    if (outcome.kind === 'committed') {
      this.#add(transaction.path);
      this.#add(transaction.level);
    }
  }

  #add(name: string): void {
    this.#counts.set(name, this.of(name) + 1);
  }

  /** How often an outcome, an error code was met; a path or a level with a commit. */
  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  toString(): string {
    const entries = [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1));
    return entries.map(([name, count]) => `${name} ${count}`).join(', ');
  }
}
