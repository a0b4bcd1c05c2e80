import { randomBytes } from 'node:crypto';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { sendCancel } from '../../../../proxy/server/cancel.ts';
import { connectServer } from '../../../../proxy/server/handshake.ts';
import { ServerLoginError, type ServerTarget } from '../../../../proxy/server/target.ts';
import {
  challenge,
  checkProof,
  readClientFinal,
  readClientFirst,
  secretFromPassword,
} from '../../../../proxy/wire/authentication/scram.ts';
import { MessageAssembler } from '../../../../proxy/wire/messages/assembler.ts';
import {
  authenticationCleartextPassword,
  authenticationMd5Password,
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  readPassword,
  readSaslInitialResponse,
} from '../../../../proxy/wire/messages/authentication.ts';
import { errorResponse, noticeResponse } from '../../../../proxy/wire/messages/report.ts';
import { backendKeyData, parameterStatus, readyForQuery } from '../../../../proxy/wire/messages/session.ts';
import { readOpeningPacket } from '../../../../proxy/wire/messages/startup.ts';

const open: Server[] = [];
const sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of open.splice(0)) server.close();
});

/** A server that plays a script: first the opening packet, then each password message, is answered by the next line. */
async function scripted(
  ...script: ((body: Buffer, socket: Socket) => Buffer | undefined)[]
): Promise<ServerTarget> {
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    const input = new MessageAssembler(65_536);
    let turn = 0;
    socket.on('data', (chunk: Buffer) => {
      input.push(chunk);
      for (;;) {
        const body = turn === 0 ? input.startupPacket() : (input.message()?.body ?? null);
        if (body === null) return;
        const answer = script[turn++]?.(body, socket);
        if (answer !== undefined) socket.write(answer);
      }
    });
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    connectTimeoutMs: 5_000,
    database: 'shop',
    user: 'ann',
    credentials: { kind: 'password', password: 'secret' },
  };
}

const welcome = Buffer.concat([
  authenticationOk,
  noticeResponse({ severity: 'WARNING', code: '01000', message: 'careful' }),
  parameterStatus('TimeZone', 'UTC'),
  parameterStatus('server_version', '18.1'),
  backendKeyData(4711, Buffer.from([1, 2, 3, 4])),
  readyForQuery(0x49),
]);

async function failure(target: ServerTarget, signal?: AbortSignal): Promise<ServerLoginError> {
  const error: unknown = await connectServer(target, signal).then(
    () => new Error('was let in'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof ServerLoginError)) throw error;
  return error;
}

