/** Prepared statements on servers that clients share: a name is its client's, and what one client does to a server heals. */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import {
  bind,
  close,
  describe as describeMessage,
  execute,
  flush,
  parse,
  query,
  sync,
} from '../../../proxy/wire/messages/requests.ts';
import { type Blog, freshBlog } from '../../kit/blog.ts';
import { connectTo, until } from '../../kit/clients.ts';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';
import { RawClient, describe as shown } from '../../kit/raw-client.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
});
afterAll(() => blog.database.drop());

/** One server, shared by everybody. */
const oneServer = (): Promise<TestProxy> =>
  testProxy(blog.database, { poolMode: 'transaction', poolSize: 1 });

async function open(proxy: TestProxy): Promise<RawClient> {
  const client = await RawClient.connect(proxy.url(blog.database.owner));
  onTestFinished(() => client.close());
  return client;
}

async function ask(client: RawClient, ...messages: readonly Buffer[]): Promise<string[]> {
  client.send(...messages);
  return shown(await client.untilReady());
}

const run = (name: string): Buffer[] => [bind({ statement: name }), execute(), sync];
const one = (text: string): string => {
  const body = Buffer.alloc(6 + text.length);
  body.writeInt16BE(1, 0);
  body.writeInt32BE(text.length, 2);
  body.write(text, 6);
  return `D(${body.toString('hex')})`;
};

/** The names the pool has given, as a curious client can read them. */
async function poolNames(client: RawClient): Promise<string[]> {
  client.send(query("SELECT name FROM pg_prepared_statements WHERE name LIKE 'tviews\\_%'"));
  const rows = (await client.untilReady()).filter(({ type }) => type === 'D');
  return rows.map(({ body }) => body.toString('latin1', 6));
}

describe("another client's statement", () => {
  test('cannot be run or described by the name the pool gave it', async () => {
    const proxy = await oneServer();
    const [owner, other] = [await open(proxy), await open(proxy)];
    expect(await ask(owner, parse('s', "SELECT 'secret'"), sync)).toEqual(['1', 'Z(I)']);
    const [name] = await poolNames(other);
    const unknown = [`E(26000 prepared statement "${name}" does not exist)`, 'Z(I)'];
    expect(await ask(other, ...run(name!))).toEqual(unknown);
    expect(await ask(other, describeMessage('S', name!), sync)).toEqual(unknown);
    expect(await ask(owner, ...run('s'))).toEqual(['2', one('secret'), 'C(SELECT 1)', 'Z(I)']);
  });

  test('cannot be run by a name it made with PREPARE', async () => {
    const proxy = await oneServer();
    const [owner, other] = [await open(proxy), await open(proxy)];
    await ask(owner, query("PREPARE mine AS SELECT 'secret'"));
    expect(await ask(other, ...run('mine'))).toEqual([
      'E(26000 prepared statement "mine" does not exist)',
      'Z(I)',
    ]);
  });

  test('has a name that cannot be guessed', async () => {
    const names: string[] = [];
    for (let n = 0; n < 2; n += 1) {
      const proxy = await oneServer();
      const client = await open(proxy);
      await ask(client, parse('s', 'SELECT 1'), sync);
      names.push(...(await poolNames(client)));
    }
    expect(new Set(names).size).toBe(2);
  });
});

describe('a server whose statements are not what the pool thinks', () => {
  const spoil: Record<string, (names: readonly string[]) => string> = {
    'they were deallocated inside a function': () => "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$",
    'one was deallocated by the name the pool gave it': ([name]) => `DEALLOCATE ${name}`,
  };
  test.for(Object.keys(spoil))('%s: it is replaced at the first error', async (how) => {
    const proxy = await oneServer();
    const [client, other] = [await open(proxy), await open(proxy)];
    await ask(client, parse('s', "SELECT 'mine'"), sync);
    const text = spoil[how]!(await poolNames(other));
    expect((await ask(other, query(text))).at(-1)).toBe('Z(I)');
    expect(await ask(client, ...run('s'))).toEqual([
      'E(26000 prepared statement "s" does not exist)',
      'Z(I)',
    ]);
    const mine = ['2', one('mine'), 'C(SELECT 1)', 'Z(I)'];
    expect(await ask(client, ...run('s'))).toEqual(mine);
    expect(await ask(other, parse('t', "SELECT 'mine'"), ...run('t'))).toEqual(['1', ...mine]);
  });

  test('a name is taken: the client is told by its own name, and the next server is a good one', async () => {
    const proxy = await oneServer();
    const [client, other] = [await open(proxy), await open(proxy)];
    await ask(client, parse('s', "SELECT 'first'"), sync);
    const [name] = await poolNames(other);
    const following = name!.replace(/\d+$/, (id) => String(Number(id) + 1));
    await ask(other, query(`PREPARE ${following} AS SELECT 'forged'`));
    expect(await ask(client, parse('t', "SELECT 'second'"), ...run('t'))).toEqual([
      'E(42P05 prepared statement "t" already exists)',
      'Z(I)',
    ]);
    expect(await ask(client, parse('t', "SELECT 'second'"), ...run('t'))).toEqual([
      ...['1', '2', one('second'), 'C(SELECT 1)', 'Z(I)'],
    ]);
  });
});

