/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677) for both sides, without channel binding: texts in, texts out, no sockets.
 * As the server we check a client; as the client we prove ourselves to a server.
 */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { SqlState, TviewsError } from '../../../src/errors/errors.ts';
import { saslprep } from './saslprep.ts';
import type { ScramSecret, ServerCredentials } from './secret.ts';

export const SCRAM_MECHANISM = 'SCRAM-SHA-256';
/** PostgreSQL's default for scram_iterations. */
export const DEFAULT_ITERATIONS = 4096;

const KEY_BYTES = 32;
const NONCE_BYTES = 18;
/** Bounds on what a peer may make us hold or compute (CVE-2026-6665 was an overlong nonce from a server). */
const MAX_NONCE_LENGTH = 1024;
const MAX_SALT_BYTES = 1024;
const MAX_ITERATIONS = 1_000_000;

const derive = promisify(pbkdf2);
const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

export class ScramViolation extends TviewsError {
  override readonly name = 'ScramViolation';
  constructor(detail: string) {
    super(SqlState.protocolViolation, 'malformed SCRAM message', { detail });
  }
}

interface ScramKeys {
  readonly clientKey: Buffer;
  readonly serverKey: Buffer;
}

/** The expensive step; runs off the event loop. */
async function keysFromPassword(password: string, salt: Buffer, iterations: number): Promise<ScramKeys> {
  const salted = await derive(Buffer.from(saslprep(password), 'utf8'), salt, iterations, KEY_BYTES, 'sha256');
  return { clientKey: hmac(salted, 'Client Key'), serverKey: hmac(salted, 'Server Key') };
}

