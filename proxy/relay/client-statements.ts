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
import { Frontend, TransactionStatus } from '../wire/codes.ts';
import { closeComplete, parseComplete } from './answers.ts';
import { maySteer } from './decide.ts';
import type { Outbox } from './outbox.ts';
import { Action, Kind, type Note, type Renaming } from './requests.ts';
import type { ServerLink } from './server-link.ts';
import { UNKNOWN, UnnamedStatement } from './unnamed-statement.ts';

/** What a client's statement name or the unnamed statement stands for. */
export interface Prepared {
  readonly class: StatementClass;
  /** Null when it was not kept (an unnamed read): then it counts as reading whatever it could. */
  readonly text: string | null;
}

/** A client's name for a statement of the pool's; as a note: what was sent bears the server-side name. */
export interface Pooled {
  readonly kind: 'pooled';
  /** Byte for byte, as latin1: nobody knows in which encoding it is. */
  readonly name: string;
  readonly statement: Statement;
}

/**
 * `DEALLOCATE name`, and nothing else. White space is what PostgreSQL takes for it: JavaScript's \s has bytes in common with
 * names, and a long text of those would cost the square of its length.
 */
const DEALLOCATE =
  /^[ \t\n\r\f\v]*deallocate[ \t\n\r\f\v]+(?:prepare[ \t\n\r\f\v]+)?(?:"(?<quoted>(?:[^"]|"")+)"|(?<plain>[a-z_\x80-\xff][\w$\x80-\xff]*))[ \t\n\r\f\v;]*$/i;

export class ClientStatements {
  readonly #store: StatementStore;
  readonly #renames: boolean;
  readonly #keepsText: boolean;
  readonly #names = new Map<string, Pooled | Prepared>();
  readonly #unnamed = new UnnamedStatement();

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

  /** The server goes to another client. */
  leaveServer(): void {
    this.#unnamed.leaveServer();
  }

  /** A statement of ours runs on the client's server. */
  serverRunsOurs(): void {
    this.#unnamed.displace();
  }

  /** A simple Query goes to the server. */
  simpleQuery(isFirst: boolean): Note {
    return this.#unnamed.forget(isFirst);
  }

