/**
 * Passwords and what PostgreSQL stores instead of them (manual: pg_authid.rolpassword), and what we can log in to a
 * server with. Nothing in here is ever logged.
 */
import { createHash, timingSafeEqual } from 'node:crypto';

/** What SCRAM-SHA-256 needs to check a client (RFC 5802: StoredKey and ServerKey; they do not give the password). */
export interface ScramSecret {
  readonly kind: 'scram-sha-256';
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** What we know of a user who logs in to us. */
export type UserSecret =
  | { readonly kind: 'plain'; readonly password: string }
  /** md5(password + user), 32 hexadecimal digits. */
  | { readonly kind: 'md5'; readonly hash: string }
  | ScramSecret
  /** Listed with an empty password: exists, and can never log in with one. */
  | { readonly kind: 'none' };

/** What we prove ourselves with to a server. */
export type ServerCredentials =
  | { readonly kind: 'password'; readonly password: string }
  | { readonly kind: 'md5'; readonly hash: string }
  /**
   * SCRAM pass-through: the ClientKey the client's own proof revealed. It works where the server has the same secret
   * (same salt and iterations) as the one the client was checked against.
   */
  | { readonly kind: 'scram-keys'; readonly clientKey: Buffer; readonly serverKey: Buffer };

const SCRAM_SECRET = /^SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/;
const KEY_BYTES = 32;

/** Tells the kinds apart as PgBouncer and PostgreSQL do: whatever is no well-formed secret is a password. */
export function readSecret(text: string): UserSecret {
  if (text === '') return { kind: 'none' };
  if (/^md5[0-9a-f]{32}$/i.test(text)) return { kind: 'md5', hash: text.slice(3).toLowerCase() };
  const scram = SCRAM_SECRET.exec(text);
  if (scram !== null) {
    const [, iterationText, salt, stored, server] = scram;
    const iterations = Number(iterationText);
    const storedKey = Buffer.from(stored!, 'base64');
    const serverKey = Buffer.from(server!, 'base64');
    if (iterations > 0 && storedKey.length === KEY_BYTES && serverKey.length === KEY_BYTES) {
      return { kind: 'scram-sha-256', iterations, salt: Buffer.from(salt!, 'base64'), storedKey, serverKey };
    }
  }
  return { kind: 'plain', password: text };
}

/** What can be used towards a server when the client itself proved nothing, as with `auth_type = trust`. */
export function credentialsFrom(secret: UserSecret | undefined): ServerCredentials | null {
  switch (secret?.kind) {
    case 'plain':
      return { kind: 'password', password: secret.password };
    case 'md5':
      return { kind: 'md5', hash: secret.hash };
    default:
      // A SCRAM secret checks clients; it cannot prove anything to a server.
      return null;
  }
}

function md5(...parts: (string | Buffer)[]): string {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

export function md5Hash(user: string, password: string): string {
  return md5(password, user);
}

/** The answer to AuthenticationMD5Password. */
export function md5Response(hash: string, salt: Buffer): string {
  return `md5${md5(hash, salt)}`;
}

/** Takes as long for a wrong text as for a right one, and for a text of another length. */
export function equalTexts(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
