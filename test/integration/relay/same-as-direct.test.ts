/**
 * The best oracle of a relay is PostgreSQL: the same bytes, sent directly and through the proxy, have to bring the same
 * messages, in every pool mode and however the bytes are cut.
 */
import { afterAll, beforeAll, expect, describe as group, test } from 'vitest';
import {
  bind,
  close,
  describe,
  execute,
  flush,
  functionCall,
  parse,
  query,
  sync,
} from '../../../proxy/wire/messages/requests.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { testProxy } from '../../kit/proxy.ts';
import { RawClient, describe as shown } from '../../kit/raw-client.ts';

const copyData = (text: string): Buffer => {
  const message = Buffer.alloc(5 + Buffer.byteLength(text));
  message.write('d');
  message.writeUInt32BE(message.length - 1, 1);
  message.write(text, 5);
  return message;
};
const copyDone = Buffer.from([0x63, 0, 0, 0, 4]);
const copyFail = Buffer.concat([Buffer.from([0x66, 0, 0, 0, 9]), Buffer.from('stop\0')]);

/** Each: batches of messages; after each batch the answers up to so many ReadyForQuery are awaited. */
const conversations: Record<
  string,
  readonly { readonly send: readonly Buffer[]; readonly ready?: number }[]
> = {
  'simple queries, one empty, one wrong': [
    { send: [query('SELECT 1, NULL, repeat($$x$$, 10)')] },
    { send: [query('')] },
    { send: [query('SELECT 1/0')] },
    { send: [query('SELECT 2; SELECT 3')] },
    { send: [query('SELECT 4; SELECT 1/0; SELECT 5')] },
  ],
  'simple queries sent without waiting': [
    { send: [query('SELECT 1'), query('SELEC 2'), query('SELECT 3')], ready: 3 },
  ],
  'a transaction, failed and rolled back': [
    { send: [query('BEGIN')] },
    { send: [query('SELECT 1')] },
    { send: [query('SELECT 1/0')] },
    { send: [query('SELECT 1')] },
    { send: [query('COMMIT')] },
    { send: [query('SELECT 1')] },
  ],
  'savepoints and chained transactions': [
    { send: [query('BEGIN')] },
    { send: [query('SAVEPOINT a')] },
    { send: [query('SELECT 1/0')] },
    { send: [query('ROLLBACK TO a')] },
    { send: [query('COMMIT AND CHAIN')] },
    { send: [query('ROLLBACK')] },
  ],
  'a large result': [{ send: [query('SELECT repeat(i::text, 1000) FROM generate_series(1, 500) i')] }],
  'a large query': [{ send: [query(`SELECT length('${'x'.repeat(200_000)}')`)] }],
  'extended protocol with unnamed statement': [
    {
      send: [
        parse('', 'SELECT $1::int + 1'),
        bind({ statement: '', values: ['41'] }),
        describe('P', ''),
        execute(),
        sync,
      ],
    },
    { send: [bind({ statement: '', values: ['1'] }), execute(), sync] },
  ],
  'named statements: prepared once, used in batches of their own': [
    { send: [parse('s', 'SELECT $1::text', [25]), describe('S', 's'), sync] },
    { send: [bind({ statement: 's', values: ['a'] }), describe('P', ''), execute(), sync] },
    { send: [bind({ statement: 's', values: ['b'.repeat(100_000)] }), execute(), sync] },
    { send: [close('S', 's'), sync] },
    { send: [parse('s', 'SELECT 7'), bind({ statement: 's' }), execute(), sync] },
  ],
  'a statement nobody prepared: 26000, and the session goes on': [
    { send: [bind({ statement: 'nobody' }), execute(), sync] },
    { send: [describe('S', 'nobody'), sync] },
    { send: [query('SELECT 1')] },
  ],
  'a name prepared twice: 42P05, and the first stays': [
    { send: [parse('s', 'SELECT 1'), sync] },
    { send: [parse('s', 'SELECT 2'), bind({ statement: 's' }), execute(), sync] },
    { send: [bind({ statement: 's' }), execute(), sync] },
  ],
  'a statement that cannot be prepared leaves no name behind': [
    { send: [parse('s', 'SELEC 1'), bind({ statement: 's' }), execute(), sync] },
    { send: [bind({ statement: 's' }), execute(), sync] },
    { send: [parse('s', 'SELECT 1'), bind({ statement: 's' }), execute(), sync] },
  ],
  'an error in the middle of a batch skips the rest of it': [
    {
      send: [
        ...[parse('a', 'SELECT 1'), bind({ statement: 'a' }), execute()],
        ...[parse('b', 'SELECT 1/0'), bind({ statement: 'b' }), execute()],
        ...[parse('c', 'SELECT 3'), bind({ statement: 'c' }), execute(), sync],
        ...[parse('d', 'SELECT 4'), bind({ statement: 'd' }), execute(), sync],
      ],
      ready: 2,
    },
    { send: [bind({ statement: 'c' }), execute(), sync] },
    { send: [bind({ statement: 'd' }), execute(), sync] },
  ],
  'a pipeline with several Syncs': [
    {
      send: Array.from({ length: 20 }, (_, index) => [
        parse('', `SELECT ${index} / ${index % 7 === 3 ? 0 : 1}`),
        bind({ statement: '' }),
        execute(),
        sync,
      ]).flat(),
      ready: 20,
    },
  ],
  'a portal read in parts, across a Flush': [
    { send: [query('BEGIN')] },
    {
      send: [
        parse('', 'SELECT generate_series(1, 5)'),
        bind({ statement: '', portal: 'p' }),
        execute('p', 2),
        flush,
        execute('p', 2),
        execute('p', 2),
        close('P', 'p'),
        sync,
      ],
    },
    { send: [query('COMMIT')] },
  ],
  'COPY in a transaction: worked, failed by the client, failed by the data': [
    { send: [query('BEGIN; CREATE TEMP TABLE t (a int)')] },
    { send: [query('COPY t FROM STDIN'), copyData('1\n2\n'), copyData('3\n'), copyDone] },
    { send: [query('SELECT count(*) FROM t')] },
    { send: [query('SAVEPOINT s')] },
    { send: [query('COPY t FROM STDIN'), copyData('4\n'), copyFail] },
    { send: [query('ROLLBACK TO s')] },
    { send: [query('COPY t FROM STDIN'), copyData('x\n'), copyDone] },
    { send: [query('ROLLBACK TO s')] },
    {
      send: [
        parse('', 'COPY t FROM STDIN'),
        bind({ statement: '' }),
        execute(),
        copyData('5\n'),
        copyDone,
        sync,
      ],
    },
    { send: [query('COPY t TO STDOUT')] },
    { send: [query('ROLLBACK')] },
  ],
  'data of a COPY that never was is ignored': [
    { send: [copyData('1\n'), copyDone, query('SELECT 1')] },
    { send: [copyFail, query('SELECT 2')] },
  ],
  'a function called by its OID': [
    // int4pl
    { send: [functionCall(177, ['1', '2'], false)] },
    { send: [functionCall(154, ['1', '0'], false)] },
  ],
  'DEALLOCATE ALL forgets the names': [
    { send: [parse('s', 'SELECT 1'), sync] },
    { send: [query('DEALLOCATE ALL')] },
    { send: [bind({ statement: 's' }), execute(), sync] },
    { send: [parse('s', 'SELECT 2'), bind({ statement: 's' }), execute(), sync] },
  ],
  'DEALLOCATE of one name forgets that one': [
    { send: [parse('s', 'SELECT 1'), parse('t', 'SELECT 2'), sync] },
    { send: [query('DEALLOCATE s')] },
    { send: [bind({ statement: 's' }), execute(), sync] },
    { send: [parse('s', 'SELECT 3'), bind({ statement: 's' }), execute(), sync] },
    { send: [query('DEALLOCATE PREPARE "t";'), bind({ statement: 't' }), execute(), sync], ready: 2 },
    { send: [query('DEALLOCATE t')] },
    { send: [query('BEGIN')] },
    { send: [query('SELECT 1/0')] },
    { send: [query('DEALLOCATE s')] },
    { send: [query('ROLLBACK')] },
    { send: [bind({ statement: 's' }), execute(), sync] },
  ],
  "SQL's PREPARE and DEALLOCATE in one transaction": [
    { send: [query('BEGIN')] },
    { send: [query('PREPARE s AS SELECT 1')] },
    { send: [query('EXECUTE s')] },
    { send: [query('DEALLOCATE s')] },
    { send: [query('COMMIT')] },
  ],
  'an unnamed statement nobody prepared': [
    { send: [bind({ statement: '' }), execute(), sync] },
    { send: [describe('S', ''), sync] },
    { send: [query('SELECT 1')] },
  ],
  'a Close forgets the unnamed statement': [
    { send: [parse('', 'SELECT 1'), sync] },
    { send: [close('S', ''), sync] },
    { send: [bind({ statement: '' }), execute(), sync] },
    { send: [describe('S', ''), sync] },
  ],
  'a simple Query forgets the unnamed statement, even one that fails': [
    { send: [parse('', 'SELECT 1'), sync] },
    { send: [query('SELECT 2')] },
    { send: [bind({ statement: '' }), execute(), sync] },
    { send: [parse('', 'SELECT 3'), sync] },
    { send: [query('SELEC 4')] },
    { send: [bind({ statement: '' }), execute(), sync] },
  ],
  'a batch that fails keeps the unnamed statement of the one before, unless it is its Parse that fails': [
    { send: [parse('', 'SELECT 1'), sync] },
    { send: [parse('x', 'nonsense'), parse('', 'SELECT 2'), close('S', ''), sync] },
    { send: [bind({ statement: '' }), execute(), sync] },
    { send: [bind({ statement: 'nobody' }), parse('', 'SELECT 3'), sync] },
    { send: [bind({ statement: '' }), execute(), sync] },
    { send: [parse('', 'nonsense'), sync] },
    { send: [bind({ statement: '' }), execute(), sync] },
  ],
  'a Parse in a failed transaction is refused, though the pool knows its text': [
    { send: [parse('s', 'SELECT 11'), sync] },
    { send: [close('S', 's'), sync] },
    { send: [query('BEGIN')] },
    { send: [query('SELECT 1/0')] },
    { send: [parse('s', 'SELECT 11'), sync] },
    { send: [bind({ statement: 's' }), execute(), sync] },
    { send: [query('ROLLBACK')] },
    { send: [bind({ statement: 's' }), execute(), sync] },
    { send: [parse('s', 'SELECT 11'), bind({ statement: 's' }), execute(), sync] },
  ],
  'and so is one sent behind what fails the transaction': [
    { send: [parse('s', 'SELECT 11'), close('S', 's'), sync] },
    { send: [query('BEGIN'), query('SELECT 1/0'), parse('s', 'SELECT 11'), sync], ready: 3 },
    { send: [query('ROLLBACK')] },
    { send: [bind({ statement: 's' }), execute(), sync] },
  ],
  'a ROLLBACK that the pool knows can be prepared in a failed transaction': [
    { send: [parse('s', 'ROLLBACK'), close('S', 's'), sync] },
    { send: [query('BEGIN')] },
    { send: [query('SELECT 1/0')] },
    { send: [parse('s', 'ROLLBACK'), bind({ statement: 's' }), execute(), sync] },
  ],
  'errors name a statement as the client does': [
    { send: [parse('s', 'SELECT $1::int'), sync] },
    { send: [bind({ statement: 's' }), execute(), sync] },
    { send: [query('SELECT 1; DEALLOCATE ALL'), bind({ statement: 's' }), execute(), sync], ready: 2 },
    { send: [bind({ statement: 's' }), execute(), sync] },
  ],
  'notices reach the client': [
    { send: [query('DO $$ BEGIN RAISE NOTICE $x$hello$x$; RAISE INFO $x$you$x$; END $$')] },
  ],
  'parameters the client sets are its own': [
    { send: [query("SET application_name = 'mine'")] },
    { send: [query('SHOW application_name')] },
    { send: [query("SET DateStyle = 'German'")] },
    { send: [query("SELECT date '2026-11-22'")] },
  ],
};

