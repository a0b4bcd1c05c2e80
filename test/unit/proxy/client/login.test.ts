import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { acceptClient, type ClientDeps, type ClientLogin } from '../../../../proxy/client/login.ts';
import type { AuthType } from '../../../../proxy/client/method.ts';
import { secretFromPassword } from '../../../../proxy/wire/authentication/scram.ts';
import { md5Hash, md5Response, type UserSecret } from '../../../../proxy/wire/authentication/secret.ts';
import {
  passwordMessage,
  readAuthentication,
  saslInitialResponse,
  saslResponse,
} from '../../../../proxy/wire/messages/authentication.ts';
import { readReport } from '../../../../proxy/wire/messages/report.ts';
import { query } from '../../../../proxy/wire/messages/requests.ts';
import { cancelRequest, sslRequest, startupMessage } from '../../../../proxy/wire/messages/startup.ts';
import { MemoryClient } from './memory-wire.ts';

const sasl = createRequire(import.meta.url)('pg/lib/crypto/sasl.js') as {
  startSession(mechanisms: string[]): { response: string };
  continueSession(session: { response: string }, password: string, serverData: string): Promise<void>;
  finalizeSession(session: { response: string }, serverData: string): void;
};

const gssRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30]);
const startup = (parameters: Record<string, string> = {}) =>
  startupMessage(Object.entries({ user: 'ann', database: 'shop', ...parameters }));

const scramSecret = await secretFromPassword('sesame', randomBytes(16), 4096);
const users = new Map<string, UserSecret>([
  ['ann', { kind: 'plain', password: 'secret' }],
  ['max', { kind: 'md5', hash: md5Hash('max', 'hashed') }],
  ['sue', scramSecret],
  ['nil', { kind: 'none' }],
]);

interface World {
  readonly client: MemoryClient;
  readonly logins: ClientLogin[];
  readonly cancels: Buffer[];
  readonly faults: string[];
}

function world(authType: AuthType, deps: Partial<Omit<ClientDeps, 'settings'>> = {}, timeout = 0): World {
  const client = new MemoryClient();
  const logins: ClientLogin[] = [];
  const cancels: Buffer[] = [];
  const faults: string[] = [];
  acceptClient(client.wire, {
    settings: {
      authType,
      ignoreStartupParameters: new Set(['extra_float_digits']),
      clientLoginTimeoutMs: timeout,
    },
    users,
    databaseExists: (name) => name === 'shop',
    cancel: async (key) => void cancels.push(Buffer.from(key)),
    authenticated: (login) => void logins.push(login),
    log: { debug() {}, info() {}, error: (_fields, message) => void faults.push(message) },
    ...deps,
  });
  return { client, logins, cancels, faults };
}

function refusal(client: MemoryClient): { code: string; message: string; hint: string | undefined } {
  const [only, ...rest] = client.messages().filter(({ code }) => code === 'E');
  expect(rest).toEqual([]);
  const { severity, code, message, hint } = readReport(only!.body);
  expect(severity).toBe('FATAL');
  expect(client.wire.socket.writableEnded).toBe(true);
  return { code, message, hint };
}

/** Says one thing and waits until the proxy has answered something, or let the client in. */
async function answered({ client, logins }: World): Promise<void> {
  await vi.waitFor(() => {
    if (logins.length === 0 && client.wire.socket.writableEnded === false) throw new Error('no answer yet');
  });
}

async function scramLogin(w: World, user: string, password: string): Promise<string> {
  const { client } = w;
  client.say(startup({ user }));
  expect(readAuthentication(client.messages()[0]!.body)).toEqual({
    kind: 'sasl',
    mechanisms: ['SCRAM-SHA-256'],
  });
  const session = sasl.startSession(['SCRAM-SHA-256']);
  client.say(saslInitialResponse('SCRAM-SHA-256', session.response));
  const asked = readAuthentication(client.messages()[0]!.body);
  if (asked.kind !== 'sasl-continue') throw new Error(asked.kind);
  await sasl.continueSession(session, password, asked.data);
  client.say(saslResponse(session.response));
  await answered(w);
  if (w.logins.length > 0) {
    const final = readAuthentication(client.messages()[0]!.body);
    if (final.kind !== 'sasl-final') throw new Error(final.kind);
    sasl.finalizeSession(session, final.data);
  }
  return /s=([^,]+)/.exec(asked.data)![1]!;
}

