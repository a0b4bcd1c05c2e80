/** Logging in for the raw client, with the proxy's own SCRAM code (proved against PostgreSQL elsewhere). */
import {
  checkServerFinal,
  clientFirst,
  proveToServer,
  SCRAM_MECHANISM,
} from '../../proxy/wire/authentication/scram.ts';
import {
  passwordMessage,
  readAuthentication,
  saslInitialResponse,
  saslResponse,
} from '../../proxy/wire/messages/authentication.ts';

export interface RawMessage {
  /** Type letter. */
  readonly type: string;
  readonly body: Buffer;
}

/** What logging in needs of a client. */
interface Conversation {
  send(...messages: readonly Uint8Array[]): void;
  next(): Promise<RawMessage | null>;
}

export async function authenticateRaw(client: Conversation, password: string): Promise<void> {
  const request = async () => {
    const message = await client.next();
    if (message?.type !== 'R') {
      throw new Error(
        `login failed: ${message === null ? 'connection closed' : (field(message.body, 'M') ?? message.type)}`,
      );
    }
    return readAuthentication(message.body);
  };
  const first = await request();
  if (first.kind === 'ok') return;
  if (first.kind === 'cleartext') {
    client.send(passwordMessage(password));
    await request();
    return;
  }
  if (first.kind !== 'sasl') throw new Error(`cannot log in by ${first.kind}`);
  const mine = clientFirst();
  client.send(saslInitialResponse(SCRAM_MECHANISM, mine.gs2Header + mine.bare));
  const challenge = await request();
  if (challenge.kind !== 'sasl-continue') throw new Error('unexpected SASL message');
  const proof = await proveToServer(mine, challenge.data, { kind: 'password', password });
  client.send(saslResponse(proof.clientFinal));
  const final = await request();
  if (final.kind !== 'sasl-final') throw new Error('unexpected SASL message');
  checkServerFinal(final.data, proof.serverSignature);
  await request();
}

/** A field of ErrorResponse or NoticeResponse. */
export function field(body: Buffer, letter: string): string | undefined {
  return body
    .toString('utf8')
    .split('\0')
    .find((part) => part.startsWith(letter))
    ?.slice(1);
}
