/**
 * One client's prepared statements: what its names stand for, and how messages that carry such a name reach a server
 * that knows the statement by the pool's name. In session mode names go out as they are and are only remembered.
 */
import {
  closeMessage,
  type ServerStatements,
  type Statement,
  type StatementStore,
} from '../statements/store.ts';
import { Frontend } from '../wire/codes.ts';
import { closeComplete, parseComplete } from './answers.ts';
import { classify, StatementClass } from './classify.ts';
import type { Outbox } from './outbox.ts';
import { Action, Kind, type Note } from './requests.ts';
import type { ServerLink } from './server-link.ts';

/** What a client's statement name or the unnamed statement stands for. */
export interface Prepared {
  readonly class: StatementClass;
  /** Null when it was not kept (an unnamed read): then it counts as reading whatever it could. */
  readonly text: string | null;
}

const NOTHING_PREPARED: Prepared = { class: StatementClass.Read, text: '' };

export class ClientStatements {
  readonly #store: StatementStore;
  readonly #renames: boolean;
  readonly #keepsText: boolean;
  readonly #names = new Map<string, Statement | Prepared>();
  #unnamed: Prepared = NOTHING_PREPARED;

  /**
   * @param renames client names are mapped to the pool's (transaction mode with max_prepared_statements > 0)
   * @param keepsText the texts will be asked for (there are tviews)
   */
  constructor(store: StatementStore, renames: boolean, keepsText: boolean) {
    this.#store = store;
    this.#renames = renames;
    this.#keepsText = keepsText;
  }

  /** DISCARD ALL, DEALLOCATE ALL. */
  clear(): void {
    this.#names.clear();
  }

  /** What a Bind of `chunk[nameStart, nameEnd)` would run. */
  boundBy(chunk: Buffer, nameStart: number, nameEnd: number): Prepared {
    if (nameStart === nameEnd) return this.#unnamed;
    return this.#names.get(chunk.toString('utf8', nameStart, nameEnd)) ?? NOTHING_PREPARED;
  }

  /** A statement of ours, which no server ever sees. */
  rememberOwn(name: string, text: string): void {
    const own = { class: StatementClass.MaybeTview, text };
    if (name === '') this.#unnamed = own;
    else this.#names.set(name, own);
  }

  /** A Parse at `at`, with its name and text ending at the given zeros. */
  parse(
    link: ServerLink,
    outbox: Outbox,
    chunk: Buffer,
    at: number,
    nameEnd: number,
    textEnd: number,
    next: number,
  ): void {
    const isUnnamed = nameEnd === at + 5;
    if (!isUnnamed && this.#renames) {
      this.#parseNamed(link, outbox, chunk, at, nameEnd, next);
      return;
    }
    const statementClass = classify(chunk, nameEnd + 1, textEnd);
    const keeps = this.#keepsText && (!isUnnamed || statementClass !== StatementClass.Read);
    const prepared = {
      class: statementClass,
      text: keeps ? chunk.toString('utf8', nameEnd + 1, textEnd) : null,
    };
    if (isUnnamed) this.#unnamed = prepared;
    else this.#names.set(chunk.toString('utf8', at + 5, nameEnd), prepared);
    link.queue.push(Kind.Parse, Action.Forward, null);
  }