async function passwordLogin(w: World, user: string, answer: (salt: Buffer) => string): Promise<void> {
  w.client.say(startup({ user }));
  const asked = readAuthentication(w.client.messages()[0]!.body);
  w.client.say(passwordMessage(answer(asked.kind === 'md5' ? asked.salt : Buffer.alloc(0))));
  await answered(w);
}

describe('opening', () => {
  test('encryption is refused once each, in either order, and the startup goes on', () => {
    for (const requests of [
      [sslRequest, gssRequest],
      [gssRequest, sslRequest],
    ] as const) {
      const { client, logins } = world('trust');
      client.say(requests[0]);
      expect(client.heard().toString()).toBe('N');
      client.say(requests[1]);
      expect(client.heard().toString()).toBe('N');
      client.say(startup());
      expect(logins).toHaveLength(1);
      expect(client.heard()).toHaveLength(0);
    }
  });

  test.each([
    ['SSL', sslRequest],
    ['GSSAPI encryption', gssRequest],
  ])('bytes behind a %s request, sent before its answer, are refused', (name, request) => {
    const { client, logins } = world('trust');
    client.say(Buffer.concat([request, startup()]));
    expect(refusal(client)).toMatchObject({
      code: '08P01',
      message: `received unencrypted data after ${name} request`,
    });
    expect(logins).toEqual([]);
  });

  test('a second request for the same encryption is refused', () => {
    const { client } = world('trust');
    client.say(sslRequest);
    client.heard();
    client.say(sslRequest);
    expect(refusal(client).message).toBe(
      'unsupported frontend protocol 1234.5679: server supports 3.0 to 3.0',
    );
  });

  test('a later protocol version, or an unknown option, is negotiated down to 3.0', () => {
    for (const [minor, options] of [
      [2, {}],
      [9999, { '_pq_.test_protocol_negotiation': '' }],
      [0, { '_pq_.x': '1' }],
    ] as const) {
      const { client, logins } = world('trust');
      const packet = startup(options);
      packet.writeUInt16BE(minor, 6);
      client.say(packet);
      const [told] = client.messages();
      expect(told?.code).toBe('v');
      expect(told?.body.readInt32BE(0)).toBe(196608);
      expect(told?.body.readInt32BE(4)).toBe(Object.keys(options).length);
      expect(logins).toHaveLength(1);
    }
  });

  test('protocol 2 is refused', () => {
    const { client } = world('trust');
    const packet = startup();
    packet.writeUInt16BE(2, 4);
    client.say(packet);
    expect(refusal(client)).toMatchObject({ code: '0A000' });
  });

  test('an overlong packet is refused on its first four bytes', () => {
    const { client } = world('trust');
    client.say(Buffer.from([0, 1, 0, 1]));
    expect(refusal(client).message).toBe('invalid length of startup packet');
  });

  test('a cancel request is handed over with its whole key, told nothing, and closed when the cancel has ended', async () => {
    let settle = (): void => {};
    const { client, cancels } = world('trust', {
      cancel: (key) => {
        cancels.push(Buffer.from(key));
        return new Promise<void>((resolve) => {
          settle = resolve;
        });
      },
    });
    client.say(cancelRequest(7, Buffer.from([1, 2, 3, 4])));
    expect(cancels).toEqual([Buffer.from([0, 0, 0, 7, 1, 2, 3, 4])]);
    expect(client.ended).toBe(false);
    settle();
    await vi.waitFor(() => expect(client.ended).toBe(true));
    expect(client.heard()).toHaveLength(0);
  });

  test('a cancel that fails ends the connection all the same', async () => {
    const { client, faults } = world('trust', { cancel: () => Promise.reject(new Error('no such server')) });
    client.say(cancelRequest(7, Buffer.alloc(4)));
    await vi.waitFor(() => expect(client.ended).toBe(true));
    expect(faults).toEqual(['cancel request failed']);
  });

  test('a client that is too slow is told so', async () => {
    const { client } = world('trust', {}, 5);
    client.say(startup().subarray(0, 10));
    await vi.waitFor(() => expect(client.ended).toBe(true));
    expect(refusal(client)).toMatchObject({ code: '08P01', message: 'client_login_timeout' });
  });
});