export async function secretFromPassword(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<ScramSecret> {
  const { clientKey, serverKey } = await keysFromPassword(password, salt, iterations);
  return { kind: 'scram-sha-256', iterations, salt, storedKey: sha256(clientKey), serverKey };
}

/** Whether a password in clear text is the one the secret was made from. */
export async function passwordMatches(password: string, secret: ScramSecret): Promise<boolean> {
  const { clientKey } = await keysFromPassword(password, secret.salt, secret.iterations);
  return timingSafeEqual(sha256(clientKey), secret.storedKey);
}

export function newNonce(): string {
  return randomBytes(NONCE_BYTES).toString('base64');
}

// ------------------------------------------------------------------------------------------------ server side

export interface ClientFirst {
  /** `n,,` or `y,,`: comes back, encoded, in the client's final message. */
  readonly gs2Header: string;
  readonly bare: string;
  readonly nonce: string;
}

/** client-first-message. The user name in it is ignored, as in PostgreSQL: the startup packet's counts. */
export function readClientFirst(text: string): ClientFirst {
  const [flag, authzid, ...rest] = text.split(',');
  if (flag?.startsWith('p=')) {
    throw new TviewsError(
      SqlState.protocolViolation,
      'client requires SCRAM channel binding, but it is not supported',
      {
        hint: 'Connect with channel_binding=disable or channel_binding=prefer.',
      },
    );
  }
  // "y": the client could bind but thinks that we cannot, which is so: SCRAM-SHA-256-PLUS was not offered.
  if (flag !== 'n' && flag !== 'y')
    throw new ScramViolation('The channel-binding flag is neither n, y nor p.');
  if (authzid !== '') {
    if (authzid?.startsWith('a=')) {
      throw new TviewsError(
        SqlState.featureNotSupported,
        'client uses authorization identity, but it is not supported',
      );
    }
    throw new ScramViolation('A comma was expected after the channel-binding flag.');
  }
  const [name, nonceAttribute, ...extensions] = rest;
  if (name?.startsWith('m=')) {
    throw new TviewsError(SqlState.featureNotSupported, 'client requires an unsupported SCRAM extension');
  }
  if (!name?.startsWith('n=')) throw new ScramViolation('The user name attribute is missing.');
  const nonce = attribute(nonceAttribute, 'r');
  if (!isNonce(nonce))
    throw new ScramViolation('The nonce has characters that are not printable, or too many.');
  if (extensions.some((extension) => !/^[A-Za-z]=/.test(extension)))
    throw new ScramViolation('An attribute was expected.');
  return { gs2Header: `${flag},,`, bare: rest.join(','), nonce };
}

/** What the server asks, and what it must remember to check the answer. */
export interface ScramChallenge {
  readonly clientFirst: ClientFirst;
  readonly nonce: string;
  /** server-first-message */
  readonly serverFirst: string;
}

export function challenge(
  clientFirst: ClientFirst,
  salt: Buffer,
  iterations: number,
  serverNonce: string = newNonce(),
): ScramChallenge {
  const nonce = clientFirst.nonce + serverNonce;
  return { clientFirst, nonce, serverFirst: `r=${nonce},s=${salt.toString('base64')},i=${iterations}` };
}

export interface ClientFinal {
  readonly withoutProof: string;
  readonly proof: Buffer;
}

export function readClientFinal(text: string, { clientFirst, nonce }: ScramChallenge): ClientFinal {
  const parts = text.split(',');
  const binding = attribute(parts[0], 'c');
  if (binding !== Buffer.from(clientFirst.gs2Header).toString('base64')) {
    throw new TviewsError(
      SqlState.protocolViolation,
      'unexpected SCRAM channel-binding attribute in client-final-message',
    );
  }
  if (!equalLengthTexts(attribute(parts[1], 'r'), nonce)) {
    throw new TviewsError(SqlState.protocolViolation, 'invalid SCRAM response', {
      detail: 'Nonce does not match.',
    });
  }
  const proof = decodeBase64(attribute(parts.at(-1), 'p'));
  if (parts.length < 3 || proof?.length !== KEY_BYTES) {
    throw new ScramViolation('The proof in client-final-message is malformed.');
  }
  return { withoutProof: parts.slice(0, -1).join(','), proof };
}

export type ScramVerdict =
  | {
      readonly kind: 'accepted';
      readonly clientKey: Buffer /** server-final-message */;
      readonly serverFinal: string;
    }
  | { readonly kind: 'refused' };

export function checkProof(asked: ScramChallenge, final: ClientFinal, secret: ScramSecret): ScramVerdict {
  const authMessage = `${asked.clientFirst.bare},${asked.serverFirst},${final.withoutProof}`;
  const clientKey = xor(final.proof, hmac(secret.storedKey, authMessage));
  if (!timingSafeEqual(sha256(clientKey), secret.storedKey)) return { kind: 'refused' };
  return {
    kind: 'accepted',
    clientKey,
    serverFinal: `v=${hmac(secret.serverKey, authMessage).toString('base64')}`,
  };
}

// ------------------------------------------------------------------------------------------------ client side

export type ScramProofCredentials = Extract<ServerCredentials, { kind: 'password' | 'scram-keys' }>;

/** Our first message to a server: `n`, because we know no channel to bind to, and an empty name, as libpq sends. */
export function clientFirst(nonce: string = newNonce()): ClientFirst {
  return { gs2Header: 'n,,', bare: `n=,r=${nonce}`, nonce };
}

export interface ClientProof {
  /** client-final-message */
  readonly clientFinal: string;
  /** What the server must answer to prove that it knows the secret too. */
  readonly serverSignature: Buffer;
}

export async function proveToServer(
  first: ClientFirst,
  serverFirst: string,
  credentials: ScramProofCredentials,
): Promise<ClientProof> {
  const parts = serverFirst.split(',');
  const nonce = attribute(parts[0], 'r');
  if (!isNonce(nonce) || nonce.length <= first.nonce.length || !nonce.startsWith(first.nonce)) {
    throw new ScramViolation("The server's nonce does not extend ours.");
  }
  const salt = decodeBase64(attribute(parts[1], 's'));
  if (salt === null || salt.length === 0 || salt.length > MAX_SALT_BYTES) {
    throw new ScramViolation("The server's salt is malformed.");
  }
  const iterationText = attribute(parts[2], 'i');
  const iterations = /^[1-9]\d{0,9}$/.test(iterationText) ? Number(iterationText) : 0;
  if (iterations < 1 || iterations > MAX_ITERATIONS) {
    throw new ScramViolation(`The server's iteration count is not between 1 and ${MAX_ITERATIONS}.`);
  }
  const { clientKey, serverKey } =
    credentials.kind === 'password'
      ? await keysFromPassword(credentials.password, salt, iterations)
      : credentials;
  const withoutProof = `c=${Buffer.from(first.gs2Header).toString('base64')},r=${nonce}`;
  const authMessage = `${first.bare},${serverFirst},${withoutProof}`;
  const proof = xor(clientKey, hmac(sha256(clientKey), authMessage));
  return {
    clientFinal: `${withoutProof},p=${proof.toString('base64')}`,
    serverSignature: hmac(serverKey, authMessage),
  };
}

/** @throws when the server did not prove that it knows the password. */
export function checkServerFinal(serverFinal: string, serverSignature: Buffer): void {
  const [first] = serverFinal.split(',');
  if (first?.startsWith('e=')) throw new ScramViolation(`The server reports "${first.slice(2, 100)}".`);
  const signature = decodeBase64(attribute(first, 'v'));
  if (signature?.length !== KEY_BYTES || !timingSafeEqual(signature, serverSignature)) {
    throw new TviewsError(SqlState.connectionFailure, 'incorrect server signature', {
      detail: 'The server could not prove that it knows the secret the password was stored as.',
    });
  }
}

// ------------------------------------------------------------------------------------------------ pieces

function attribute(part: string | undefined, name: string): string {
  if (part === undefined || !part.startsWith(`${name}=`))
    throw new ScramViolation(`Attribute "${name}" was expected.`);
  return part.slice(2);
}

/** printable in RFC 5802: %x21-2B / %x2D-7E */
function isNonce(text: string): boolean {
  return text.length <= MAX_NONCE_LENGTH && /^[\x21-\x2b\x2d-\x7e]+$/.test(text);
}

function decodeBase64(text: string): Buffer | null {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) return null;
  return Buffer.from(text, 'base64');
}

function equalLengthTexts(given: string, expected: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(expected);
  return a.length === b.length && timingSafeEqual(a, b);
}

function xor(a: Buffer, b: Buffer): Buffer {
  const result = Buffer.allocUnsafe(a.length);
  for (let index = 0; index < a.length; index++) result[index] = a[index]! ^ b[index]!;
  return result;
}