  /** The client's statement that a Query `chunk[from, to)` deallocates; null for everything a server has to be asked about. */
  deallocatedBy(chunk: Buffer, from: number, to: number): string | null {
    if (!this.#renames) return null;
    const name = DEALLOCATE.exec(chunk.toString('latin1', from, to))?.groups;
    if (name === undefined) return null;
    const text =
      name.quoted?.replaceAll('""', '"') ?? name.plain!.replace(/[A-Z]+/g, (word) => word.toLowerCase());
    return isPooled(this.#names.get(text)) ? text : null;
  }

  /** The Query that says so is answered by us. The pool keeps the statement: it may be others', too. */
  deallocate(name: string): void {
    this.#names.delete(name);
    this.ownQuery();
  }

  /** A simple Query is answered by us. */
  ownQuery(): void {
    this.#unnamed.forgetHere();
  }

  /** What a Bind of `chunk[nameStart, nameEnd)` would run. */
  boundBy(chunk: Buffer, nameStart: number, nameEnd: number): Prepared {
    const prepared = nameStart === nameEnd ? this.#unnamed.prepared : this.#named(chunk, nameStart, nameEnd);
    if (prepared.class !== StatementClass.Execute) return prepared;
    return { class: this.classOfExecute, text: prepared.text };
  }

  #named(chunk: Buffer, nameStart: number, nameEnd: number): Prepared {
    const named = this.#names.get(chunk.toString('latin1', nameStart, nameEnd));
    return isPooled(named) ? named.statement : (named ?? UNKNOWN);
  }

  /**
   * What SQL's EXECUTE may do: it can run what was prepared by Parse, a COMMIT perhaps. Where names are mapped, none of the
   * client's own stands for anything in the server.
   */
  get classOfExecute(): StatementClass {
    if (!this.#renames)
      for (const named of this.#names.values())
        if (!isPooled(named) && maySteer(named.class)) return StatementClass.Opaque;
    return StatementClass.Write;
  }

  /** Whether a Parse of this name meets a statement the pool holds for this client already. */
  isTaken(chunk: Buffer, nameStart: number, nameEnd: number): boolean {
    return (
      this.#renames &&
      nameStart !== nameEnd &&
      isPooled(this.#names.get(chunk.toString('latin1', nameStart, nameEnd)))
    );
  }

  /** A statement of ours, which no server ever sees. */
  rememberOwn(name: string, text: string): void {
    const own = { class: StatementClass.MaybeTview, text };
    if (name === '') this.#unnamed.rememberOwn(own);
    else this.#names.set(name, own);
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
      const note = this.#unnamed.parse(prepared, chunk, at, link.queue.size === 0);
      link.queue.push(Kind.Parse, Action.Forward, note);
      return;
    }
    const name = chunk.toString('latin1', at + 5, nameEnd);
    link.queue.push(Kind.Parse, Action.Forward, { kind: 'name', renaming: this.#rename(name, prepared) });
  }

  #rename(name: string, to: Pooled | Prepared | undefined): Renaming {
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
    const name = chunk.toString('latin1', at + 5, nameEnd);
    const statement = this.#store.intern(chunk.subarray(nameEnd + 1, next));
    const taken = this.#names.get(name);
    outbox.cut(chunk, at, next);
    if (isPooled(taken)) {
      // The server says 42P05 as it would to a client of its own: by a name it does hold.
      this.#ensurePrepared(link, outbox, taken);
      outbox.push(taken.statement.parseMessage);
      link.queue.push(Kind.Parse, Action.Forward, { kind: 'duplicate', name, statement: taken.statement });
      return;
    }
    const renaming = this.#rename(name, { kind: 'pooled', name, statement });
    if (link.statements.has(statement)) {
      if (link.queue.running === 0 && link.status !== TransactionStatus.failed) {
        answer(link, Kind.Parse, parseComplete, renaming);
        return;
      }
      // In a failed transaction PostgreSQL refuses a Parse, and what runs may fail yet: it is for the server to say.
      link.statements.delete(statement);
      outbox.push(closeMessage(statement.serverName));
      link.queue.push(Kind.Close, Action.Skip, { kind: 'evict', statement });
    }
    outbox.push(statement.parseMessage);
    link.queue.push(Kind.Parse, Action.Forward, { kind: 'prepare', statement, name, renaming });
    addPrepared(link, outbox, statement);
  }

  #ensurePrepared(link: ServerLink, outbox: Outbox, { statement, name }: Pooled): void {
    if (statement === this.#store.nobody || link.statements.has(statement)) return;
    outbox.push(statement.parseMessage);
    link.queue.push(Kind.Parse, Action.Skip, { kind: 'prepare', statement, name, renaming: null });
    addPrepared(link, outbox, statement);
  }

  /**
   * What a name that is sent to the server has to become there; null: nothing, it goes as it is. A name that this client never
   * prepared must not reach what another has: the server does not know it (26000, in stream order).
   */
  #pooled(chunk: Buffer, nameStart: number, nameEnd: number): Pooled | null {
    if (!this.#renames) return null;
    const name = chunk.toString('latin1', nameStart, nameEnd);
    const named = this.#names.get(name);
    return isPooled(named) ? named : { kind: 'pooled', name, statement: this.#store.nobody };
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
      this.#ensureUnnamed(link, outbox, chunk, at);
      this.#unnamed.bound();
      link.queue.push(Kind.Bind, Action.Forward, null);
      return;
    }
    const pooled = this.#pooled(chunk, nameStart, nameEnd);
    if (pooled !== null) {
      const { serverName } = pooled.statement;
      outbox.cut(chunk, at, nameEnd + 1);
      this.#ensurePrepared(link, outbox, pooled);
      outbox.push(renamedHead(Frontend.Bind, chunk, at, nameStart, nameEnd + 1, next, serverName));
    }
    link.queue.push(Kind.Bind, Action.Forward, pooled);
  }

  /** Makes the server's unnamed statement the client's, ahead of the message at `at`. */
  #ensureUnnamed(link: ServerLink, outbox: Outbox, chunk: Buffer, at: number): void {
    if (this.#unnamed.isHere) return;
    const { message, isParse, note } = this.#unnamed.again;
    outbox.insert(message, chunk, at);
    link.queue.push(isParse ? Kind.Parse : Kind.Close, Action.Skip, note);
  }

  describe(link: ServerLink, outbox: Outbox, chunk: Buffer, at: number, next: number): void {
    let pooled: Pooled | null = null;
    if (chunk[at + 5] === STATEMENT) {
      if (isNameless(at, next)) this.#ensureUnnamed(link, outbox, chunk, at);
      else pooled = this.#pooled(chunk, at + 6, next - 1);
    }
    if (pooled !== null) {
      const { serverName } = pooled.statement;
      outbox.cut(chunk, at, next);
      this.#ensurePrepared(link, outbox, pooled);
      outbox.push(renamedHead(Frontend.Describe, chunk, at, at + 6, next, next, serverName));
    }
    link.queue.push(Kind.Describe, Action.Forward, pooled);
  }

  close(link: ServerLink, outbox: Outbox, chunk: Buffer, at: number, next: number): void {
    if (chunk[at + 5] !== STATEMENT) {
      link.queue.push(Kind.Close, Action.Forward, null);
    } else if (isNameless(at, next)) {
      link.queue.push(Kind.Close, Action.Forward, this.#unnamed.forget(link.queue.size === 0));
    } else {
      const renaming = this.#rename(chunk.toString('latin1', at + 6, next - 1), undefined);
      if (this.#renames) {
        outbox.cut(chunk, at, next);
        answer(link, Kind.Close, closeComplete, renaming);
      } else {
        link.queue.push(Kind.Close, Action.Forward, { kind: 'name', renaming });
      }
    }
  }

  /** The server never ran this request. @param failed it tried, and what it ignored is behind this */
  undo(note: Note, failed: boolean): void {
    switch (note.kind) {
      case 'name':
      case 'answer':
      case 'prepare':
        if (note.renaming === null) return;
        if (note.renaming.before === undefined) this.#names.delete(note.renaming.name);
        else this.#names.set(note.renaming.name, note.renaming.before);
        return;
      case 'unnamed':
        if (failed || note.before === null) this.#unnamed.parseFailed();
        else this.#unnamed.restore(note.before);
        return;
      case 'unnamed-again':
        this.#unnamed.displace();
        return;
      default:
    }
  }
}

/** Describe and Close: S means a statement, P a portal. */
const STATEMENT = 0x53;

/** Describe and Close: of the unnamed statement. */
function isNameless(at: number, next: number): boolean {
  return next <= at + 7;
}

/** Shared: a client's reads cost no object each. */
const WITHOUT_TEXT: readonly Prepared[] = Object.values(StatementClass).map((statementClass) => ({
  class: statementClass,
  text: null,
}));

function withoutText(statementClass: StatementClass): Prepared {
  return WITHOUT_TEXT[statementClass]!;
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
  outbox.push(closeMessage(evicted.serverName));
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

function isPooled(named: Pooled | Prepared | undefined): named is Pooled {
  return named !== undefined && 'statement' in named;
}