  #parseNamed(
    link: ServerLink,
    outbox: Outbox,
    chunk: Buffer,
    at: number,
    nameEnd: number,
    next: number,
  ): void {
    const name = chunk.toString('utf8', at + 5, nameEnd);
    const statement = this.#store.intern(chunk.subarray(nameEnd + 1, next));
    const taken = this.#names.get(name);
    outbox.cut(chunk, at, next);
    if (isPooled(taken)) {
      // The server says 42P05 as it would to a client of its own: by a name it does hold.
      this.#ensurePrepared(link, outbox, taken);
      outbox.push(taken.parseMessage);
      link.queue.push(Kind.Parse, Action.Forward, { kind: 'duplicate', name });
      return;
    }
    this.#names.set(name, statement);
    if (link.statements.has(statement)) {
      answer(link, Kind.Parse, parseComplete);
      return;
    }
    outbox.push(statement.parseMessage);
    link.queue.push(Kind.Parse, Action.Forward, { kind: 'prepare', statement, clientName: name });
    addPrepared(link, outbox, statement);
  }

  #ensurePrepared(link: ServerLink, outbox: Outbox, statement: Statement): void {
    if (link.statements.has(statement)) return;
    outbox.push(statement.parseMessage);
    link.queue.push(Kind.Parse, Action.Skip, { kind: 'prepare', statement, clientName: null });
    addPrepared(link, outbox, statement);
  }

  /** A Bind at `at` whose statement's name is `chunk[nameStart, nameEnd)`; the rest of it may still be on its way. */
  bind(
    link: ServerLink,
    outbox: Outbox,
    chunk: Buffer,
    at: number,
    nameStart: number,
    nameEnd: number,
    next: number,
  ): void {
    const named =
      nameStart === nameEnd ? undefined : this.#names.get(chunk.toString('utf8', nameStart, nameEnd));
    if (isPooled(named)) {
      outbox.cut(chunk, at, nameEnd + 1);
      this.#ensurePrepared(link, outbox, named);
      outbox.push(renamedHead(Frontend.Bind, chunk, at, nameStart, nameEnd + 1, next, named));
    }
    // A name the client never prepared goes to the server as it is: 26000, in stream order.
    link.queue.push(Kind.Bind, Action.Forward, null);
  }

  describe(link: ServerLink, outbox: Outbox, chunk: Buffer, at: number, next: number): void {
    const named =
      chunk[at + 5] === STATEMENT ? this.#names.get(chunk.toString('utf8', at + 6, next - 1)) : undefined;
    if (isPooled(named)) {
      outbox.cut(chunk, at, next);
      this.#ensurePrepared(link, outbox, named);
      outbox.push(renamedHead(Frontend.Describe, chunk, at, at + 6, next, next, named));
    }
    link.queue.push(Kind.Describe, Action.Forward, null);
  }

  close(link: ServerLink, outbox: Outbox, chunk: Buffer, at: number, next: number): void {
    if (chunk[at + 5] === STATEMENT && next > at + 7) {
      this.#names.delete(chunk.toString('utf8', at + 6, next - 1));
      if (this.#renames) {
        outbox.cut(chunk, at, next);
        answer(link, Kind.Close, closeComplete);
        return;
      }
    }
    link.queue.push(Kind.Close, Action.Forward, null);
  }

  /** A Parse under the client's name failed or was never run. */
  undo(note: Note): void {
    if (
      note.kind === 'prepare' &&
      note.clientName !== null &&
      this.#names.get(note.clientName) === note.statement
    ) {
      this.#names.delete(note.clientName);
    }
  }
}

/** Describe and Close: S means a statement, P a portal. */
const STATEMENT = 0x53;

/** In the server's place: now if nothing is outstanding, else in its turn. */
function answer(link: ServerLink, kind: Kind, bytes: Uint8Array): void {
  if (link.queue.size === 0) link.owner!.client.write(bytes);
  else link.queue.push(kind, Action.Fake, { kind: 'answer', bytes });
}

/** The server holds one more statement; the least recently used one goes when there are too many. */
function addPrepared(
  link: { readonly statements: ServerStatements; readonly queue: ServerLink['queue'] },
  outbox: Outbox,
  statement: Statement,
): void {
  const evicted = link.statements.add(statement);
  if (evicted === null) return;
  outbox.push(closeMessage(evicted));
  link.queue.push(Kind.Close, Action.Skip, { kind: 'evict', statement: evicted });
}

/** The head of a message up to and including the statement's name, with the pool's name in place of the client's. */
function renamedHead(
  type: number,
  chunk: Buffer,
  at: number,
  nameStart: number,
  nameEnd: number,
  next: number,
  statement: Statement,
): Buffer {
  const prefix = nameStart - at;
  const head = Buffer.allocUnsafe(prefix + statement.serverName.length);
  head[0] = type;
  head.writeUInt32BE(next - at - 1 - (nameEnd - nameStart) + statement.serverName.length, 1);
  chunk.copy(head, 5, at + 5, nameStart);
  statement.serverName.copy(head, prefix);
  return head;
}

function isPooled(prepared: Statement | Prepared | undefined): prepared is Statement {
  return prepared !== undefined && 'serverName' in prepared;
}
