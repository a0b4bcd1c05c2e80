/**
 * What clients know of their transactions, one number each: told that it is committed, told that it is not, prepared,
 * or asked for it and never heard. Whatever crashed in between, the database must agree.
 */
export type Fate =
  /** COMMIT was never sent, or was refused: nothing of it may be there. */
  | 'undone'
  /** Acknowledged: all of it must be there. */
  | 'committed'
  /** COMMIT was sent and no answer came: all of it or nothing. */
  | 'unknown'
  /** The same for PREPARE TRANSACTION: prepared or gone. */
  | 'preparing'
  /** Acknowledged as prepared: it waits for its second phase, through whatever crash. */
  | 'prepared'
  /** The second phase was sent and no answer came: prepared still, or done as asked. */
  | 'committing'
  | 'rolling back';

const FIRST = 1000;

export class Journal {
  readonly #fates = new Map<number, Fate>();
  /** Prepared by a client that is about to go on with it: nobody else may. */
  readonly inHands = new Set<number>();
  #next = FIRST;
  acknowledged = 0;

  get size(): number {
    return this.#fates.size;
  }

  /** A new transaction; as long as nobody has asked for its COMMIT, it must leave nothing. */
  begin(): number {
    const id = this.#next++;
    this.#fates.set(id, 'undone');
    return id;
  }

  fate(id: number): Fate | undefined {
    return this.#fates.get(id);
  }

  set(id: number, fate: Fate): void {
    this.#fates.set(id, fate);
    if (fate === 'committed') this.acknowledged += 1;
  }

  /** The second phase is about to be asked for; asked for both ways without an answer, either may have happened. */
  resolving(id: number, how: 'committing' | 'rolling back'): void {
    const before = this.#fates.get(id);
    const other = how === 'committing' ? 'rolling back' : 'committing';
    this.set(id, before === other || before === 'unknown' ? 'unknown' : how);
  }

  /**
   * What the clients know against what is there, once nothing runs and nothing is prepared any more.
   * @returns sentences, one for each transaction that is not as it must be
   */
  contradictions(there: ReadonlySet<number>): string[] {
    const found: string[] = [];
    for (const id of there) if (!this.#fates.has(id)) found.push(`${id} is there and nobody wrote it`);
    for (const [id, fate] of this.#fates) {
      const isThere = there.has(id);
      if (fate === 'unknown') continue;
      if (fate === 'prepared') found.push(`${id} was prepared and is lost`);
      else if (isThere !== (fate === 'committed' || fate === 'committing'))
        found.push(`${id} is ${fate}, and it is ${isThere ? '' : 'not '}there`);
    }
    return found;
  }

  /**
   * Takes down what has become of the transactions nobody heard the end of: from now on it must stay so.
   * @returns how many of them are there, and how many are not
   */
  learn(there: ReadonlySet<number>): { readonly there: number; readonly absent: number } {
    const learned = { there: 0, absent: 0 };
    for (const [id, fate] of this.#fates) {
      if (fate === 'undone' || fate === 'committed') continue;
      this.#fates.set(id, there.has(id) ? 'committed' : 'undone');
      learned[there.has(id) ? 'there' : 'absent'] += 1;
    }
    return learned;
  }

  /** Everything so far has been checked and is gone from the database. */
  forget(): void {
    this.#fates.clear();
    this.inHands.clear();
  }
}
