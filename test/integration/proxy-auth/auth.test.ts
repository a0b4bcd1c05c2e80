import { type AddressInfo, createServer, type Server } from 'node:net';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { acceptClient, type ClientLogin } from '../../../proxy/client/login.ts';
import type { AuthType } from '../../../proxy/client/method.ts';
import { sendCancel } from '../../../proxy/server/cancel.ts';
import { connectServer } from '../../../proxy/server/handshake.ts';
import { ParameterValues } from '../../../proxy/server/parameters.ts';
import type { ServerTarget } from '../../../proxy/server/target.ts';
import { md5Hash, readSecret, type UserSecret } from '../../../proxy/wire/authentication/secret.ts';
import { Backend } from '../../../proxy/wire/codes.ts';
import { authenticationOk } from '../../../proxy/wire/messages/authentication.ts';
import { errorResponse, readReport } from '../../../proxy/wire/messages/report.ts';
import { functionCall } from '../../../proxy/wire/messages/requests.ts';
import { parameterStatus, readParameterStatus, readyForQuery } from '../../../proxy/wire/messages/session.ts';
import { TrackedParameters } from '../../../proxy/wire/parameters.ts';
import { WireSocket } from '../../../proxy/wire/socket.ts';
import { startTestPostgres, type TestPostgres } from '../../kit/postgres.ts';
import { RawSession } from './session.ts';

/** Different before and after SASLprep, and in UTF-8. */
const PASSWORD = 'pä\u00A0ﬁsh';

let postgres: TestPostgres;
let server: pg.Client;
const sessions: RawSession[] = [];

beforeAll(async () => {
  postgres = await startTestPostgres({
    hba: [
      'host all by_trust 127.0.0.1/32 trust',
      'host all by_cleartext 127.0.0.1/32 password',
      'host all by_md5 127.0.0.1/32 md5',
      'host all by_scram 127.0.0.1/32 scram-sha-256',
    ],
  });
  server = new pg.Client({ connectionString: postgres.url });
  await server.connect();
  await server.query(`
    CREATE ROLE by_trust LOGIN;
    CREATE ROLE by_cleartext LOGIN PASSWORD '${PASSWORD}';
    CREATE ROLE by_scram LOGIN PASSWORD '${PASSWORD}';
    SET password_encryption = 'md5';
    CREATE ROLE by_md5 LOGIN PASSWORD '${PASSWORD}';
  `);
}, 60_000);

afterEach(() => {
  for (const session of sessions.splice(0)) session.close();
});

afterAll(async () => {
  await server?.end();
  await postgres?.remove();
});

function target(user: string, credentials: ServerTarget['credentials']): ServerTarget {
  return {
    host: '127.0.0.1',
    port: postgres.port,
    connectTimeoutMs: 10_000,
    database: 'postgres',
    user,
    credentials,
    startupParameters: [['client_encoding', 'UTF8']],
  };
}

async function session(to: ServerTarget): Promise<RawSession> {
  const opened = new RawSession(await connectServer(to));
  sessions.push(opened);
  return opened;
}

describe('a login to PostgreSQL', () => {
  const password = { kind: 'password', password: PASSWORD } as const;

  test.each([
    ['by_trust', null],
    ['by_cleartext', password],
    ['by_md5', password],
    ['by_md5', { kind: 'md5', hash: md5Hash('by_md5', PASSWORD) }],
    ['by_scram', password],
  ] as const)('%s works with what is known (%j)', async (user, credentials) => {
    const { login, ...opened } = await session(target(user, credentials));
    expect(opened).toEqual({});
    expect(login.pid).toBeGreaterThan(0);
    expect(login.secret).toHaveLength(4);
    expect(login.parameters.get('client_encoding')).toBe('UTF8');
    expect(login.parameters.has('server_version')).toBe(true);
    expect(await new RawSession(login).value('SELECT current_user')).toBe(user);
  });

  test.each([
    'by_cleartext',
    'by_md5',
    'by_scram',
  ])('%s fails on a wrong password as PostgreSQL says it', async (user) => {
    await expect(connectServer(target(user, { kind: 'password', password: 'guess' }))).rejects.toMatchObject({
      code: '28P01',
      message: `password authentication failed for user "${user}"`,
      failure: { kind: 'refused', report: { severity: 'FATAL' } },
    });
  });

  test('a database that does not exist is reported with PostgreSQL’s code', async () => {
    await expect(connectServer({ ...target('by_trust', null), database: 'nowhere' })).rejects.toMatchObject({
      code: '3D000',
    });
  });
});

