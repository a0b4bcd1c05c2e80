/**
 * Named prepared statements across the pool: one entry per (text, parameter types), whatever name each client gave
 * it, with one server-side name. Entries live as long as a client names them or a server still holds them.
 */
import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { classify, type StatementClass } from './classify.ts';

/** A statement as the pool knows it. */
export interface Statement {
  readonly id: number;
  /** With its terminating zero. */
  readonly serverName: Buffer;
  /** The whole Parse message under the server-side name, ready to send. */
  readonly parseMessage: Buffer;
  /** Query text. */
  readonly text: string;
  readonly class: StatementClass;
}

const PARSE = 0x50;
const CLOSE = 0x43;

export class StatementStore {
  readonly #prefix: string;
  #nextId = 0;
  /** By the bytes of the Parse message behind the name: query, zero, parameter types. */
  readonly #byBody: LRUCache<string, Statement>;

  /** Stands for every name its client never prepared: no server holds it. */
  readonly nobody: Statement;

  /**
   * @param maxBytes bound on the text kept for statements; evicting one only means that the same text gets a new id.
   * @param prefix of server-side names. Nobody shall guess them: with SQL's PREPARE and DEALLOCATE every client reaches
   *   every name of the server it is on.
   */
  constructor(maxBytes: number, prefix = `tviews_${randomBytes(8).toString('hex')}`) {
    this.#prefix = prefix;
    this.nobody = this.#create(Buffer.from([0, 0, 0]));
    this.#byBody = new LRUCache<string, Statement>({
      maxSize: maxBytes,
      // The message, its key and its text: three copies.
      sizeCalculation: (s) => 3 * s.parseMessage.length,
    });
  }

  /** @param body of a Parse message behind the statement's name; copied. */
  intern(body: Buffer): Statement {
    const key = body.toString('latin1');
    const known = this.#byBody.get(key);
    if (known !== undefined) return known;
    const statement = this.#create(body);
    this.#byBody.set(key, statement);
    return statement;
  }

  /** The statement's plan no longer fits its tables: whoever prepares its text from now on gets another one. */
  forget(statement: Statement): void {
    const key = statement.parseMessage.toString('latin1', 5 + statement.serverName.length);
    if (this.#byBody.peek(key) === statement) this.#byBody.delete(key);
  }

  #create(body: Buffer): Statement {
    const id = this.#nextId;
    this.#nextId += 1;
    const serverName = Buffer.from(`${this.#prefix}_${id}\0`, 'latin1');
    const parseMessage = Buffer.allocUnsafeSlow(5 + serverName.length + body.length);
    parseMessage[0] = PARSE;
    parseMessage.writeInt32BE(parseMessage.length - 1, 1);
    serverName.copy(parseMessage, 5);
    body.copy(parseMessage, 5 + serverName.length);
    const textEnd = body.indexOf(0);
    return {
      id,
      serverName,
      parseMessage,
      text: body.toString('utf8', 0, textEnd),
      class: classify(body, 0, textEnd),
    };
  }

  get size(): number {
    return this.#byBody.size;
  }

  get bytes(): number {
    return this.#byBody.calculatedSize;
  }
}

/**
 * Which statements one server connection holds, least recently used first out. Exactly what it holds: nothing leaves
 * by itself, for a statement forgotten here would be parsed again under a name that is taken (42P05).
 */
export class ServerStatements {
  /** The least recently used one first. */
  readonly #held = new Map<number, Statement>();
  readonly #max: number;
  /** The one used last: most often it is used again. */
  #latest: Statement | null = null;

  constructor(max: number) {
    this.#max = max;
  }

  /** Also marks it as used. */
  has(statement: Statement): boolean {
    if (this.#latest === statement) return true;
    if (!this.#held.delete(statement.id)) return false;
    this.#held.set(statement.id, statement);
    this.#latest = statement;
    return true;
  }

  /** Adds it and names the statement that has to be closed to make room, if any. */
  add(statement: Statement): Statement | null {
    let evicted: Statement | null = null;
    if (this.#held.size >= this.#max) {
      for (const oldest of this.#held.values()) {
        evicted = oldest;
        this.#held.delete(oldest.id);
        break;
      }
    }
    this.#held.set(statement.id, statement);
    this.#latest = statement;
    return evicted;
  }

  delete(statement: Statement): void {
    this.#held.delete(statement.id);
    if (this.#latest === statement) this.#latest = null;
  }

  /** Back after a Close that the server never ran. */
  restore(statement: Statement): void {
    this.#held.set(statement.id, statement);
  }

  clear(): void {
    this.#held.clear();
    this.#latest = null;
  }

  get size(): number {
    return this.#held.size;
  }
}

/** The Close message of a server-side statement. @param serverName with its terminating zero */
export function closeMessage(serverName: Buffer): Buffer {
  const message = Buffer.allocUnsafeSlow(6 + serverName.length);
  message[0] = CLOSE;
  message.writeInt32BE(message.length - 1, 1);
  message[5] = 0x53; // S, a statement
  serverName.copy(message, 6);
  return message;
}
