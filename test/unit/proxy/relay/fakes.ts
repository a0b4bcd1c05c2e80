/**
 * A session between two scripted ends: the test plays the client and the server byte by byte, and sees what each was
 * sent. The pool has one server; refresh knows one source (tb_source) and one tview (tv_view).
 */

import type { OwnResult } from '../../../../proxy/relay/answers.ts';
import type { ServerSource, SessionRefresh, TviewDdl, Wire } from '../../../../proxy/relay/ports.ts';
import type { Note } from '../../../../proxy/relay/requests.ts';
import { ServerLink } from '../../../../proxy/relay/server-link.ts';
import { Session } from '../../../../proxy/relay/session.ts';
import { ParameterValues } from '../../../../proxy/server/parameters.ts';
import { ServerStatements, StatementStore } from '../../../../proxy/statements/store.ts';
import { functionCall } from '../../../../proxy/wire/messages/requests.ts';
import { TrackedParameters } from '../../../../proxy/wire/parameters.ts';
import { silentLogger } from '../../../../src/observe/log.ts';
import { RefreshState } from '../../../../src/refresh/state.ts';

export class FakeWire implements Wire {
  onBytes: (chunk: Buffer) => void = () => {};
  onClose: (error: Error | null) => void = () => {};
  onDrain: () => void = () => {};
  closed = false;
  ended = false;
  paused = false;
  pendingBytes = 0;
  #written: Buffer[] = [];

  /** Everything written since the last call. */
  take(): Buffer {
    const all = Buffer.concat(this.#written);
    this.#written = [];
    return all;
  }

  write(bytes: Uint8Array): void {
    // A copy: what was written may stand in memory that is reused.
    this.#written.push(Buffer.from(bytes));
  }
  cork(): void {}
  uncork(): void {}
  retain(): void {}
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  end(bytes?: Uint8Array): void {
    if (bytes !== undefined) this.write(bytes);
    this.ended = true;
  }
  destroy(): void {
    if (this.closed) return;
    this.closed = true;
    this.onClose(null);
  }
}

/** What the session asks of refresh, with the real state and messages one can recognise. */
export class FakeRefresh implements SessionRefresh {
  readonly state = new RefreshState(1_000_000);
  readonly flushed: string[] = [];
  readonly failed: string[] = [];
  readonly late: string[] = [];
  get isEmpty(): boolean {
    return this.state.isEmpty;
  }
  get claimed(): boolean {
    return this.state.claimed;
  }
  get mayBeClaimed(): boolean {
    return this.state.mayBeClaimed;
  }
  get hasPending(): boolean {
    return this.state.hasPending;
  }

  get hasFlushed(): boolean {
    return this.state.hasFlushed;
  }

  get mayOwe(): boolean {
    return this.state.mayOwe;
  }

