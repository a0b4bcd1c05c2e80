/**
 * What refresh needs in front of a statement: a pure function of what is known, so that it can be tried on every
 * combination without a socket. Text only prepares; a statement misjudged as harmless still meets the fallback, because
 * its transaction was not claimed or is settled as opaque.
 */

import { StatementClass } from '../statements/classify.ts';
import { TransactionStatus } from '../wire/codes.ts';

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
  /** Status byte of the last ReadyForQuery, or what is under way makes of it. */
  readonly status: number;
  /** The server ignores everything up to Sync, or waits for the data of a COPY. */
  readonly deaf: boolean;
  /** Requests of the client under way that may run a statement. */
  readonly running: number;
  /** The claim is certainly held. */
  readonly claimed: boolean;
  /** The claim may be held: also when a ROLLBACK TO may have brought it back. */
  readonly mayBeClaimed: boolean;
  readonly pending: boolean;
  /** Pending, or perhaps in the queue, because something ran unclaimed. COMMIT flushes the queue by itself; a read does not. */
  readonly mayOwe: boolean;
  /** Changes of this transaction were flushed: rolled back to a savepoint before that, they are pending again. */
  readonly flushed: boolean;
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
  const { status, running, claimed, mayBeClaimed, pending, mayOwe, flushed } = situation;
  if (situation.deaf) return 'nothing';
  // What is under way may be a ROLLBACK TO: it makes pending again what was flushed, and a failed transaction good.
  const unclear = running > 0 && (mayBeClaimed || pending || flushed);
  if (status !== TransactionStatus.inTransaction) {
    // Outside a transaction block nothing is claimed and the database does it all; in a failed one nothing counts.
    if (status !== TransactionStatus.failed || !unclear) return 'nothing';
    return needs(statement) === 'nothing' ? 'nothing' : 'wait';
  }
  // Pending without a claim: a savepoint was rolled back, and with it perhaps the claim and what had been flushed.
  if (!claimed) {
    // A claim behind statements that are still running would not know whether the transaction still stands.
    const claims =
      statement.class === StatementClass.Write &&
      running === 0 &&
      !(mayOwe && statement.namesTview()) &&
      statement.isSingle() &&
      statement.namesSource();
    if (claims) return 'claim';
    if (!mayBeClaimed && !mayOwe && !unclear) return 'nothing';
  }
  const what = needs(statement);
  if (what === 'nothing') return what;
  // Of the queue nobody but a reader has to be told.
  if (what !== 'flush' && !mayBeClaimed && !pending && !unclear) return 'nothing';
  if (running > 0) return 'wait';
  return what === 'flush' && !mayOwe ? 'nothing' : what;
}

/** What the statement needs in a transaction that owes. */
function needs(statement: StatementFacts): 'nothing' | 'flush' | 'settle' | 'settle-first' {
  switch (statement.isSingle() ? statement.class : StatementClass.Opaque) {
    case StatementClass.Read:
    case StatementClass.Write:
    case StatementClass.Forget:
      return statement.namesTview() ? 'flush' : 'nothing';
    case StatementClass.Begin:
    case StatementClass.Rollback:
    case StatementClass.RollbackTo:
      return 'nothing';
    case StatementClass.Commit:
    case StatementClass.PrepareTransaction:
      return 'settle';
    default:
      return 'settle-first';
  }
}

/** Whether a statement that goes out unclaimed inside a transaction block may write a source all the same. */
export function mayWriteUnclaimed(statement: StatementFacts): boolean {
  switch (statement.class) {
    case StatementClass.Write:
    case StatementClass.Opaque:
      return true;
    default:
      return !statement.isSingle();
  }
}

/** Whether a portal of the statement is remembered: executed, it begins or ends a transaction, brings one back, or forgets names. */
export function maySteer(statementClass: StatementClass): boolean {
  switch (statementClass) {
    case StatementClass.Begin:
    case StatementClass.Commit:
    case StatementClass.PrepareTransaction:
    case StatementClass.Rollback:
    case StatementClass.RollbackTo:
    case StatementClass.Opaque:
    case StatementClass.Execute:
    case StatementClass.Forget:
      return true;
    default:
      return false;
  }
}