let database: FreshDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database.drop());

async function talk(url: string, name: string, pieces: 'whole' | 'cut'): Promise<string[]> {
  const client = await RawClient.connect(url);
  const answers: string[] = [];
  for (const { send, ready = 1 } of conversations[name]!) {
    if (pieces === 'whole') client.send(...send);
    else await client.sendSlowly(cut(Buffer.concat(send)));
    answers.push(...shown(await client.untilReady(ready)));
  }
  client.close();
  return answers;
}

/** Small pieces of uneven sizes; the tail of a long message in one. */
function cut(bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (let size = 1; at < bytes.length; size = (size % 7) + 1) {
    const to = at > 600 ? bytes.length : Math.min(bytes.length, at + size);
    pieces.push(bytes.subarray(at, to));
    at = to;
  }
  return pieces;
}

for (const poolMode of ['transaction', 'session'] as const) {
  group(`in ${poolMode} mode`, () => {
    test.for(Object.keys(conversations))('%s', async (name) => {
      const proxy = await testProxy(database, { poolMode, poolSize: 1 });
      const direct = await talk(database.owner.url, name, 'whole');
      expect(await talk(proxy.url(database.owner), name, 'whole')).toEqual(direct);
      expect(await talk(proxy.url(database.owner), name, 'cut')).toEqual(direct);
    });
  });
}