describe('a cancel', () => {
  test('stops the query of that connection', async () => {
    const opened = await session(target('by_trust', null));
    const { pid, secret } = opened.login;
    const answer = opened.query('SELECT pg_sleep(60)');
    for (;;) {
      const { rows } = await server.query(
        "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active'",
        [pid],
      );
      if (rows.length > 0) break;
    }
    await sendCancel(target('by_trust', null), pid, secret);
    const error = (await answer).find(({ code }) => code === Backend.ErrorResponse);
    expect(readReport(error!.body).code).toBe('57014');
  });
});

describe('tracked parameters', () => {
  const tracked = new TrackedParameters(['IntervalStyle', 'search_path', 'tviews_test.value']);
  const hostile = ["it's", 'back\\slash\\', "Ã\\'; SELECT 1/0; --", '日本', "x'||'y"];

  test.each([
    'UTF8',
    'SJIS',
    'BIG5',
    'LATIN1',
  ])('any value arrives as it is, with client_encoding %s and either reading of backslashes', async (encoding) => {
    const opened = await session(target('by_trust', null));
    const current = new ParameterValues(tracked, opened.login.parameters);
    for (const conforming of ['on', 'off']) {
      for (const value of hostile) {
        await opened.query(
          `SET standard_conforming_strings = ${conforming}; SET client_encoding = '${encoding}'`,
        );
        const wanted = new ParameterValues(tracked, [['tviews_test.value', value]]);
        const answers = await opened.query(wanted.difference(current) ?? '');
        expect(answers.filter(({ code }) => code === Backend.ErrorResponse)).toEqual([]);
        await opened.query("SET client_encoding = 'UTF8'");
        expect(await opened.value("SELECT current_setting('tviews_test.value')")).toBe(value);
      }
    }
  });

  test('a search_path arrives name by name', async () => {
    const opened = await session(target('by_trust', null));
    const current = new ParameterValues(tracked, opened.login.parameters);
    const names = hostile.map((name) => `"${name}"`);
    const wanted = new ParameterValues(tracked, [['search_path', `"$user", Public, ${names.join(',')}`]]);
    await opened.query(wanted.difference(current) ?? '');
    expect(await opened.value('SHOW search_path')).toBe(['"$user"', 'public', ...names].join(', '));
  });

  test('are in step after one SET, though the server spells them otherwise', async () => {
    const opened = await session(target('by_trust', null));
    const current = new ParameterValues(tracked, opened.login.parameters);
    const wanted = new ParameterValues(tracked, [
      ['DateStyle', 'german'],
      ['client_encoding', 'unicode'],
      ['timezone', 'europe/rome'],
      ['application_name', 'naïve'],
    ]);
    wanted.fillUnset(current);
    const answers = await opened.query(wanted.difference(current)!);
    for (const { code, body } of answers) {
      if (code !== Backend.ParameterStatus) continue;
      const { name, value } = readParameterStatus(body);
      current.learn(name, value);
    }
    wanted.adopt(current);
    expect(wanted.difference(current)).toBeNull();
    expect(wanted.get('DateStyle')).toBe('German, DMY');
    expect(wanted.get('client_encoding')).toBe('UTF8');
  });
});

test('a function is called without any SQL', async () => {
  const opened = await session(target('by_trust', null));
  const oid = Number(await opened.value("SELECT 'pg_catalog.reverse(text)'::regprocedure::oid"));
  const answers = await opened.ask(functionCall(oid, ['shop'], false));
  expect(answers.map(({ code }) => code)).toEqual([Backend.FunctionCallResponse, Backend.ReadyForQuery]);
  expect(answers[0]!.body.toString('utf8', 4)).toBe('pohs');
});