describe('startup parameters', () => {
  test('tracked ones are kept by their canonical names, also from options; ignored ones are dropped', () => {
    const { client, logins } = world('trust');
    client.say(
      startup({
        datestyle: 'German',
        client_encoding: 'UTF8',
        application_name: '',
        extra_float_digits: '3',
        options: String.raw`-c timezone=Europe/Rome --intervalstyle=iso_8601 -c application_name=a\ b`,
        replication: 'false',
      }),
    );
    expect(logins[0]).toMatchObject({ user: 'ann', database: 'shop' });
    expect(Object.fromEntries(logins[0]!.parameters)).toEqual({
      DateStyle: 'German',
      client_encoding: 'UTF8',
      application_name: 'a b',
      TimeZone: 'Europe/Rome',
      IntervalStyle: 'iso_8601',
    });
  });

  test('the database is the user unless it is named', () => {
    const { client, logins } = world('trust', { databaseExists: () => true });
    client.say(startupMessage([['user', 'ann']]));
    expect(logins[0]?.database).toBe('ann');
  });

  test.each([
    [{ statement_timeout: '1' }, '08P01', 'unsupported startup parameter: statement_timeout'],
    [{ options: '-c geqo=off' }, '08P01', 'unsupported startup parameter in options: geqo'],
    [
      { options: '-d 5' },
      '08P01',
      "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
    ],
    [{ replication: 'database' }, '0A000', 'replication connections are not supported'],
    [{ user: '' }, '28000', 'no PostgreSQL user name specified in startup packet'],
  ])('%j is refused', (parameters, code, message) => {
    const { client, logins } = world('trust');
    client.say(startup(parameters as Record<string, string>));
    expect(refusal(client)).toMatchObject({ code, message });
    expect(logins).toEqual([]);
  });
});

