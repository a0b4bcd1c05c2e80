import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MessageAssembler } from '../../../../proxy/wire/messages/assembler.ts';
import {
  authenticationCleartextPassword,
  authenticationMd5Password,
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  passwordMessage,
  readAuthentication,
  readPassword,
  readSaslInitialResponse,
  saslInitialResponse,
  saslResponse,
} from '../../../../proxy/wire/messages/authentication.ts';
import { MalformedMessage } from '../../../../proxy/wire/messages/reader.ts';
import {
  errorResponse,
  errorResponseFromFields,
  noticeResponse,
  readReport,
} from '../../../../proxy/wire/messages/report.ts';
import {
  bind,
  close,
  execute,
  functionCall,
  parse,
  query,
  sync,
  terminate,
} from '../../../../proxy/wire/messages/requests.ts';
import {
  backendKeyData,
  parameterStatus,
  readBackendKeyData,
  readParameterStatus,
  readReadyForQuery,
  readyForQuery,
} from '../../../../proxy/wire/messages/session.ts';
import {
  cancelRequest,
  negotiateProtocolVersion,
  readOpeningPacket,
  readOptions,
  sslRequest,
  startupMessage,
} from '../../../../proxy/wire/messages/startup.ts';

const LIMIT = 65_536;

const report = {
  severity: 'ERROR',
  code: '42601',
  message: 'syntax error at or near "selec"',
  detail: 'A détail.',
  hint: 'A hint.',
  position: 7,
} as const;