describe('a login', () => {
  test('collects parameters and key, lets notices pass, and hands over what follows', async () => {
    const asked: unknown[] = [];
    const target = await scripted((body) => {
      asked.push(readOpeningPacket(body));
      return Buffer.concat([welcome, parameterStatus('TimeZone', 'CET')]);
    });
    const login = await connectServer({
      ...target,
      startupParameters: [['client_encoding', 'UTF8']],
      applicationName: 'app',
    });
    expect(asked).toEqual([
      {
        kind: 'startup',
        minor: 0,
        parameters: [
          ['client_encoding', 'UTF8'],
          ['application_name', 'app'],
          ['user', 'ann'],
          ['database', 'shop'],
        ],
        protocolOptions: [],
      },
    ]);
    expect(login).toMatchObject({ pid: 4711, secret: Buffer.from([1, 2, 3, 4]) });
    expect(Object.fromEntries(login.parameters)).toEqual({ TimeZone: 'UTC', server_version: '18.1' });
    expect(login.leftover).toEqual(parameterStatus('TimeZone', 'CET'));
    login.wire.destroy();
  });

  test('is the same however the server’s bytes are cut', async () => {
    const target = await scripted((_body, socket) => {
      socket.setNoDelay(true);
      const next = (offset: number): void => {
        if (offset < welcome.length)
          socket.write(welcome.subarray(offset, offset + 1), () => setImmediate(next, offset + 1));
      };
      next(0);
      return undefined;
    });
    const login = await connectServer(target);
    expect([login.pid, login.parameters.size]).toEqual([4711, 2]);
    login.wire.destroy();
  });

  test('gives a clear-text password to who asks for it', async () => {
    const given: string[] = [];
    const target = await scripted(
      () => authenticationCleartextPassword,
      (body) => {
        given.push(readPassword(body));
        return welcome;
      },
    );
    (await connectServer(target)).wire.destroy();
    expect(given).toEqual(['secret']);
  });

  test('checks that a SCRAM server knows the secret too', async () => {
    const secret = await secretFromPassword('secret', randomBytes(16), 4096);
    const play = async (tamper: (final: string) => Buffer) => {
      let asked: ReturnType<typeof challenge>;
      return scripted(
        () => authenticationSasl(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']),
        (body) => {
          asked = challenge(
            readClientFirst(readSaslInitialResponse(body).data!),
            secret.salt,
            secret.iterations,
          );
          return authenticationSaslContinue(asked.serverFirst);
        },
        (body) => {
          const verdict = checkProof(asked, readClientFinal(body.toString(), asked), secret);
          return verdict.kind === 'accepted' ? tamper(verdict.serverFinal) : undefined;
        },
      );
    };
    const honest = await connectServer(
      await play((final) => Buffer.concat([authenticationSaslFinal(final), welcome])),
    );
    honest.wire.destroy();
    const forged = await failure(
      await play(() => Buffer.concat([authenticationSaslFinal(`v=${'A'.repeat(43)}=`), welcome])),
    );
    expect(forged.message).toBe('incorrect server signature');
    const silent = await failure(await play(() => welcome));
    expect(silent.message).toBe('server did not complete the SASL exchange');
  });
});

describe('a login fails', () => {
  test('with every field of the server’s error', async () => {
    const target = await scripted(() =>
      errorResponse({ severity: 'FATAL', code: '53300', message: 'too many', detail: 'D.', hint: 'H.' }),
    );
    const error = await failure(target);
    expect(error).toMatchObject({
      code: '53300',
      message: 'too many',
      detail: 'D.',
      hint: 'H.',
      failure: { kind: 'refused' },
    });
    if (error.failure.kind === 'refused') expect(error.failure.report.fields.get('V')).toBe('FATAL');
  });

  test('also on an error without a code, told just before the connection closes', async () => {
    const target = await scripted((_body, socket) => {
      socket.end(Buffer.from('E\0\0\0\x0aSFATAL', 'latin1').subarray(0, 11));
      return undefined;
    });
    expect(await failure(target)).toMatchObject({ code: 'XX000', failure: { kind: 'refused' } });
  });

  test.each([
    [
      'a message that has no place in a login',
      Buffer.from([0x44, 0, 0, 0, 4]),
      'unexpected message type 0x44',
    ],
    ['a length that cannot be', Buffer.from([0x52, 0x7f, 0xff, 0xff, 0xff]), 'invalid message length'],
    ['readiness before authentication', readyForQuery(0x49), 'unexpected message type 0x5a'],
    [
      'readiness inside a transaction',
      Buffer.concat([authenticationOk, readyForQuery(0x54)]),
      'in a transaction',
    ],
    ['Kerberos', Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 7]), 'not supported (code 7)'],
    ['a short md5 salt', authenticationMd5Password(Buffer.from([1, 2])), 'insufficient data'],
    ['SASL without a mechanism of ours', authenticationSasl(['OTHER']), 'none of the SASL'],
    ['the end of an exchange that never began', authenticationSaslFinal('v='), 'unexpected SASL message'],
  ])('on %s', async (_name, bytes, message) => {
    expect((await failure(await scripted(() => bytes))).message).toContain(message);
  });

  test('when the server wants a proof we do not have', async () => {
    for (const [request, credentials] of [
      [authenticationCleartextPassword, null],
      [authenticationCleartextPassword, { kind: 'md5', hash: '' }],
      [
        authenticationMd5Password(Buffer.alloc(4)),
        { kind: 'scram-keys', clientKey: Buffer.alloc(32), serverKey: Buffer.alloc(32) },
      ],
      [authenticationSasl(['SCRAM-SHA-256']), { kind: 'md5', hash: '' }],
    ] as const) {
      const target = await scripted(() => request);
      expect(await failure({ ...target, credentials })).toMatchObject({
        code: '28P01',
        failure: { kind: 'credentials' },
      });
    }
  });

  test('when the server says nothing, or nothing but notices, for too long', async () => {
    const silent = await scripted();
    expect((await failure({ ...silent, connectTimeoutMs: 30 })).failure.kind).toBe('timeout');
    const notice = noticeResponse({ severity: 'NOTICE', code: '00000', message: 'wait' });
    const chatty = await scripted((_body, socket) => {
      const again = setInterval(() => socket.write(Buffer.concat(Array(100).fill(notice))), 1);
      socket.on('close', () => clearInterval(again));
      return undefined;
    });
    expect((await failure({ ...chatty, connectTimeoutMs: 50 })).failure.kind).toBe('timeout');
  });

  test('when the caller gives up, before or during it', async () => {
    const silent = await scripted();
    expect((await failure(silent, AbortSignal.abort())).failure.kind).toBe('aborted');
    const controller = new AbortController();
    const pending = failure(silent, controller.signal);
    setTimeout(() => controller.abort(), 20);
    expect((await pending).failure.kind).toBe('aborted');
  });

  test('when the server closes, or is not there', async () => {
    const rude = await scripted((_body, socket) => void socket.destroy());
    expect(await failure(rude)).toMatchObject({ code: '08006', failure: { kind: 'unreachable' } });
    await new Promise((resolve) => open.pop()!.close(resolve));
    const error = await failure(rude);
    expect(error).toMatchObject({ code: '08006', failure: { kind: 'unreachable' } });
    expect(error.message).toBe(`could not connect to server at "127.0.0.1", port ${rude.port}`);
    expect(error.detail).toContain('ECONNREFUSED');
    expect((await failure({ ...rude, host: '/nowhere' })).message).toContain(
      `"/nowhere/.s.PGSQL.${rude.port}"`,
    );
  });
});

describe('a cancel', () => {
  test('ends when the server has closed its connection, and not before', async () => {
    let closing = false;
    const seen: unknown[] = [];
    const target = await scripted((body, socket) => {
      seen.push(readOpeningPacket(body));
      setTimeout(() => {
        closing = true;
        socket.end();
      }, 20);
      return undefined;
    });
    await sendCancel(target, 7, Buffer.from([1, 2, 3, 4]));
    expect(closing).toBe(true);
    expect(seen).toEqual([{ kind: 'cancel', key: Buffer.from([0, 0, 0, 7, 1, 2, 3, 4]) }]);
  });

  test('fails when the server does not close: the signal may still come', async () => {
    const silent = await scripted();
    await expect(sendCancel({ ...silent, connectTimeoutMs: 30 }, 7, Buffer.alloc(4))).rejects.toMatchObject({
      failure: { kind: 'timeout' },
    });
  });
});
