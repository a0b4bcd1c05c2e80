/** Counts what became of transactions, so that a run can say that it did what it is for. */
import type { Outcome } from './session.ts';
import type { Transaction } from './transaction.ts';

/** Errors that concurrent writers get from PostgreSQL: conflicts, deadlocks, violated constraints, a lock that took too long. */
const ordinary = /^(40001|40P01|55P03|23\d\d\d)$/;
/**
 * An assertion of PostgreSQL's on rows that foreign keys lock while they are updated: an update that is being rolled back counts
 * as no conflict any more, and as a member still. Without tviews pgbench meets it every few seconds (README.md here). None refers
 * to a tv_ table, so it is about rows of the sources, which we do not write.
 */
const serversOwn = /^new multixact has more than one updating member/;
/** Ours, in the classes above: they say that a definition is at fault, which those generated here must not be. */
const ours = /definition of tview/;

export const isOrdinary = ({ code, message }: { code: string; message: string }): boolean =>
  (ordinary.test(code) && !ours.test(message)) || (code === 'XX000' && serversOwn.test(message));

/**
 * A kept snapshot can show two rows of one primary key, one that another transaction has deleted since and the own one in its
 * place. A flush makes 40001 of it (kept-snapshots.test.ts); a transaction that reads the definition itself is told so.
 */
export const isOwnRead = (
  { level }: Transaction,
  { code, message }: { code: string; message: string },
): boolean => level !== 'READ COMMITTED' && code === '21000' && !ours.test(message);

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
