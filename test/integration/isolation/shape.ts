/** A shape: tables, tviews, and sessions whose steps are run in every order. */
import type pg from 'pg';
import type { CreateTview } from '../../../src/definition/plan.ts';
import type { LockPart } from './locking.ts';

export type Level = 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE';

/**
 * What a session does when it is its turn: SQL, or one of these. A flush that is a step of its own is what makes two of them
 * meet before either commits; at COMMIT the database would do both in one.
 */
export type Step =
  | string
  /** The last one ends the session's writes: as a proxy's before COMMIT. Another is as one before a read. */
  | { readonly flush: 'last' | 'before a read' }
  /** What a program of ours does in this transaction. */
  | { readonly what: string; readonly run: (client: pg.Client) => Promise<unknown> }
  /** On another connection, in no transaction: COMMIT PREPARED. */
  | { readonly elsewhere: string };

export interface Session {
  readonly steps: readonly Step[];
  /**
   * Who flushes. `queue`: the deferred trigger, told to by SET CONSTRAINTS. `call`: flush is called and finds the changes in
   * the queue, as after a claim that came late. `claim`: the transaction is claimed, and the test holds its changes.
   */
  readonly delivery: 'queue' | 'call' | 'claim';
  readonly role: 'app' | 'owner';
  /** Where it can run under this level only. */
  readonly level: Level | null;
}

export interface Shape {
  readonly name: string;
  /** DDL and rows. */
  readonly tables: string;
  /** Definitions by name, in the order in which they are applied. */
  readonly tviews: Readonly<Record<string, string>>;
  /** `WITH (…)` of those that have it. */
  readonly options?: Readonly<Record<string, Pick<CreateTview, 'key' | 'fullRefresh'>>>;
  readonly sessions: readonly Session[];
  /**
   * Which of the value locks guard it: without any one of these sets a row goes stale. Empty where PostgreSQL's own locks
   * do; that the lock of the tview guards all others goes without saying.
   */
  readonly guards: readonly (readonly LockPart[])[];
  /** SQLSTATEs some interleavings may end a READ COMMITTED session with, beside success. */
  readonly errors?: readonly string[];
  /** Run once, after the tviews are there, with no trigger firing: what is wrong from the start. */
  readonly damage?: string;
  /** Where sessions create or replace tviews: makes the tviews what they were. */
  readonly restore?: (owner: pg.Client) => Promise<void>;
  /** Of those where the harm is done by kept snapshots, as many interleavings are run above READ COMMITTED as under it. */
  readonly isAboutSnapshots?: boolean;
  /** Shapes that are slow run fewer of their interleavings, unless all are asked for. */
  readonly bound?: number;
}

export const flush: Step = { flush: 'last' };
export const flushBeforeRead: Step = { flush: 'before a read' };

/** A transaction of these steps as they are. */
export const session = (steps: readonly Step[], more: Partial<Session> = {}): Session => ({
  delivery: 'queue',
  role: 'app',
  level: null,
  ...more,
  steps,
});

/** Writes, flushes, commits. */
export const writer = (...writes: readonly Step[]): Session => session([...writes, flush, 'COMMIT']);

export const claimed = (from: Session): Session => ({ ...from, delivery: 'claim' });
export const calling = (from: Session): Session => ({ ...from, delivery: 'call' });

/** As people read it. */
export function textOf(step: Step): string {
  if (typeof step === 'string') return step;
  if ('flush' in step) return step.flush === 'last' ? 'flush' : 'flush before a read';
  return 'what' in step ? step.what : `${step.elsewhere} (on another connection)`;
}
