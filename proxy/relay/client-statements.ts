/**
 * One client's prepared statements: what its names stand for, and how messages that carry such a name reach a server
 * that knows the statement by the pool's name. In session mode names go out as they are and are only remembered.
 */

import { StatementClass } from '../statements/classify.ts';
import {
  closeMessage,
  type ServerStatements,
  type Statement,
  type StatementStore,
} from '../statements/store.ts';
import { Frontend } from '../wire/codes.ts';
import { closeComplete, parseComplete } from './answers.ts';
import { maySteer } from './decide.ts';
import type { Outbox } from './outbox.ts';
import { Action, Kind, type Note, type Renaming } from './requests.ts';
import type { ServerLink } from './server-link.ts';

/** What a client's statement name or the unnamed statement stands for. */
export interface Prepared {
  readonly class: StatementClass;
  /** Null when it was not kept (an unnamed read): then it counts as reading whatever it could. */
  readonly text: string | null;
}

/** Whatever a name stands for that this client never prepared: SQL's PREPARE has made it, or another client. */
const UNKNOWN: Prepared = { class: StatementClass.Opaque, text: null };
const UNNAMED: Note = { kind: 'unnamed' };
/** An unnamed statement's Parse message is kept for another server up to this size. */
const KEPT_UNNAMED_BYTES = 4_096;
/** Sent in place of the unnamed statement where the server's is another client's: no such name exists (26000). */
const NOWHERE = Buffer.from('unnamed\0');

export class ClientStatements {
  readonly #store: StatementStore;
  readonly #renames: boolean;
  readonly #keepsText: boolean;
  readonly #names = new Map<string, Statement | Prepared>();
  #unnamed: Prepared = UNKNOWN;
  /** The server's unnamed statement is this client's. */
  #unnamedIsHere = false;
  /** Holds its Parse message at `#unnamedFrom`, for another server. */
  #unnamedChunk: Buffer | null = null;
  #unnamedFrom = 0;
  #unnamedIsBound = false;

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