describe('a client of ours', () => {
  let proxy: Server | undefined;
  afterEach(async () => {
    await new Promise((resolve) => (proxy === undefined ? resolve(null) : proxy.close(resolve)));
    proxy = undefined;
  });

  /** The smallest relay there is: logs in with what the client brought, then copies bytes. */
  async function relay(login: ClientLogin): Promise<void> {
    const { wire } = login;
    wire.onBytes = () => {};
    try {
      const server = await connectServer(target(login.user, login.credentials));
      server.wire.onBytes = (chunk) => wire.write(Buffer.from(chunk));
      server.wire.onClose = () => wire.end();
      wire.onBytes = (chunk) => server.wire.write(Buffer.from(chunk));
      wire.onClose = () => server.wire.destroy();
      wire.write(authenticationOk);
      for (const [name, value] of server.parameters) wire.write(parameterStatus(name, value));
      wire.write(readyForQuery(0x49));
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      wire.end(errorResponse({ severity: 'FATAL', code: '08006', message: error.message }));
    }
  }

  async function listen(authType: AuthType, users: ReadonlyMap<string, UserSecret> | null): Promise<number> {
    const listening = createServer((socket) =>
      acceptClient(WireSocket.accept(socket), {
        settings: { authType, ignoreStartupParameters: new Set(), clientLoginTimeoutMs: 10_000 },
        users,
        databaseExists: (name) => name === 'postgres',
        cancel: async () => {},
        authenticated: (login) => void relay(login),
        log: { debug() {}, info() {}, error: (fields) => console.error(fields) },
      }),
    );
    proxy = listening;
    await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
    return (listening.address() as AddressInfo).port;
  }

  async function whoAmI(
    port: number,
    user: string,
    password: string,
    database = 'postgres',
  ): Promise<string> {
    const client = new pg.Client({ host: '127.0.0.1', port, user, password, database });
    try {
      await client.connect();
      const { rows } = await client.query<{ who: string }>('SELECT current_user AS who');
      return rows[0]!.who;
    } finally {
      await client.end();
    }
  }

  async function storedSecret(user: string): Promise<UserSecret> {
    const { rows } = await server.query<{ secret: string }>(
      'SELECT rolpassword AS secret FROM pg_authid WHERE rolname = $1',
      [user],
    );
    return readSecret(rows[0]!.secret);
  }

  test.each([
    ['md5', 'by_scram', 'scram-sha-256'],
    ['scram-sha-256', 'by_scram', 'scram-sha-256'],
    ['plain', 'by_scram', 'scram-sha-256'],
    ['md5', 'by_md5', 'md5'],
  ] as const)('%s lets %s in with PostgreSQL’s own secret (%s), and through to it', async (authType, user, kind) => {
    const secret = await storedSecret(user);
    expect(secret.kind).toBe(kind);
    const port = await listen(authType, new Map([[user, secret]]));
    expect(await whoAmI(port, user, PASSWORD)).toBe(user);
    await expect(whoAmI(port, user, 'guess')).rejects.toMatchObject({
      code: '28P01',
      message: `password authentication failed for user "${user}"`,
    });
    await expect(whoAmI(port, user, PASSWORD, 'nowhere')).rejects.toMatchObject({ code: '3D000' });
    await expect(whoAmI(port, 'nobody', PASSWORD)).rejects.toMatchObject({ code: '28P01' });
  });

  test('trust lets anybody through where there is no auth_file', async () => {
    expect(await whoAmI(await listen('trust', null), 'by_trust', '')).toBe('by_trust');
  });

  test('a plain password serves every method of the server', async () => {
    const known: UserSecret = { kind: 'plain', password: PASSWORD };
    const users = new Map(['by_cleartext', 'by_md5', 'by_scram'].map((user) => [user, known] as const));
    const port = await listen('scram-sha-256', users);
    for (const user of users.keys()) expect(await whoAmI(port, user, PASSWORD)).toBe(user);
  });
});