describe('a statement whose table has changed', () => {
  test('fails at most once when it is prepared by a client that never had it', async () => {
    const proxy = await oneServer();
    const [client, other] = [await open(proxy), await open(proxy)];
    await ask(client, query('CREATE TABLE evolving (a int)'));
    const text = 'SELECT * FROM evolving';
    await ask(client, parse('s', text), ...run('s'));
    await ask(other, query('ALTER TABLE evolving ADD COLUMN b int'));
    const changed = ['E(0A000 cached plan must not change result type)', 'Z(I)'];
    expect(await ask(other, parse('t', text), ...run('t'))).toEqual(['1', ...changed]);
    const good = ['2', 'C(SELECT 0)', 'Z(I)'];
    expect(await ask(other, close('S', 't'), parse('t', text), ...run('t'))).toEqual(['3', '1', ...good]);
    // Whoever still has the old description is told, too, as often as it asks.
    expect(await ask(client, ...run('s'))).toEqual(changed);
    expect(await ask(client, ...run('s'))).toEqual(changed);
    expect(await ask(client, parse('u', text), ...run('u'))).toEqual(['1', ...good]);
    await ask(client, query('DROP TABLE evolving'));
  });
});

describe('a COPY', () => {
  const copyData = (text: string, length = Buffer.byteLength(text)): Buffer => {
    const message = Buffer.alloc(5 + Buffer.byteLength(text));
    message.write('d');
    message.writeUInt32BE(4 + length, 1);
    message.write(text, 5);
    return message;
  };
  let admin: pg.Client;
  beforeAll(async () => {
    admin = blog.owner;
    await admin.query('CREATE TABLE copied (a int)');
  });

  const serves = async (proxy: TestProxy): Promise<void> => {
    const next = await connectTo(proxy.url(blog.database.owner));
    expect((await next.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await next.end();
  };

  test('whose client vanishes in the middle of its data leaves a server that nobody gets', async () => {
    const proxy = await oneServer();
    const client = await open(proxy);
    client.send(query('COPY copied FROM STDIN'), copyData('bad\n'), copyData('1\n2\n', 1_000_000));
    expect(shown(await client.untilReady()).at(-1)).toBe('Z(I)');
    client.close();
    await until('it is gone', () => proxy.pools().every(({ clients }) => clients.active === 0));
    await serves(proxy);
  });

  test('that failed and was ended by Sync gives its server back', async () => {
    const proxy = await oneServer();
    const client = await open(proxy);
    client.send(parse('', 'COPY copied FROM STDIN'), bind({ statement: '' }), execute(), flush);
    for (const type of ['1', '2', 'G']) expect((await client.next())?.type).toBe(type);
    expect((await ask(client, copyData('bad\n'), sync)).at(-1)).toBe('Z(I)');
    await serves(proxy);
  });

  test('that failed and was ended by Sync is followed by what was sent behind it', async () => {
    const proxy = await oneServer();
    const client = await open(proxy);
    client.send(parse('', 'COPY copied FROM STDIN'), bind({ statement: '' }), execute(), flush);
    for (const type of ['1', '2', 'G']) expect((await client.next())?.type).toBe(type);
    client.send(copyData('bad\n'), sync, query('SELECT 1'));
    const answers = shown(await client.untilReady(2));
    expect(answers.slice(1)).toEqual(['Z(I)', 'T', one('1'), 'C(SELECT 1)', 'Z(I)']);
    await serves(proxy);
  });

  test('that goes on behind a Sync, which PostgreSQL ignores, works, and gives its server back', async () => {
    const proxy = await oneServer();
    const client = await open(proxy);
    client.send(parse('', 'COPY copied FROM STDIN'), bind({ statement: '' }), execute(), flush);
    for (const type of ['1', '2', 'G']) expect((await client.next())?.type).toBe(type);
    client.send(copyData('1\n'), sync);
    client.send(copyData('2\n'), sync, Buffer.from([0x63, 0, 0, 0, 4]));
    expect(await ask(client, sync)).toEqual(['C(COPY 2)', 'Z(I)']);
    await serves(proxy);
  });
});

describe('a statement of ours in the client’s transaction', () => {
  test('leaves the unnamed statement what it was', async () => {
    const proxy = await oneServer();
    const client = await open(proxy);
    await ask(client, query('CREATE TABLE plain (pk_plain int PRIMARY KEY)'));
    await ask(client, query('BEGIN'));
    await ask(client, parse('', "SELECT 'mine'"), sync);
    const text =
      "CREATE TVIEW tv_plain AS SELECT p.pk_plain, jsonb_build_object('k', p.pk_plain) AS data FROM plain p";
    const created = await ask(client, parse('x', text), bind({ statement: 'x' }), execute(), sync);
    expect(created.filter((message) => !message.startsWith('N'))).toEqual([
      ...['1', '2', 'C(CREATE TVIEW)', 'Z(T)'],
    ]);
    expect(await ask(client, describeMessage('S', ''), ...run(''))).toEqual([
      ...['t', 'T', '2', one('mine'), 'C(SELECT 1)', 'Z(T)'],
    ]);
    await ask(client, query('ROLLBACK'));
  });
});
