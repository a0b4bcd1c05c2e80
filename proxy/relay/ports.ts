/** What a session needs of the parts around it: a pool, the place where refresh meets the relay, and our own DDL. */
import type { ReceivedReport } from '../wire/messages/report.ts';
import type { OwnResult } from './answers.ts';
import type { Note } from './requests.ts';
import type { ServerLink } from './server-link.ts';
import type { Session } from './session.ts';

/** Who gives and takes servers: a pool. */
export interface ServerSource {
  readonly mode: 'session' | 'transaction' | 'statement';
  /** A server now, or null: then `session.assigned` or `session.refused` is called later. */
  acquire(session: Session): ServerLink | null;
  /** The session no longer waits. */
  leave(session: Session): void;
  /** Back to the pool; the link must be reusable or carry a close reason. */
  release(link: ServerLink, session: Session): void;
  readonly stats: SourceStats;
}

/** Plain numbers, added to on the hot path and read when metrics are scraped. */
export interface SourceStats {
  queries: number;
  transactions: number;
  receivedBytes: number;
  observeQuery(seconds: number): void;
  observeTransaction(seconds: number): void;
}

/** What the session asks where refresh meets the relay (proxy/tviews); null when the database has no tviews. */
export interface SessionRefresh {
  /** Nothing claimed, pending or remembered. */
  readonly isEmpty: boolean;
  /** A claim is certainly held. */
  readonly claimed: boolean;
  /** A claim may be held: whatever may end the transaction has to be preceded by a settlement. */
  readonly mayBeClaimed: boolean;
  readonly hasPending: boolean;
  /** Changes of this transaction were flushed: rolled back to a savepoint before that, they are pending again. */
  readonly hasFlushed: boolean;
  /** Pending, or perhaps in the queue: a read of a tview has to be preceded by a flush. */
  readonly mayOwe: boolean;
  /** A statement that was not claimed is sent inside a transaction block: it may write a source. */
  ranUnclaimed(): void;
  /** Whether the text names a source: a claim is worth taking before a write. */
  namesSource(text: string): boolean;
  /** Whether the text names a tview or a view over one. */
  namesTview(text: string): boolean;
  /** The claim as a message; marks the session as claimed. */
  claimMessage(): Buffer;
  /** The flush as a message: all pending changes; with `release` the claim is given back. */
  flushMessage(release: boolean): Buffer;
  /** The text of a notice with our SQLSTATE. @returns false when it is no change: then it is the client's to see. */
  onChange(message: string): boolean;
  /**
   * What this transaction changed has to be looked at again once it has committed.
   * @param message of the notice @returns false when it is none of ours
   */
  onRepairOwed(message: string): boolean;
  /** A statement has run that may have changed the schema, which is followed once it has committed. */
  onSchemaChange(isLikely: boolean): void;
  /**
   * At the end of a transaction: looks again at what it changed, and follows what it made of the schema. Never rejects: what fails is
   * done later.
   * @returns null when nothing has to be looked at
   */
  repair(): Promise<void> | null;
  /** The transaction has committed with changes pending, and the session goes on already: flush them past it. */
  flushLate(): void;
  onFlushed(note: Note, report: string): void;
  /** @returns the fields the client shall see: the server's, with a detail that names the tview. */
  onFlushFailed(note: Note, report: ReceivedReport): ReadonlyMap<string, string>;
  onCommitted(): void;
  onRolledBack(): void;
  /** The transaction is over. */
  clear(): void;
}

/** Runs a statement of ours (CREATE TVIEW …) that the session diverted. */
export interface TviewDdl {
  recognises(text: string): boolean;
  /**
   * Runs it on the session's server; resolves to the CommandComplete tag (and rows to show).
   * @param alone nothing follows it before the client's next Sync
   * @throws TviewsError or the server's error, with position; 25001 when it is not alone
   */
  run(text: string, session: Session, alone: boolean): Promise<OwnResult>;
  /** The column of the row that a function form returns; null for the statement forms. */
  rowColumn(text: string): string | null;
}

/** One side's connection as the relay uses it: proxy/wire's WireSocket, or a test's script. */
export interface Wire {
  onBytes: (chunk: Buffer) => void;
  onClose: (error: Error | null) => void;
  onDrain: () => void;
  readonly closed: boolean;
  /** Bytes written that the kernel has not taken yet. */
  readonly pendingBytes: number;
  write(bytes: Uint8Array): void;
  cork(): void;
  uncork(): void;
  pause(): void;
  resume(): void;
  /** The chunk just received is still referenced: read into new memory from now on. */
  retain(): void;
  /** Writes what is pending, then closes. */
  end(bytes?: Uint8Array): void;
  destroy(): void;
}
