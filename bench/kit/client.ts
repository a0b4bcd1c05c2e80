/**
 * A client that costs as little as possible beside what it measures: messages are built beforehand, answers are counted
 * and not decoded. One step is one write and the wait for its ReadyForQuery: a round trip as an application makes it.
 */
import { connect, type Socket } from 'node:net';
import { Backend } from '../../proxy/wire/codes.ts';
import { bind, execute, parse, query, sync } from '../../proxy/wire/messages/requests.ts';
import { startupMessage } from '../../proxy/wire/messages/startup.ts';

/** What is sent in one write. */
export interface Step {
  readonly bytes: Buffer;
  /** ReadyForQuery messages that end it. */
  readonly ready: number;
}

/** Messages of one step that somebody may want: notices and results of function calls. */
export interface Answer {
  readonly notices: readonly Buffer[];
  readonly functionResult: Buffer | null;
  readonly rows: readonly Buffer[];
}

export const simple = (text: string): Step => ({ bytes: query(text), ready: 1 });

/** Executions of prepared statements, all in one write, with one Sync. */
export function prepared(
  ...calls: readonly { readonly name: string; readonly values: readonly string[] }[]
): Step {
  const messages = calls.flatMap(({ name, values }) => [bind({ statement: name, values }), execute()]);
  return { bytes: Buffer.concat([...messages, sync]), ready: 1 };
}

export const together = (...steps: readonly Step[]): Step => ({
  bytes: Buffer.concat(steps.map(({ bytes }) => bytes)),
  ready: steps.reduce((sum, { ready }) => sum + ready, 0),
});

export class BenchClient {
  readonly #socket: Socket;
  #rest: Buffer | null = null;
  #awaited = 0;
  #notices: Buffer[] = [];
  #rows: Buffer[] = [];
  #functionResult: Buffer | null = null;
  #error: Error | null = null;
  #done: ((answer: Answer) => void) | null = null;
  #failed: ((error: Error) => void) | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => this.#end(error));
    socket.on('close', () => this.#end(new Error('the server closed the connection')));
  }

  /** The server must trust us: its answer to the startup message is taken to be the welcome. */
  static async connect(url: string): Promise<BenchClient> {
    const { hostname, port, username, pathname } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const client = new BenchClient(socket);
    const parameters = new Map([
      ['user', decodeURIComponent(username)],
      ['database', pathname.slice(1)],
    ]);
    await client.run({ bytes: startupMessage(parameters), ready: 1 });
    return client;
  }

  async prepare(name: string, text: string): Promise<void> {
    await this.run({ bytes: Buffer.concat([parse(name, text), sync]), ready: 1 });
  }

  /** @throws the first error the server reported, after the step's last ReadyForQuery */
  run(step: Step): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#done = resolve;
      this.#failed = reject;
      this.#awaited = step.ready;
      this.#socket.write(step.bytes);
    });
  }

  async runAll(steps: readonly Step[]): Promise<void> {
    for (const step of steps) await this.run(step);
  }

  close(): void {
    this.#failed = null;
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    const buffer = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = null;
    let at = 0;
    while (buffer.length - at >= 5) {
      const end = at + 1 + buffer.readUInt32BE(at + 1);
      if (end > buffer.length) break;
      this.#message(buffer[at]!, buffer.subarray(at + 5, end));
      at = end;
    }
    if (at < buffer.length) this.#rest = buffer.subarray(at);
  }

  #message(code: number, body: Buffer): void {
    switch (code) {
      case Backend.NoticeResponse:
        this.#notices.push(Buffer.from(body));
        break;
      case Backend.DataRow:
        this.#rows.push(Buffer.from(body));
        break;
      case Backend.FunctionCallResponse:
        this.#functionResult = Buffer.from(body);
        break;
      case Backend.ErrorResponse:
        this.#error ??= new Error(`the server said: ${reportField(body, 'M')} (${reportField(body, 'C')})`);
        break;
      case Backend.ReadyForQuery:
        this.#awaited -= 1;
        if (this.#awaited === 0) this.#settle();
    }
  }

  #settle(): void {
    const answer = { notices: this.#notices, functionResult: this.#functionResult, rows: this.#rows };
    const error = this.#error;
    const [done, failed] = [this.#done, this.#failed];
    this.#notices = [];
    this.#rows = [];
    this.#functionResult = null;
    this.#error = null;
    this.#done = null;
    this.#failed = null;
    if (error === null) done?.(answer);
    else failed?.(error);
  }

  /** A FATAL error says more than the closed connection that follows it. */
  #end(error: Error): void {
    this.#failed?.(this.#error ?? error);
    this.#failed = null;
  }
}

/** A field of ErrorResponse or NoticeResponse. */
export function reportField(body: Buffer, letter: string): string | undefined {
  return body
    .toString('utf8')
    .split('\0')
    .find((part) => part.startsWith(letter))
    ?.slice(1);
}