  ranUnclaimed(): void {
    this.state.ranUnclaimed();
  }
  namesSource(text: string): boolean {
    return text.includes('tb_source');
  }
  namesTview(text: string): boolean {
    return text.includes('tv_view');
  }
  claimMessage(): Buffer {
    this.state.claim();
    return functionCall(CLAIM, []);
  }
  flushMessage(release: boolean): Buffer {
    const changes = this.state.takePending();
    if (release) this.state.release();
    return functionCall(FLUSH, [changes]);
  }
  onChange(message: string): boolean {
    this.state.add({ source: 1, text: message });
    return true;
  }
  owesRepair = false;
  /** Resolves the repair under way; null when there is none. */
  repaired: (() => void) | null = null;
  onSchemaChange(isLikely: boolean): void {
    if (isLikely) this.owesRepair = true;
  }
  onRepairOwed(): boolean {
    this.owesRepair = true;
    return true;
  }
  repair(): Promise<void> | null {
    if (!this.owesRepair) return null;
    this.owesRepair = false;
    return new Promise((resolve) => {
      this.repaired = resolve;
    });
  }
  flushLate(): void {
    this.late.push(this.state.takePending());
  }
  onFlushed(note: Note): void {
    if (note.kind === 'flush') this.flushed.push(note.trigger);
  }
  onFlushFailed(note: Note, report: { fields: ReadonlyMap<string, string> }): ReadonlyMap<string, string> {
    if (note.kind === 'flush') this.failed.push(note.trigger);
    return report.fields;
  }
  onCommitted(): void {
    this.state.committed();
  }
  onRolledBack(): void {
    this.state.rollbackTo();
  }
  clear(): void {
    this.state.clear();
  }
}

const CLAIM = 1;
const FLUSH = 2;

/** A statement of ours whose end the test decides. */
export class FakeDdl implements TviewDdl {
  runs: string[] = [];
  finish: (result: OwnResult) => void = () => {};
  fail: (error: Error) => void = () => {};
  recognises(text: string): boolean {
    return text.startsWith('CREATE TVIEW');
  }
  rowColumn(): string | null {
    return null;
  }
  run(text: string): Promise<OwnResult> {
    this.runs.push(text);
    return new Promise((finish, fail) => {
      this.finish = finish;
      this.fail = fail;
    });
  }
}

export interface ConversationOptions {
  readonly mode?: 'session' | 'transaction' | 'statement';
  readonly maxPreparedStatements?: number;
  /** The pool has no server until `assign` is called. */
  readonly waits?: boolean;
  readonly store?: StatementStore;
}

export interface Conversation {
  readonly client: FakeWire;
  readonly server: FakeWire;
  readonly link: ServerLink;
  readonly session: Session;
  readonly refresh: FakeRefresh;
  readonly ddl: FakeDdl;
  readonly released: ServerLink[];
  readonly closed: string[];
  /** The client sends these in one packet. */
  sends(...messages: readonly Uint8Array[]): void;
  /** The server sends these in one packet. */
  answers(...messages: readonly Uint8Array[]): void;
  /** Messages the server was sent since the last call, as type letters with what matters of them. */
  atServer(): string[];
  atClient(): string[];
  /** The pool has found the server. */
  assign(): void;
}

export function newLink(wire: Wire, maxPreparedStatements = 200): ServerLink {
  return new ServerLink(wire, {
    processId: 1,
    secretKey: Buffer.alloc(4),
    parameters: new ParameterValues(tracked),
    statements: new ServerStatements(maxPreparedStatements),
  });
}

const tracked = new TrackedParameters();

export function conversation(options: ConversationOptions = {}): Conversation {
  const mode = options.mode ?? 'transaction';
  const client = new FakeWire();
  const server = new FakeWire();
  const link = newLink(server, options.maxPreparedStatements);
  const refresh = new FakeRefresh();
  const ddl = new FakeDdl();
  const released: ServerLink[] = [];
  const closed: string[] = [];
  let free = options.waits !== true;
  const source: ServerSource = {
    mode,
    acquire: () => {
      if (!free) return null;
      free = false;
      return link;
    },
    leave: () => {},
    release: (back) => {
      released.push(back);
      free = back.isReusable;
    },
    stats: {
      queries: 0,
      transactions: 0,
      receivedBytes: 0,
      observeQuery: () => {},
      observeTransaction: () => {},
    },
  };
  const session = new Session({
    client,
    source,
    store: options.store ?? new StatementStore(1_000_000, 'tviews'),
    renamesStatements: mode !== 'session',
    parameters: new ParameterValues(tracked),
    refresh,
    ddl,
    log: silentLogger(),
    onClosed: (_session, reason) => closed.push(reason),
  });
  return {
    client,
    server,
    link,
    session,
    refresh,
    ddl,
    released,
    closed,
    sends: (...messages) => client.onBytes(Buffer.concat(messages)),
    answers: (...messages) => server.onBytes(Buffer.concat(messages)),
    atServer: () => shownRequests(server.take()),
    atClient: () => shownAnswers(client.take()),
    assign: () => session.assigned(link),
  };
}

function* messagesIn(bytes: Buffer): Generator<{ type: string; body: Buffer }> {
  let at = 0;
  while (at < bytes.length) {
    const next = at + 1 + bytes.readUInt32BE(at + 1);
    if (next > bytes.length) throw new Error('the bytes end in the middle of a message');
    yield { type: String.fromCharCode(bytes[at]!), body: bytes.subarray(at + 5, next) };
    at = next;
  }
}

const text = (body: Buffer, from = 0): string => body.toString('utf8', from, body.indexOf(0, from));

function shownRequests(bytes: Buffer): string[] {
  return [...messagesIn(bytes)].map(({ type, body }) => {
    switch (type) {
      case 'F':
        return body.readUInt32BE(0) === CLAIM ? 'claim' : 'flush';
      case 'Q':
        return `Q(${text(body)})`;
      case 'P':
        return `P(${text(body)}: ${text(body, body.indexOf(0) + 1)})`;
      case 'B':
        return `B(${text(body)}: ${text(body, body.indexOf(0) + 1)})`;
      case 'E':
        return `E(${text(body)})`;
      case 'C':
      case 'D':
        return `${type}(${String.fromCharCode(body[0]!)} ${text(body, 1)})`;
      default:
        return type;
    }
  });
}

function shownAnswers(bytes: Buffer): string[] {
  return [...messagesIn(bytes)].map(({ type, body }) => {
    switch (type) {
      case 'Z':
        return `Z(${body.toString('latin1')})`;
      case 'C':
        return `C(${text(body)})`;
      case 'E':
      case 'N': {
        const at = body.indexOf('\0M') + 2;
        return `${type}(${body.toString('utf8', at, body.indexOf(0, at))})`;
      }
      default:
        return type;
    }
  });
}

// ---- what a server says

const message = (type: string, body: Buffer = Buffer.alloc(0)): Buffer => {
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};

export const rawMessage = message;
export const ready = (status: 'I' | 'T' | 'E'): Buffer => message('Z', Buffer.from(status));
export const complete = (tag: string): Buffer => message('C', Buffer.from(`${tag}\0`));
export const parsed = message('1');
export const bound = message('2');
export const statementClosed = message('3');
export const noData = message('n');
export const copyIn = message('G', Buffer.from([0, 0, 0]));
export const called = message('V', Buffer.from([0, 0, 0, 2, 0x5b, 0x5d]));
export const rowDescription = message('T', Buffer.from([0, 0]));
export const row = (value: string): Buffer => {
  const body = Buffer.alloc(6 + Buffer.byteLength(value));
  body.writeInt16BE(1, 0);
  body.writeInt32BE(Buffer.byteLength(value), 2);
  body.write(value, 6);
  return message('D', body);
};
export const failure = (text: string, code = '22012'): Buffer =>
  message('E', Buffer.from(`SERROR\0VERROR\0C${code}\0M${text}\0\0`));
export const notice = (text: string, code = '00000'): Buffer =>
  message('N', Buffer.from(`SNOTICE\0VNOTICE\0C${code}\0M${text}\0\0`));
export const change = (text: string): Buffer =>
  message('N', Buffer.from(`SINFO\0VINFO\0CTV001\0M${text}\0\0`));
export const repairOwed = message('N', Buffer.from('SINFO\0VINFO\0CTV002\0Mlook again\0\0'));
