/** Which authentication a user goes through, and with which secret. Pure; the conversation is in login.ts. */
import { createHmac } from 'node:crypto';
import { DEFAULT_ITERATIONS } from '../wire/authentication/scram.ts';
import type { ScramSecret, UserSecret } from '../wire/authentication/secret.ts';

export type AuthType = 'trust' | 'any' | 'scram-sha-256' | 'md5' | 'plain';

export type AuthMethod = 'none' | 'rejected-trust' | 'cleartext' | 'md5' | 'scram-sha-256';

/**
 * @param users null: no auth_file is configured. With `trust` any name is then taken: there is nothing to look it up in.
 */
export function chooseMethod(
  authType: AuthType,
  user: string,
  users: ReadonlyMap<string, UserSecret> | null,
): AuthMethod {
  switch (authType) {
    case 'any':
      return 'none';
    case 'trust':
      return users === null || users.has(user) ? 'none' : 'rejected-trust';
    case 'plain':
      return 'cleartext';
    case 'scram-sha-256':
      return 'scram-sha-256';
    case 'md5':
      // A SCRAM secret cannot be checked with md5; PgBouncer takes SCRAM then, and so do we.
      return (users?.get(user)?.kind ?? usualKind(users)) === 'scram-sha-256' ? 'scram-sha-256' : 'md5';
  }
}

/** An unknown user is asked in the way the file's users are, or the question would tell that the name is unknown. */
function usualKind(users: ReadonlyMap<string, UserSecret> | null): UserSecret['kind'] | undefined {
  return users?.values().next().value?.kind;
}

/** Salt and iterations to show a user in the SCRAM exchange, whether or not there is such a user. */
export interface ScramTerms {
  readonly salt: Buffer;
  readonly iterations: number;
}

/**
 * A salt made from the name is the same at each attempt, as a real one is; without the process' key it cannot be told
 * from a random one. Users with a plain password get theirs in the same way.
 */
export function scramTerms(user: string, secret: UserSecret | undefined, mockKey: Buffer): ScramTerms {
  if (secret?.kind === 'scram-sha-256') return secret;
  const salt = createHmac('sha256', mockKey).update(user).digest().subarray(0, 16);
  return { salt, iterations: DEFAULT_ITERATIONS };
}

/** Keys nobody can prove: the exchange of an unknown user runs on these to its end, and fails there. */
export function unprovableSecret({ salt, iterations }: ScramTerms): ScramSecret {
  return {
    kind: 'scram-sha-256',
    salt,
    iterations,
    storedKey: Buffer.alloc(32),
    serverKey: Buffer.alloc(32),
  };
}
