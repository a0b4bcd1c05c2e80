/**
 * What refresh needs in front of a statement: a pure function of what is known, so that it can be tried on every
 * combination without a socket. Text only prepares; a statement misjudged as harmless still meets the fallback, because
 * its transaction was not claimed or is settled as opaque.
 */
import { TransactionStatus } from '../wire/codes.ts';
import { StatementClass } from './classify.ts';

export type Preparation =
  | 'nothing'
  /** Take the claim. */
  | 'claim'
  /** Flush what is pending; the claim stays. */
  | 'flush'
  /** Flush and give the claim back, in the packet of the statement: COMMIT, PREPARE TRANSACTION. */
  | 'settle'
  /**
   * Flush and give the claim back, and send the statement only when that has worked: it may begin with COMMIT and go on
   * after it (CALL, DO, several statements, anything unknown).
   */
  | 'settle-first'
  /** Statements are running whose changes are not in yet: look again when they are answered. */
  | 'wait';

export interface Situation {
  /** Status byte of the last ReadyForQuery. */
  readonly status: number;
  /** The server ignores everything up to Sync, or is in the middle of a COPY. */
  readonly deaf: boolean;
  /** Requests of the client under way that may run a statement. */
  readonly running: number;
  readonly claimed: boolean;
  readonly pending: boolean;
}

/** The statement, asked only as far as needed: its text may be long. */
export interface StatementFacts {
  readonly class: StatementClass;
  /** One statement and not several. */
  isSingle(): boolean;
  namesSource(): boolean;
  namesTview(): boolean;
}

export function prepare(situation: Situation, statement: StatementFacts): Preparation {
  // Outside a transaction block nothing is claimed and the database does it all; in a failed one nothing counts.
  if (situation.deaf || situation.status !== TransactionStatus.inTransaction) return 'nothing';
  const ready: <P extends Preparation>(what: P) => P | 'wait' = (what) =>
    situation.running > 0 ? 'wait' : what;

  // Pending without a claim: a savepoint was rolled back, and with it perhaps the claim and what had been flushed.
  if (!situation.claimed) {
    // A claim behind statements that are still running would not know whether the transaction still stands.
    const claims =
      statement.class === StatementClass.Write &&
      situation.running === 0 &&
      !(situation.pending && statement.namesTview()) &&
      statement.isSingle() &&
      statement.namesSource();
    if (claims) return 'claim';
    if (!situation.pending) return 'nothing';
  }
  switch (statement.isSingle() ? statement.class : StatementClass.Opaque) {
    case StatementClass.Read:
    case StatementClass.Write:
      if (!situation.pending && situation.running === 0) return 'nothing';
      if (!reads(statement)) return 'nothing';
      if (situation.running > 0) return 'wait';
      return 'flush';
    case StatementClass.Begin:
    case StatementClass.Rollback:
    case StatementClass.RollbackTo:
      return 'nothing';
    case StatementClass.Commit:
    case StatementClass.PrepareTransaction:
      return ready('settle');
    default:
      return ready('settle-first');
  }
}

function reads(statement: StatementFacts): boolean {
  return (
    (statement.class === StatementClass.Read || statement.class === StatementClass.Write) &&
    statement.namesTview()
  );
}