describe('authentication', () => {
  test('trust takes users of the auth_file, with what it knows of them', () => {
    for (const [user, credentials] of [
      ['ann', { kind: 'password', password: 'secret' }],
      ['max', { kind: 'md5', hash: md5Hash('max', 'hashed') }],
      ['sue', null],
    ] as const) {
      const { client, logins } = world('trust');
      client.say(startup({ user }));
      expect(logins[0]?.credentials).toEqual(credentials);
      expect(client.heard()).toHaveLength(0);
    }
    const { client } = world('trust');
    client.say(startup({ user: 'eve' }));
    expect(refusal(client)).toMatchObject({ code: '28000', message: '"trust" authentication failed' });
  });

  test('trust without an auth_file takes any name', () => {
    const { client, logins } = world('trust', { users: null });
    client.say(startup({ user: 'eve' }));
    expect(logins[0]).toMatchObject({ user: 'eve', credentials: null });
  });

  test('any takes any name', () => {
    const { client, logins } = world('any');
    client.say(startup({ user: 'eve' }));
    expect(logins[0]).toMatchObject({ user: 'eve', credentials: null });
  });

  test('what a client sends behind its login is handed over', async () => {
    const trusted = world('trust');
    trusted.client.say(Buffer.concat([startup(), query('SELECT 1')]));
    expect(trusted.logins[0]?.leftover).toEqual(query('SELECT 1'));

    const checked = world('plain');
    checked.client.say(startup());
    checked.client.say(Buffer.concat([passwordMessage('secret'), query('SELECT 1')]));
    await answered(checked);
    expect(checked.logins[0]?.leftover).toEqual(query('SELECT 1'));
  });

  test.each([
    ['ann', 'secret'],
    ['max', 'hashed'],
    ['sue', 'sesame'],
  ])('plain lets %s in with the right password only, and keeps it for the server', async (user, password) => {
    const right = world('plain');
    await passwordLogin(right, user, () => password);
    expect(right.logins[0]?.credentials).toEqual({ kind: 'password', password });
    const wrong = world('plain');
    await passwordLogin(wrong, user, () => `${password}!`);
    expect(refusal(wrong.client)).toMatchObject({
      code: '28P01',
      message: `password authentication failed for user "${user}"`,
    });
  });

  test.each([
    ['ann', 'secret'],
    ['max', 'hashed'],
  ])('md5 lets %s in with the right answer only', async (user, password) => {
    const right = world('md5');
    await passwordLogin(right, user, (salt) => md5Response(md5Hash(user, password), salt));
    expect(right.logins).toHaveLength(1);
    const wrong = world('md5');
    await passwordLogin(wrong, user, (salt) => md5Response(md5Hash(user, 'guess'), salt));
    expect(refusal(wrong.client).code).toBe('28P01');
  });

  test('md5 takes SCRAM where the secret is one', async () => {
    const w = world('md5');
    await scramLogin(w, 'sue', 'sesame');
    expect(w.logins).toHaveLength(1);
  });

  test('scram keeps the password where it is known, and else the keys that log in to the server', async () => {
    const plain = world('scram-sha-256');
    await scramLogin(plain, 'ann', 'secret');
    expect(plain.logins[0]?.credentials).toEqual({ kind: 'password', password: 'secret' });
    const passed = world('scram-sha-256');
    await scramLogin(passed, 'sue', 'sesame');
    expect(passed.logins[0]?.credentials).toMatchObject({
      kind: 'scram-keys',
      serverKey: scramSecret.serverKey,
    });
  });

  test('unknown users, users without a password and wrong passwords cannot be told apart', async () => {
    for (const authType of ['plain', 'md5', 'scram-sha-256'] as const) {
      const refusals: unknown[] = [];
      for (const user of ['ann', 'eve', 'nil']) {
        const w = world(authType);
        if (authType === 'scram-sha-256') await scramLogin(w, user, 'guess');
        else await passwordLogin(w, user, () => 'guess');
        const { message, ...rest } = refusal(w.client);
        refusals.push({ ...rest, message: message.replace(user, 'x') });
        expect(w.logins).toEqual([]);
      }
      expect(new Set(refusals.map((told) => JSON.stringify(told))).size).toBe(1);
    }
  });

  test('an unknown user is shown the same salt each time, and another name another', async () => {
    const eve = await scramLogin(world('scram-sha-256'), 'eve', 'guess');
    expect(await scramLogin(world('scram-sha-256'), 'eve', 'other')).toBe(eve);
    expect(await scramLogin(world('scram-sha-256'), 'mallory', 'guess')).not.toBe(eve);
  });

  test('that a database does not exist is told after authentication only', async () => {
    const right = world('plain', { databaseExists: () => false });
    await passwordLogin(right, 'ann', () => 'secret');
    expect(refusal(right.client)).toMatchObject({ code: '3D000', message: 'database "shop" does not exist' });
    const wrong = world('plain', { databaseExists: () => false });
    await passwordLogin(wrong, 'ann', () => 'guess');
    expect(refusal(wrong.client).code).toBe('28P01');
  });

  test('an empty password, another mechanism and another message are refused', async () => {
    const empty = world('plain');
    empty.client.say(startup(), passwordMessage(''));
    empty.client.messages();
    const other = world('scram-sha-256');
    other.client.say(startup(), saslInitialResponse('SCRAM-SHA-256-PLUS', 'p=tls-unique,,n=,r=abc'));
    expect(refusal(other.client).message).toBe('client selected an invalid SASL authentication mechanism');
    const wrong = world('plain');
    wrong.client.say(startup(), query('SELECT 1'));
    expect(refusal(wrong.client).code).toBe('08P01');
  });

  test('a client that speaks second in SASL is asked with an empty challenge', async () => {
    const w = world('scram-sha-256');
    const initial = saslInitialResponse('SCRAM-SHA-256', '');
    initial.writeInt32BE(-1, initial.length - 4);
    w.client.say(startup(), initial);
    expect(w.client.messages().map(({ body }) => readAuthentication(body))).toEqual([
      { kind: 'sasl', mechanisms: ['SCRAM-SHA-256'] },
      { kind: 'sasl-continue', data: '' },
    ]);
    w.client.say(saslResponse('n,,n=,r=abc'));
    expect(readAuthentication(w.client.messages()[0]!.body)).toMatchObject({ kind: 'sasl-continue' });
  });

  test('a client that vanishes while its password is checked is not let in', async () => {
    const w = world('plain');
    w.client.say(startup({ user: 'sue' }), passwordMessage('sesame'));
    await w.client.vanish();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(w.logins).toEqual([]);
  });

  test('whoever accepted the connection learns that it ended, before and after a refusal', async () => {
    for (const said of [startup().subarray(0, 10), startup({ user: 'eve' })]) {
      const client = new MemoryClient();
      let closed = 0;
      client.wire.onClose = () => {
        closed += 1;
      };
      acceptClient(client.wire, {
        settings: { authType: 'trust', ignoreStartupParameters: new Set(), clientLoginTimeoutMs: 0 },
        users,
        databaseExists: () => true,
        cancel: async () => {},
        authenticated: () => {},
        log: { debug() {}, info() {}, error() {} },
      });
      client.say(said);
      await client.vanish();
      expect(closed).toBe(1);
    }
  });

  test('a fault in taking a client over ends that client only', () => {
    const { client, faults } = world('trust', {
      authenticated: () => {
        throw new Error('bug');
      },
    });
    client.say(startup());
    expect(faults).toEqual(['session could not be started']);
    expect(client.wire.closed).toBe(true);
  });
});

