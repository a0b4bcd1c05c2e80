/** A raw session on a server connection, for tests: sends bytes, collects messages up to ReadyForQuery. */
import type { ServerLogin } from '../../../proxy/server/handshake.ts';
import { Backend } from '../../../proxy/wire/codes.ts';
import { MessageAssembler, type WholeMessage } from '../../../proxy/wire/messages/assembler.ts';
import { query } from '../../../proxy/wire/messages/requests.ts';

export class RawSession {
  readonly login: ServerLogin;

  constructor(login: ServerLogin) {
    this.login = login;
  }

  /** All messages that answer the bytes, ReadyForQuery included. */
  ask(bytes: Buffer): Promise<WholeMessage[]> {
    const input = new MessageAssembler(1 << 20);
    const messages: WholeMessage[] = [];
    const { wire } = this.login;
    return new Promise((resolve, reject) => {
      wire.onClose = (error) => reject(error ?? new Error('server closed the connection'));
      wire.onBytes = (chunk) => {
        input.push(chunk);
        for (let message = input.message(); message !== null; message = input.message()) {
          messages.push(message);
          if (message.code === Backend.ReadyForQuery) resolve(messages);
        }
      };
      wire.write(bytes);
    });
  }

  query(text: string): Promise<WholeMessage[]> {
    return this.ask(query(text));
  }

  /** The first column of the first row, as text. */
  async value(text: string): Promise<string> {
    const row = (await this.query(text)).find(({ code }) => code === Backend.DataRow);
    if (row === undefined) throw new Error(`no row: ${text}`);
    return row.body.toString('utf8', 6, 6 + row.body.readInt32BE(2));
  }

  close(): void {
    this.login.wire.onClose = () => {};
    this.login.wire.destroy();
  }
}
