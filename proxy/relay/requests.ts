/**
 * The one ordered queue of what a server has been asked and not answered yet. Everything that is sent to a server —
 * the client's messages and our own (statement preparation, claims, flushes, parameter sync) — is a request in it.
 * The model is PgBouncer's list of outstanding requests (poolers.md §2.2); Flush is not a request: it has no answer.
 *
 * Hot path: two byte rings and one array of notes, no object per request.
 */

import type { Statement } from '../statements/store.ts';
import type { Pooled, Prepared } from './client-statements.ts';
import type { OwnQuery } from './own-query.ts';
import type { UnnamedState } from './unnamed-statement.ts';

/** Why a flush was sent: before COMMIT, before a read of a tview, before something opaque, or late (see Session.onReady). */
export type FlushTrigger = 'commit' | 'read' | 'opaque' | 'late';

/** What was asked. The first three are answered by a ReadyForQuery. */
export const Kind = {
  Query: 0,
  FunctionCall: 1,
  Sync: 2,
  Parse: 3,
  Bind: 4,
  Describe: 5,
  Execute: 6,
  Close: 7,
  /** CopyDone or CopyFail: has no answer; marks up to where a server in copy-in mode ignores Syncs. */
  CopyEnd: 8,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

export const Action = {
  /** The client sent it and sees the answer. */
  Forward: 0,
  /** Ours: the answer is swallowed. */
  Skip: 1,
  /** The client sent it, the server never saw it: we answer when its turn comes. */
  Fake: 2,
} as const;
export type Action = (typeof Action)[keyof typeof Action];

/** A client's name came to mean something else; what it meant is back when the request is dropped. */
export interface Renaming {
  readonly name: string;
  /** Undefined: nothing. */
  readonly before: Pooled | Prepared | undefined;
}

/** What to do, besides forwarding or swallowing, when a request is answered or dropped. */
export type Note =
  /** A Parse under a server-side name: the server has the statement unless this fails or is dropped. */
  | {
      readonly kind: 'prepare';
      readonly statement: Statement;
      /** The client's name for it. */
      readonly name: string;
      /** Null: the client does not see the answer. */
      readonly renaming: Renaming | null;
    }
  /** A Bind or Describe of a statement under its server-side name. */
  | Pooled
  /** A Parse or Close under the client's own name. */
  | { readonly kind: 'name'; readonly renaming: Renaming }
  /** What changes the client's unnamed statement: Parse, Close, a simple Query; `before` is back when it is dropped. */
  | { readonly kind: 'unnamed'; readonly before: UnnamedState | null }
  /** Our Parse or Close that makes the server's unnamed statement the client's. */
  | { readonly kind: 'unnamed-again' }
  /** A Parse of a name the client already has: PostgreSQL's 42P05 comes from the server, under the client's name. */
  | { readonly kind: 'duplicate'; readonly name: string; readonly statement: Statement }
  /** A Close of an evicted statement: back into the server's map if it is dropped. */
  | { readonly kind: 'evict'; readonly statement: Statement }
  | { readonly kind: 'answer'; readonly bytes: Uint8Array; readonly renaming: Renaming | null }
  /** Our SET of the client's parameters. */
  | { readonly kind: 'parameters' }
  | { readonly kind: 'claim' }
  | { readonly kind: 'flush'; readonly trigger: FlushTrigger; readonly startedAt: number }
  /** Ours: the last request of the query, whose ReadyForQuery ends it. */
  | { readonly kind: 'own'; readonly query: OwnQuery }
  /** Ours: answers belong to the query that follows in the same batch. */
  | { readonly kind: 'own-part'; readonly query: OwnQuery };

const INITIAL_CAPACITY = 64;

export class RequestQueue {
  #kinds = new Uint8Array(INITIAL_CAPACITY);
  #actions = new Uint8Array(INITIAL_CAPACITY);
  #notes: (Note | null)[] = new Array<Note | null>(INITIAL_CAPACITY).fill(null);
  #head = 0;
  #size = 0;
  /** Unanswered requests of the client that may run a statement (Query, Execute, FunctionCall). */
  running = 0;
  /** Unanswered Syncs. */
  syncs = 0;

  get size(): number {
    return this.#size;
  }

  push(kind: Kind, action: Action, note: Note | null): void {
    const capacity = this.#kinds.length;
    if (this.#size === capacity) this.#grow();
    const index = (this.#head + this.#size) & (this.#kinds.length - 1);
    this.#kinds[index] = kind;
    this.#actions[index] = action;
    this.#notes[index] = note;
    this.#size += 1;
    if (kind === Kind.Sync) this.syncs += 1;
    else if (action === Action.Forward && isRunning(kind)) this.running += 1;
  }

  /** Undefined when nothing is outstanding. */
  get headKind(): Kind | undefined {
    return this.#size === 0 ? undefined : (this.#kinds[this.#head] as Kind);
  }

  get headAction(): Action | undefined {
    return this.#size === 0 ? undefined : (this.#actions[this.#head] as Action);
  }

  get headNote(): Note | null {
    return this.#size === 0 ? null : (this.#notes[this.#head] ?? null);
  }

  /** Removes the head. The queue must not be empty. */
  pop(): void {
    const kind = this.#kinds[this.#head] as Kind;
    if (kind === Kind.Sync) this.syncs -= 1;
    else if (this.#actions[this.#head] === Action.Forward && isRunning(kind)) this.running -= 1;
    this.#notes[this.#head] = null;
    do {
      this.#head = (this.#head + 1) & (this.#kinds.length - 1);
      this.#size -= 1;
    } while (this.#size > 0 && this.#kinds[this.#head] === Kind.CopyEnd);
  }

  /**
   * Drops what the server ignores after an error, everything before the next Sync, and names the notes of it, the last
   * one first: undone in that order each finds what it had changed as it had left it.
   */
  dropToSync(undo: (note: Note) => void): void {
    const dropped: Note[] = [];
    while (this.#size > 0 && this.#kinds[this.#head] !== Kind.Sync) {
      const note = this.headNote;
      if (note !== null) dropped.push(note);
      this.pop();
    }
    for (let index = dropped.length - 1; index >= 0; index -= 1) undo(dropped[index]!);
  }

  /**
   * Drops the Syncs behind the head, up to the end of the copy: a server in copy-in mode reads and ignores them.
   * @returns whether the client has sent that end already
   */
  dropSyncsOfCopy(): boolean {
    const mask = this.#kinds.length - 1;
    const size = this.#size;
    let kept = 1;
    let copying = true;
    for (let offset = 1; offset < size; offset += 1) {
      const from = (this.#head + offset) & mask;
      const kind = this.#kinds[from];
      // The first one ends this copy; a later one may be meant for a COPY that is still to come.
      if (copying && kind === Kind.CopyEnd) {
        copying = false;
        continue;
      }
      if (copying && kind === Kind.Sync) {
        this.syncs -= 1;
        this.#notes[from] = null;
        continue;
      }
      const to = (this.#head + kept) & mask;
      const note = this.#notes[from]!;
      this.#notes[from] = null;
      this.#kinds[to] = this.#kinds[from]!;
      this.#actions[to] = this.#actions[from]!;
      this.#notes[to] = note;
      kept += 1;
    }
    this.#size = Math.min(size, kept);
    return !copying;
  }

  #grow(): void {
    const capacity = this.#kinds.length;
    const kinds = new Uint8Array(capacity * 2);
    const actions = new Uint8Array(capacity * 2);
    const notes = new Array<Note | null>(capacity * 2).fill(null);
    for (let offset = 0; offset < this.#size; offset += 1) {
      const from = (this.#head + offset) & (capacity - 1);
      kinds[offset] = this.#kinds[from]!;
      actions[offset] = this.#actions[from]!;
      notes[offset] = this.#notes[from]!;
    }
    this.#kinds = kinds;
    this.#actions = actions;
    this.#notes = notes;
    this.#head = 0;
  }
}

function isRunning(kind: Kind): boolean {
  return kind === Kind.Query || kind === Kind.Execute || kind === Kind.FunctionCall;
}