describe('any bytes', () => {
  afterEach(() => vi.restoreAllMocks());

  const packet = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.constantFrom(
      sslRequest,
      gssRequest,
      startup(),
      startup({ replication: '1' }),
      cancelRequest(1, Buffer.alloc(4)),
    ),
    fc.constantFrom(
      passwordMessage('secret'),
      saslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=abc'),
      saslResponse('c=biws'),
    ),
    // A well-formed frame with nonsense in it.
    fc.uint8Array({ maxLength: 60 }).map((body) => {
      const framed = Buffer.alloc(8 + body.length);
      framed.writeInt32BE(framed.length, 0);
      framed.writeInt32BE(196608, 4);
      framed.set(body, 8);
      return framed;
    }),
  );

  test.each([
    'trust',
    'md5',
    'plain',
    'scram-sha-256',
  ] as const)('under %s they have one outcome: nothing yet, a question, a refusal, a cancel or a login', (authType) => {
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 4 }), fc.integer({ min: 1, max: 100 }), (packets, size) => {
        const { client, logins, cancels, faults } = world(authType);
        const stream = Buffer.concat(packets);
        for (let offset = 0; offset < stream.length && logins.length === 0; offset += size) {
          client.say(stream.subarray(offset, offset + size));
        }
        const told = client.heard();
        const start = /^N*/.exec(told.toString('latin1'))![0].length;
        const errors: number[] = [];
        for (let offset = start; offset < told.length; offset += 1 + told.readInt32BE(offset + 1)) {
          if (told[offset] === 0x45) errors.push(offset);
        }
        expect(faults).toEqual([]);
        expect(errors.length + cancels.length + logins.length).toBeLessThanOrEqual(1);
        const ended = client.wire.socket.writableEnded;
        if (errors.length === 1) expect(ended).toBe(true);
        // Terminate ends a login without a word.
        if (ended && cancels.length === 0 && !stream.includes(0x58)) expect(errors).toHaveLength(1);
        client.wire.destroy();
      }),
      { numRuns: 300 },
    );
  });
});
