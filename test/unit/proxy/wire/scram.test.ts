import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { saslprep } from '../../../../proxy/wire/authentication/saslprep.ts';
import {
  type ClientFirst,
  challenge,
  checkProof,
  checkServerFinal,
  clientFirst,
  proveToServer,
  readClientFinal,
  readClientFirst,
  secretFromPassword,
} from '../../../../proxy/wire/authentication/scram.ts';
import {
  equalTexts,
  md5Hash,
  md5Response,
  readSecret,
} from '../../../../proxy/wire/authentication/secret.ts';
import { TviewsError } from '../../../../src/errors/errors.ts';

/** node-postgres' own client side, as somebody else's reading of the RFC. */
interface SaslSession {
  mechanism: string;
  response: string;
}
const theirs = createRequire(import.meta.url)('pg/lib/crypto/sasl.js') as {
  startSession(mechanisms: string[]): SaslSession;
  continueSession(session: SaslSession, password: string, serverData: string): Promise<void>;
  finalizeSession(session: SaslSession, serverData: string): void;
};

// RFC 7677, section 3
const rfc = {
  clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'),
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal:
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};
const rfcFirst: ClientFirst = {
  gs2Header: 'n,,',
  bare: rfc.clientFirst.slice(3),
  nonce: 'rOprNGfwEbeRWgbNEkqO',
};
const pencil = { kind: 'password', password: 'pencil' } as const;

describe('as the server', () => {
  test("the RFC's exchange comes out as printed there", async () => {
    const secret = await secretFromPassword('pencil', rfc.salt, 4096);
    const asked = challenge(readClientFirst(rfc.clientFirst), rfc.salt, 4096, rfc.serverNonce);
    expect(asked.serverFirst).toBe(rfc.serverFirst);
    expect(checkProof(asked, readClientFinal(rfc.clientFinal, asked), secret)).toMatchObject({
      kind: 'accepted',
      serverFinal: rfc.serverFinal,
    });
  });

  test("node-postgres' client is let in with the right password and no other", async () => {
    const secret = await secretFromPassword('pässword', randomBytes(16), 4096);
    for (const [password, verdict] of [
      ['pässword', 'accepted'],
      ['password', 'refused'],
    ] as const) {
      const session = theirs.startSession(['SCRAM-SHA-256']);
      const asked = challenge(readClientFirst(session.response), secret.salt, secret.iterations);
      await theirs.continueSession(session, password, asked.serverFirst);
      const result = checkProof(asked, readClientFinal(session.response, asked), secret);
      expect(result.kind).toBe(verdict);
      if (result.kind === 'accepted') theirs.finalizeSession(session, result.serverFinal);
    }
  });

  test('the client key a proof reveals proves the client to a server with the same secret', async () => {
    const secret = await secretFromPassword('pencil', rfc.salt, 4096);
    const asked = challenge(readClientFirst(rfc.clientFirst), rfc.salt, 4096, rfc.serverNonce);
    const verdict = checkProof(asked, readClientFinal(rfc.clientFinal, asked), secret);
    if (verdict.kind !== 'accepted') throw new Error('refused');

    const first = clientFirst();
    const again = challenge(readClientFirst(first.gs2Header + first.bare), secret.salt, secret.iterations);
    const proof = await proveToServer(first, again.serverFirst, {
      kind: 'scram-keys',
      clientKey: verdict.clientKey,
      serverKey: secret.serverKey,
    });
    const second = checkProof(again, readClientFinal(proof.clientFinal, again), secret);
    if (second.kind !== 'accepted') throw new Error('refused');
    checkServerFinal(second.serverFinal, proof.serverSignature);
  });

  test.each([
    ['p=tls-server-end-point,,n=,r=abc', 'channel binding'],
    ['x,,n=,r=abc', 'malformed'],
    ['n,a=other,n=,r=abc', 'authorization identity'],
    ['n,x,n=,r=abc', 'malformed'],
    ['n,,m=ext,n=,r=abc', 'extension'],
    ['n,,r=abc', 'malformed'],
    ['n,,n=', 'malformed'],
    ['n,,n=,r=', 'malformed'],
    ['n,,n=,r=a\u0007b', 'malformed'],
    [`n,,n=,r=${'a'.repeat(1025)}`, 'malformed'],
    ['n,,n=,r=abc,junk', 'malformed'],
    ['', 'malformed'],
  ])('client-first %j is refused', (text, reason) => {
    expect(() => readClientFirst(text)).toThrow(reason);
  });

  test('"y" is taken: channel binding was not offered', () => {
    expect(readClientFirst('y,,n=,r=abc').gs2Header).toBe('y,,');
  });

  test.each([
    ['the flag of another first message', rfc.clientFinal.replace('biws', 'eSws')],
    ['another nonce', rfc.clientFinal.replace('rOprNG', 'rOprNX')],
    ['a short proof', rfc.clientFinal.replace(/p=.*/, 'p=AAAA')],
    ['no proof', rfc.clientFinal.replace(/,p=.*/, '')],
    ['nothing', ''],
  ])('a client-final with %s is refused', (_name, text) => {
    const asked = challenge(readClientFirst(rfc.clientFirst), rfc.salt, 4096, rfc.serverNonce);
    expect(() => readClientFinal(text, asked)).toThrow(TviewsError);
  });

  test('whatever a client sends is read or refused by an error of ours', () => {
    const asked = challenge(readClientFirst(rfc.clientFirst), rfc.salt, 4096, rfc.serverNonce);
    const near = fc.array(
      fc.constantFrom('n', 'y', 'p=', ',', 'a=', 'c=biws', 'r=', 'n=', `r=${asked.nonce}`, '=', 'é'),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          near.map((parts) => parts.join('')),
        ),
        (text) => {
          for (const read of [() => readClientFirst(text), () => readClientFinal(text, asked)]) {
            try {
              read();
            } catch (error) {
              expect(error).toBeInstanceOf(TviewsError);
            }
          }
        },
      ),
    );
  });
});