const everyMessage: Record<string, Buffer> = {
  authenticationOk,
  authenticationCleartextPassword,
  authenticationMd5Password: authenticationMd5Password(Buffer.from([1, 2, 3, 4])),
  authenticationSasl: authenticationSasl(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']),
  authenticationSaslContinue: authenticationSaslContinue('r=abc,s=def,i=4096'),
  authenticationSaslFinal: authenticationSaslFinal('v=abc'),
  passwordMessage: passwordMessage('sécret'),
  saslInitialResponse: saslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=abc'),
  saslResponse: saslResponse('c=biws,r=abc,p=def'),
  errorResponse: errorResponse(report),
  noticeResponse: noticeResponse({ ...report, severity: 'NOTICE' }),
  parameterStatus: parameterStatus('TimeZone', 'Europe/Zürich'),
  backendKeyData: backendKeyData(4711, Buffer.from('secret')),
  readyForQuery: readyForQuery(0x54),
  negotiateProtocolVersion: negotiateProtocolVersion(['_pq_.a', '_pq_.b']),
  query: query('SELECT 1'),
  parse: parse('s', 'SELECT $1', [23]),
  bind: bind({ statement: 's', values: ['1', null, Buffer.from([0, 1])] }),
  execute: execute(),
  close: close('S', 's'),
  functionCall: functionCall(1234, [Buffer.from([1, 2, 3]), 'text', null]),
  sync,
  terminate,
};

describe('messages in pieces', () => {
  test.each(Object.entries(everyMessage))('%s is whole again however it was cut', (_name, bytes) => {
    for (let cut = 0; cut <= bytes.length; cut++) {
      const assembler = new MessageAssembler(LIMIT);
      assembler.push(bytes.subarray(0, cut));
      if (cut < bytes.length) expect(assembler.message()).toBeNull();
      assembler.push(bytes.subarray(cut));
      expect(assembler.message()).toEqual({ code: bytes[0], body: Buffer.from(bytes.subarray(5)) });
      expect(assembler.buffered).toBe(0);
    }
  });

  test('any sequence of messages survives any chunking, and the chunks may be overwritten at once', () => {
    const anyMessage = fc.constantFrom(...Object.values(everyMessage));
    fc.assert(
      fc.property(fc.array(anyMessage, { maxLength: 8 }), fc.array(fc.nat(40)), (messages, cuts) => {
        const stream = Buffer.concat(messages);
        const assembler = new MessageAssembler(LIMIT);
        const seen: Buffer[] = [];
        for (let offset = 0, turn = 0; offset < stream.length; turn++) {
          const chunk = Buffer.from(stream.subarray(offset, offset + 1 + (cuts[turn] ?? stream.length)));
          offset += chunk.length;
          assembler.push(chunk);
          chunk.fill(0xff);
          for (let message = assembler.message(); message !== null; message = assembler.message())
            seen.push(message.body);
        }
        expect(seen).toEqual(messages.map((message) => Buffer.from(message.subarray(5))));
      }),
    );
  });

  test('a length beyond the limit, or below what a length can be, is refused before anything is held', () => {
    for (const length of [-1, 0, 3, LIMIT + 1, 0x7fffffff]) {
      const header = Buffer.alloc(5, 0x51);
      header.writeInt32BE(length, 1);
      const assembler = new MessageAssembler(LIMIT);
      assembler.push(header);
      expect(() => assembler.message()).toThrow(MalformedMessage);
    }
  });
});

describe('authentication messages', () => {
  const body = (bytes: Buffer) => bytes.subarray(5);

  test('what is written is what is read', () => {
    expect(readAuthentication(body(authenticationOk))).toEqual({ kind: 'ok' });
    expect(readAuthentication(body(authenticationCleartextPassword))).toEqual({ kind: 'cleartext' });
    expect(readAuthentication(body(everyMessage.authenticationMd5Password!))).toEqual({
      kind: 'md5',
      salt: Buffer.from([1, 2, 3, 4]),
    });
    expect(readAuthentication(body(everyMessage.authenticationSasl!))).toEqual({
      kind: 'sasl',
      mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'],
    });
    expect(readAuthentication(body(everyMessage.authenticationSaslContinue!))).toEqual({
      kind: 'sasl-continue',
      data: 'r=abc,s=def,i=4096',
    });
    expect(readPassword(body(passwordMessage('sécret')))).toBe('sécret');
    expect(readSaslInitialResponse(body(everyMessage.saslInitialResponse!))).toEqual({
      mechanism: 'SCRAM-SHA-256',
      data: 'n,,n=,r=abc',
    });
    expect(readParameterStatus(body(everyMessage.parameterStatus!))).toEqual({
      name: 'TimeZone',
      value: 'Europe/Zürich',
    });
    expect(readBackendKeyData(body(everyMessage.backendKeyData!))).toEqual({
      pid: 4711,
      secret: Buffer.from('secret'),
    });
    expect(readReadyForQuery(body(readyForQuery(0x45)))).toBe(0x45);
  });

  test('a SASL response whose length lies is refused', () => {
    for (const length of [-2, 1, 0x7fffffff]) {
      const lying = Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), Buffer.alloc(4)]);
      lying.writeInt32BE(length, lying.length - 4);
      expect(() => readSaslInitialResponse(lying)).toThrow(MalformedMessage);
    }
  });

  test('arbitrary bytes are read or refused as malformed, nothing else', () => {
    const readers = [
      readAuthentication,
      readPassword,
      readSaslInitialResponse,
      readParameterStatus,
      readBackendKeyData,
    ];
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.constantFrom(...readers), (bytes, read) => {
        try {
          read(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedMessage);
        }
      }),
    );
  });

  test('a zero byte cannot smuggle a second field into a message', () => {
    expect(() => passwordMessage('a\0b')).toThrow('zero byte');
    expect(() => query('SELECT 1\0')).toThrow('zero byte');
    expect(() => parameterStatus('a', 'b\0c')).toThrow('zero byte');
    expect(() => startupMessage([['user', 'a\0database\0b']])).toThrow('zero byte');
  });
});

