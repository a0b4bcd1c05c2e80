/**
 * Whether what a client answered proves that it is who it says: for each method, from the secret we hold to the
 * credentials that log in to a server in its name, or null. No sockets, no states.
 */
import { randomBytes } from 'node:crypto';
import {
  checkProof,
  DEFAULT_ITERATIONS,
  passwordMatches,
  readClientFinal,
  type ScramChallenge,
  secretFromPassword,
} from '../wire/authentication/scram.ts';
import {
  credentialsFrom,
  equalTexts,
  md5Hash,
  md5Response,
  type ScramSecret,
  type ServerCredentials,
  type UserSecret,
} from '../wire/authentication/secret.ts';
import { scramTerms, unprovableSecret } from './method.ts';

const NO_SALT = Buffer.alloc(16);

/**
 * SCRAM secrets of plain passwords: deriving one is expensive on purpose. Gone when the auth_file is read anew; made
 * anew where two users share one secret object, since their salts differ.
 */
const derivedSecrets = new WeakMap<UserSecret, ScramSecret>();

export function checkMd5(
  user: string,
  secret: UserSecret | undefined,
  answer: string,
  salt: Buffer,
): ServerCredentials | null {
  switch (secret?.kind) {
    case 'plain':
      return equalTexts(answer, md5Response(md5Hash(user, secret.password), salt))
        ? credentialsFrom(secret)
        : null;
    case 'md5':
      return equalTexts(answer, md5Response(secret.hash, salt)) ? credentialsFrom(secret) : null;
    default:
      // The motions of a known user, with a hash nobody's password has.
      equalTexts(answer, md5Response(md5Hash(user, randomBytes(16).toString('hex')), salt));
      return null;
  }
}

export async function checkCleartext(
  user: string,
  secret: UserSecret | undefined,
  password: string,
): Promise<ServerCredentials | null> {
  // Better than any stored secret: the password itself serves every method of a server.
  const proven: ServerCredentials = { kind: 'password', password };
  let right = false;
  if (secret?.kind === 'scram-sha-256') return (await passwordMatches(password, secret)) ? proven : null;
  if (secret?.kind === 'plain') right = equalTexts(password, secret.password);
  else if (secret?.kind === 'md5') right = equalTexts(md5Hash(user, password), secret.hash);
  if (right) return proven;
  await costOfOneDerivation();
  return null;
}

export interface ScramSuccess {
  readonly credentials: ServerCredentials | null;
  /** server-final-message: our side of the proof. */
  readonly serverFinal: string;
}

/** @throws TviewsError when the message is no client-final-message for what was asked. */
export async function checkScram(
  user: string,
  known: UserSecret | undefined,
  clientFinal: string,
  asked: ScramChallenge,
  mockKey: Buffer,
): Promise<ScramSuccess | null> {
  const final = readClientFinal(clientFinal, asked);
  const terms = scramTerms(user, known, mockKey);
  let derived = false;
  let secret: ScramSecret | undefined;
  if (known?.kind === 'scram-sha-256') secret = known;
  else if (known?.kind === 'plain') {
    secret = derivedSecrets.get(known);
    if (secret === undefined || !secret.salt.equals(terms.salt)) {
      secret = await secretFromPassword(known.password, terms.salt, terms.iterations);
      derivedSecrets.set(known, secret);
      derived = true;
    }
  }
  // An md5 hash cannot check a SCRAM proof: such a user fails like one that does not exist.
  const verdict = checkProof(asked, final, secret ?? unprovableSecret(terms));
  if (secret === undefined || verdict.kind === 'refused') {
    if (!derived) await costOfOneDerivation();
    return null;
  }
  const credentials: ServerCredentials | null =
    known?.kind === 'plain'
      ? credentialsFrom(known)
      : { kind: 'scram-keys', clientKey: verdict.clientKey, serverKey: secret.serverKey };
  return { credentials, serverFinal: verdict.serverFinal };
}

/**
 * Every failure costs one derivation of keys, made or in vain, so that the time a refusal takes does not tell whether
 * the user exists, nor how the secret is stored.
 */
async function costOfOneDerivation(): Promise<void> {
  await secretFromPassword('', NO_SALT, DEFAULT_ITERATIONS);
}