describe('as the client', () => {
  test("the RFC's exchange comes out as printed there", async () => {
    const proof = await proveToServer(rfcFirst, rfc.serverFirst, pencil);
    expect(proof.clientFinal).toBe(rfc.clientFinal);
    checkServerFinal(rfc.serverFinal, proof.serverSignature);
  });

  test.each([
    ['a nonce that is not ours', 'r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
    ['our nonce alone', 'r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
    ['an overlong nonce', `r=rOprNGfwEbeRWgbNEkqO${'x'.repeat(2000)},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`],
    ['no salt', 'r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096'],
    ['a salt that is no base64', 'r=rOprNGfwEbeRWgbNEkqOx,s=!!!,i=4096'],
    ['no iterations', 'r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0'],
    [
      'iterations to keep us busy for hours',
      'r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=2147483647',
    ],
    ['a mandatory extension', 'm=ext,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
  ])('a server that sends %s is refused', async (_name, serverFirst) => {
    await expect(proveToServer(rfcFirst, serverFirst, pencil)).rejects.toThrow('malformed SCRAM message');
  });

  test.each([
    'v=AAAA',
    `v=${Buffer.alloc(32).toString('base64')}`,
    'e=other-error',
    '',
    'v=',
  ])('a server that ends with %j has not proved itself', async (serverFinal) => {
    const { serverSignature } = await proveToServer(rfcFirst, rfc.serverFirst, pencil);
    expect(() => checkServerFinal(serverFinal, serverSignature)).toThrow(TviewsError);
  });
});

describe('saslprep', () => {
  test.each([
    ['I\u00ADX', 'IX'],
    ['user', 'user'],
    ['USER', 'USER'],
    ['\u00AA', 'a'],
    ['\u2168', 'IX'],
    ['a\u00A0b', 'a b'],
    ['ﬁsh', 'fish'],
  ])('%j becomes %j', (password, prepared) => expect(saslprep(password)).toBe(prepared));

  test.each([
    ['only characters that are mapped to nothing', '\u00AD\u200D'],
    ['an ASCII control character', '\u0007'],
    ['a control character among others', 'ﬁ\u0007é'],
    ['left-to-right and right-to-left', '\u0627\u0031'],
    ['a character Unicode 3.2 did not have', 'ﬁ😀'],
  ])('a password of %s is used as it is', (_name, password) => expect(saslprep(password)).toBe(password));
});

describe('secrets', () => {
  test('are told apart as PgBouncer does', async () => {
    const { salt, storedKey, serverKey } = await secretFromPassword('pencil', rfc.salt, 4096);
    const text = `SCRAM-SHA-256$4096:${salt.toString('base64')}$${storedKey.toString('base64')}:${serverKey.toString('base64')}`;
    expect(readSecret(text)).toEqual({ kind: 'scram-sha-256', iterations: 4096, salt, storedKey, serverKey });
    expect(readSecret(`md5${'0a'.repeat(16)}`)).toEqual({ kind: 'md5', hash: '0a'.repeat(16) });
    expect(readSecret('md5 is no hash')).toEqual({ kind: 'plain', password: 'md5 is no hash' });
    expect(readSecret('SCRAM-SHA-256$broken')).toMatchObject({ kind: 'plain' });
    expect(readSecret('')).toEqual({ kind: 'none' });
  });

  test("md5 answers are PostgreSQL's", () => {
    // SELECT 'md5' || md5(md5('secret' || 'ann') || 'salt')
    expect(md5Response(md5Hash('ann', 'secret'), Buffer.from('salt'))).toMatch(/^md5[0-9a-f]{32}$/);
    expect(md5Hash('postgres', 'postgres')).toBe('3175bce1d3201d16594cebf9d7eb3f9d');
  });

  test('texts of different lengths compare without an error', () => {
    expect(equalTexts('a', 'ab')).toBe(false);
    expect(equalTexts('ab', 'ab')).toBe(true);
  });
});