describe('reports', () => {
  test('a report keeps all its fields', () => {
    const { fields, ...known } = readReport(errorResponse(report).subarray(5));
    expect(known).toEqual(report);
    expect([...fields.keys()]).toEqual(['S', 'V', 'C', 'M', 'D', 'H', 'P']);
    expect(errorResponseFromFields(fields)).toEqual(errorResponse(report));
  });

  test('a report without a code, without a message or broken off is still a report', () => {
    expect(readReport(Buffer.from('SFATAL\0Mno\0\0'))).toMatchObject({
      severity: 'FATAL',
      code: 'XX000',
      message: 'no',
    });
    expect(readReport(Buffer.from('C57P01\0'))).toMatchObject({ severity: 'ERROR', code: '57P01' });
    expect(readReport(Buffer.from('Mbroken of'))).toMatchObject({ message: 'broken of' });
    expect(readReport(Buffer.alloc(0))).toMatchObject({ code: 'XX000' });
    expect(readReport(Buffer.from('Pabc\0\0')).position).toBeUndefined();
  });

  test('no bytes make the reader throw', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void readReport(Buffer.from(bytes))));
  });
});

describe('opening packets', () => {
  const open = (packet: Buffer) => readOpeningPacket(packet.subarray(4));

  test('a startup message keeps its parameters in order', () => {
    expect(
      open(
        startupMessage([
          ['user', 'ann'],
          ['database', 'shop'],
          ['options', '-c a=b'],
        ]),
      ),
    ).toEqual({
      kind: 'startup',
      minor: 0,
      parameters: [
        ['user', 'ann'],
        ['database', 'shop'],
        ['options', '-c a=b'],
      ],
      protocolOptions: [],
    });
  });

  test('later minor versions and protocol options are told apart from parameters', () => {
    const packet = startupMessage([
      ['user', 'ann'],
      ['_pq_.test_protocol_negotiation', ''],
    ]);
    packet.writeUInt32BE(0x0003_270f, 4); // 3.9999, which PostgreSQL 19 tries
    expect(open(packet)).toEqual({
      kind: 'startup',
      minor: 9999,
      parameters: [['user', 'ann']],
      protocolOptions: ['_pq_.test_protocol_negotiation'],
    });
  });

  test('version 2 and unknown versions are named', () => {
    const packet = startupMessage([]);
    packet.writeUInt32BE(0x0002_0000, 4);
    expect(open(packet)).toEqual({ kind: 'unsupported-version', major: 2, minor: 0 });
  });

  test('encryption and cancel requests are recognised; a cancel key is process id and secret', () => {
    expect(open(sslRequest)).toEqual({ kind: 'ssl-request' });
    const key = Buffer.from([0, 0, 0x12, 0x67, 9, 8, 7, 6]);
    expect(open(cancelRequest(0x1267, Buffer.from([9, 8, 7, 6])))).toEqual({ kind: 'cancel', key });
    expect(() => open(cancelRequest(1, Buffer.alloc(0)))).toThrow(MalformedMessage);
    expect(() => open(cancelRequest(1, Buffer.alloc(257)))).toThrow(MalformedMessage);
    expect(open(cancelRequest(1, Buffer.alloc(256)))).toMatchObject({ kind: 'cancel' });
  });

  test('a packet without its terminator, or with bytes behind it, is refused', () => {
    const packet = startupMessage([['user', 'ann']]);
    for (let cut = 8; cut < packet.length; cut++)
      expect(() => open(packet.subarray(0, cut))).toThrow(MalformedMessage);
    expect(() => open(Buffer.concat([packet, Buffer.from('x')]))).toThrow(MalformedMessage);
  });

  test.each([
    ['-c a=b', [['a', 'b']]],
    [
      '-ca=b --c=d  --e-f=g',
      [
        ['a', 'b'],
        ['c', 'd'],
        ['e_f', 'g'],
      ],
    ],
    [String.raw`-c search_path=a\ b\\c`, [['search_path', String.raw`a b\c`]]],
    [
      '-c a=b=c -c d=',
      [
        ['a', 'b=c'],
        ['d', ''],
      ],
    ],
    ['', []],
    ['  ', []],
  ])('options %j give %j', (text, expected) => {
    expect(readOptions(text)).toEqual(expected.map(([name, value]) => ({ kind: 'setting', name, value })));
  });

  test.each(['-d 5', '-c', '-c a', '-c =b', 'a=b', '--a', '\\'])('options %j are not understood', (text) => {
    expect(readOptions(text)[0]?.kind).toBe('unsupported');
  });
});