  /**
   * The server goes to another client. Some clients prepare the unnamed statement in one batch and bind it in the next:
   * on another server it is prepared again then. A long one that was bound is not kept, for hardly any binds twice.
   */
  leaveServer(): void {
    if (!this.#unnamedIsHere) return;
    this.#unnamedIsHere = false;
    if (this.#unnamedChunk === null) return;
    if (this.#unnamedChunk.length <= KEPT_UNNAMED_BYTES) return;
    const message = parseAt(this.#unnamedChunk, this.#unnamedFrom);
    const keeps = !this.#unnamedIsBound || message.length <= KEPT_UNNAMED_BYTES;
    // A copy: it may be kept for long, and must not keep the whole large chunk it came in.
    this.#unnamedChunk = keeps ? Buffer.from(message) : null;
    this.#unnamedFrom = 0;
  }

  /** What a Bind of `chunk[nameStart, nameEnd)` would run. */
  boundBy(chunk: Buffer, nameStart: number, nameEnd: number): Prepared {
    const prepared =
      nameStart === nameEnd
        ? this.#unnamed
        : (this.#names.get(chunk.toString('utf8', nameStart, nameEnd)) ?? UNKNOWN);
    if (prepared.class !== StatementClass.Execute) return prepared;
    return { class: this.classOfExecute, text: prepared.text };
  }

  /**
   * What SQL's EXECUTE may do: it can run what was prepared by Parse, a COMMIT perhaps. Where names are mapped, none of the
   * client's own stands for anything in the server.
   */
  get classOfExecute(): StatementClass {
    if (!this.#renames)
      for (const prepared of this.#names.values()) if (maySteer(prepared.class)) return StatementClass.Opaque;
    return StatementClass.Write;
  }

  /** Whether a Parse of this name meets a statement the pool holds for this client already. */
  isTaken(chunk: Buffer, nameStart: number, nameEnd: number): boolean {
    return (
      this.#renames &&
      nameStart !== nameEnd &&
      isPooled(this.#names.get(chunk.toString('utf8', nameStart, nameEnd)))
    );
  }

  /** A statement of ours, which no server ever sees. */
  rememberOwn(name: string, text: string): void {
    const own = { class: StatementClass.MaybeTview, text };
    if (name !== '') {
      this.#names.set(name, own);
      return;
    }
    this.#unnamed = own;
    this.#unnamedIsHere = false;
    this.#unnamedChunk = null;
  }

  /** A Parse at `at`, with its name and text ending at the given zeros. */
  parse(
    link: ServerLink,
    outbox: Outbox,
    statementClass: StatementClass,
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
    const prepared =
      this.#keepsText && (!isUnnamed || statementClass !== StatementClass.Read)
        ? { class: statementClass, text: chunk.toString('utf8', nameEnd + 1, textEnd) }
        : withoutText(statementClass);
    if (isUnnamed) {
      this.#unnamed = prepared;
      this.#unnamedIsHere = true;
      this.#unnamedIsBound = false;
      this.#unnamedChunk = chunk;
      this.#unnamedFrom = at;
      link.queue.push(Kind.Parse, Action.Forward, UNNAMED);
      return;
    }
    const name = chunk.toString('utf8', at + 5, nameEnd);
    link.queue.push(Kind.Parse, Action.Forward, { kind: 'name', renaming: this.#rename(name, prepared) });
  }

  #rename(name: string, to: Statement | Prepared | undefined): Renaming {
    const before = this.#names.get(name);
    if (to === undefined) this.#names.delete(name);
    else this.#names.set(name, to);
    return { name, before };
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
    const renaming = this.#rename(name, statement);
    if (link.statements.has(statement)) {
      answer(link, Kind.Parse, parseComplete, renaming);
      return;
    }
    outbox.push(statement.parseMessage);
    link.queue.push(Kind.Parse, Action.Forward, { kind: 'prepare', statement, renaming });
    addPrepared(link, outbox, statement);
  }

  #ensurePrepared(link: ServerLink, outbox: Outbox, statement: Statement): void {
    if (link.statements.has(statement)) return;
    outbox.push(statement.parseMessage);
    link.queue.push(Kind.Parse, Action.Skip, { kind: 'prepare', statement, renaming: null });
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
    if (nameStart === nameEnd) {
      if (!this.#unnamedIsHere) {
        outbox.cut(chunk, at, nameEnd + 1);
        const name = this.#unnamedAgain(link, outbox);
        outbox.push(renamedHead(Frontend.Bind, chunk, at, nameStart, nameEnd + 1, next, name));
      }
      this.#unnamedIsBound = true;
    } else {
      const named = this.#names.get(chunk.toString('utf8', nameStart, nameEnd));
      if (isPooled(named)) {
        outbox.cut(chunk, at, nameEnd + 1);
        this.#ensurePrepared(link, outbox, named);
        const { serverName } = named;
        outbox.push(renamedHead(Frontend.Bind, chunk, at, nameStart, nameEnd + 1, next, serverName));
      }
    }
    // A name the client never prepared goes to the server as it is: 26000, in stream order.
    link.queue.push(Kind.Bind, Action.Forward, null);
  }

  /** Prepares the unnamed statement on this server too. @returns the name to bind or describe it by */
  #unnamedAgain(link: ServerLink, outbox: Outbox): Buffer {
    if (this.#unnamedChunk === null) return NOWHERE;
    outbox.push(parseAt(this.#unnamedChunk, this.#unnamedFrom));
    link.queue.push(Kind.Parse, Action.Skip, UNNAMED);
    this.#unnamedIsHere = true;
    return NO_NAME;
  }

  describe(link: ServerLink, outbox: Outbox, chunk: Buffer, at: number, next: number): void {
    if (chunk[at + 5] === STATEMENT) {
      const name = this.#describedName(link, outbox, chunk, at, next);
      if (name !== null) outbox.push(renamedHead(Frontend.Describe, chunk, at, at + 6, next, next, name));
    }
    link.queue.push(Kind.Describe, Action.Forward, null);
  }

  /** Null where the message goes out as it is. */
  #describedName(link: ServerLink, outbox: Outbox, chunk: Buffer, at: number, next: number): Buffer | null {
    if (next <= at + 7) {
      if (this.#unnamedIsHere) return null;
      outbox.cut(chunk, at, next);
      return this.#unnamedAgain(link, outbox);
    }
    const named = this.#names.get(chunk.toString('utf8', at + 6, next - 1));
    if (!isPooled(named)) return null;
    outbox.cut(chunk, at, next);
    this.#ensurePrepared(link, outbox, named);
    return named.serverName;
  }

  close(link: ServerLink, outbox: Outbox, chunk: Buffer, at: number, next: number): void {
    if (chunk[at + 5] === STATEMENT && next > at + 7) {
      const renaming = this.#rename(chunk.toString('utf8', at + 6, next - 1), undefined);
      if (this.#renames) {
        outbox.cut(chunk, at, next);
        answer(link, Kind.Close, closeComplete, renaming);
      } else {
        link.queue.push(Kind.Close, Action.Forward, { kind: 'name', renaming });
      }
      return;
    }
    link.queue.push(Kind.Close, Action.Forward, null);
  }

  /** A Parse or Close that the server never ran. */
  undo(note: Note): void {
    switch (note.kind) {
      case 'name':
      case 'answer':
      case 'prepare':
        if (note.renaming === null) return;
        if (note.renaming.before === undefined) this.#names.delete(note.renaming.name);
        else this.#names.set(note.renaming.name, note.renaming.before);
        return;
      case 'unnamed':
        // The server may still hold the one before it, or none, or another client's.
        this.#unnamed = UNKNOWN;
        this.#unnamedIsHere = false;
        this.#unnamedChunk = null;
        return;
      default:
    }
  }
}

/** Describe and Close: S means a statement, P a portal. */
const STATEMENT = 0x53;
const NO_NAME = Buffer.from([0]);

/** Shared: a client's reads cost no object each. */
const WITHOUT_TEXT: readonly Prepared[] = Object.values(StatementClass).map((statementClass) => ({
  class: statementClass,
  text: null,
}));

function withoutText(statementClass: StatementClass): Prepared {
  return WITHOUT_TEXT[statementClass]!;
}

function parseAt(chunk: Buffer, at: number): Buffer {
  return chunk.subarray(at, at + 1 + chunk.readUInt32BE(at + 1));
}

/** In the server's place: now if nothing is outstanding, else in its turn. */
function answer(link: ServerLink, kind: Kind, bytes: Uint8Array, renaming: Renaming): void {
  if (link.queue.size === 0) link.owner!.client.write(bytes);
  else link.queue.push(kind, Action.Fake, { kind: 'answer', bytes, renaming });
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

/** The head of a message up to and including the statement's name, with another name in place of the client's. */
function renamedHead(
  type: number,
  chunk: Buffer,
  at: number,
  nameStart: number,
  nameEnd: number,
  next: number,
  name: Buffer,
): Buffer {
  const prefix = nameStart - at;
  const head = Buffer.allocUnsafe(prefix + name.length);
  head[0] = type;
  head.writeUInt32BE(next - at - 1 - (nameEnd - nameStart) + name.length, 1);
  chunk.copy(head, 5, at + 5, nameStart);
  name.copy(head, prefix);
  return head;
}

function isPooled(prepared: Statement | Prepared | undefined): prepared is Statement {
  return prepared !== undefined && 'serverName' in prepared;
}
