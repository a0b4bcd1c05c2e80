/** However a COMMIT gets to the server, the changes before it are flushed before it: on a real server, which has its own mind. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { bind, execute, flush, parse, query, sync } from '../../../proxy/wire/messages/requests.ts';
import { applyText, type Blog, blogRows, exact, freshBlog } from '../../kit/blog.ts';
import { metric } from '../../kit/clients.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';
import { RawClient, describe as shown } from '../../kit/raw-client.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
  await blog.owner.query(`
    CREATE TABLE tb_tag (tag text PRIMARY KEY, uses integer NOT NULL);
    CREATE TABLE request (name text NOT NULL);
    CREATE FUNCTION serve() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN UPDATE tb_author SET name = NEW.name WHERE pk_author = 3; RETURN NULL; END $$;
    CREATE TRIGGER serve AFTER INSERT ON request FOR EACH ROW EXECUTE FUNCTION serve();
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
  `);
  await applyText(blog.owner, 'CREATE TVIEW tv_tag WITH (key = tag) AS SELECT tag, uses FROM tb_tag');
});
afterAll(() => blog.database.drop());
beforeEach(async () => {
  await blog.owner.query(blogRows);
  await blog.owner.query("TRUNCATE tb_tag; INSERT INTO tb_tag VALUES ('é', 0)");
});

const run = (statement: string) => [parse('', statement), bind({ statement: '' }), execute()];
const UPDATE = "UPDATE tb_author SET name = 'settled' WHERE pk_author = 1";

interface Step {
  readonly send: readonly Buffer[];
  /** ReadyForQuerys that answer it; 0: one message, asked for by Flush. */
  readonly ready?: number;
  readonly messages?: number;
}

const begin: Step = { send: [query('BEGIN')] };
const update: Step = { send: [query(UPDATE)] };
const savepoint: Step = { send: [query('SAVEPOINT s')] };
const failing = query('SELECT 1/0');
const copyData = Buffer.from('d\0\0\0\x0b1\thear\n', 'latin1');
const copyDone = Buffer.from('c\0\0\0\x04', 'latin1');

/** Each ends between transactions, with its changes committed. */
const ways: Record<string, { readonly steps: readonly Step[]; readonly commits?: false }> = {
  // In each of these the COMMIT is followed by something that fails: whatever it owed must not be forgotten with that.
  'a COMMIT bound before the write and executed after it': {
    steps: [
      begin,
      { send: [parse('c', 'COMMIT'), bind({ portal: 'late', statement: 'c' }), sync] },
      update,
      { send: [execute('late'), sync] },
    ],
  },
  'a COMMIT bound before the write in the same batch': {
    steps: [
      begin,
      {
        send: [
          ...[parse('c', 'COMMIT'), bind({ portal: 'late', statement: 'c' })],
          ...[...run(UPDATE), execute('late'), sync],
        ],
      },
    ],
  },
  'a COMMIT behind a ROLLBACK TO that undoes a settlement, in one packet': {
    steps: [
      begin,
      update,
      { send: [query('SAVEPOINT s')] },
      { send: [query('DO $$ BEGIN END $$')] },
      { send: [query('ROLLBACK TO s'), query('COMMIT')], ready: 2 },
    ],
  },
  'a COMMIT behind a ROLLBACK TO that brings the transaction back, in one packet': {
    steps: [
      begin,
      update,
      { send: [query('SAVEPOINT s')] },
      { send: [query('SELECT 1/0')] },
      { send: [query('ROLLBACK TO s'), query('COMMIT')], ready: 2 },
    ],
  },
  'a COMMIT behind a ROLLBACK TO that brings the transaction back, in one batch': {
    steps: [
      begin,
      update,
      { send: [query('SAVEPOINT s')] },
      { send: [query('SELECT 1/0')] },
      { send: [...run('ROLLBACK TO s'), ...run('COMMIT'), sync] },
    ],
  },
  'a COMMIT right behind the data of a COPY': {
    steps: [
      begin,
      {
        send: [query('COPY tb_comment (fk_post, body) FROM STDIN'), copyData, copyDone, query('COMMIT')],
        ready: 2,
      },
    ],
  },
  'a COMMIT in a batch that fails before it, brought back and committed': {
    steps: [
      begin,
      update,
      { send: [query('SAVEPOINT s')] },
      { send: [parse('', 'nonsense'), ...run('COMMIT'), sync] },
      { send: [query('ROLLBACK TO s')] },
      { send: [query('COMMIT')] },
    ],
  },
  'a batch that fails before its COMMIT, rolled back': {
    steps: [
      begin,
      update,
      { send: [parse('', 'nonsense'), ...run('COMMIT'), sync] },
      { send: [query('ROLLBACK')] },
    ],
    commits: false,
  },
  'a batch that fails before its CALL, rolled back': {
    steps: [
      begin,
      update,
      { send: [parse('', 'nonsense'), ...run('DO $$ BEGIN END $$'), sync] },
      { send: [query('ROLLBACK')] },
    ],
    commits: false,
  },
  'a write behind a COMMIT in the same batch': {
    steps: [
      begin,
      update,
      { send: [...run('COMMIT'), flush], ready: 0, messages: 3 },
      { send: [...run("UPDATE tb_author SET name = 'behind' WHERE pk_author = 2"), sync] },
    ],
  },
  'a COMMIT behind a long batch that fails, in one packet with its ROLLBACK TO': {
    steps: [
      begin,
      update,
      savepoint,
      {
        send: [
          ...run('SELECT 1/0'),
          ...Array.from({ length: 30 }, () => run('SELECT 1')).flat(),
          ...[sync, query('ROLLBACK TO s'), query('COMMIT'), failing],
        ],
        ready: 4,
      },
    ],
  },
  'a COMMIT behind the Sync of a batch whose error is here already': {
    steps: [
      begin,
      update,
      savepoint,
      { send: [parse('', 'nonsense'), flush], ready: 0, messages: 1 },
      { send: [sync, query('ROLLBACK TO s'), query('COMMIT'), failing], ready: 4 },
    ],
  },
  'a COMMIT behind another one that was never run': {
    steps: [
      begin,
      update,
      savepoint,
      { send: [parse('', 'nonsense'), ...run('COMMIT'), flush], ready: 0, messages: 1 },
      { send: [sync, query('ROLLBACK TO s'), query('COMMIT'), failing], ready: 4 },
    ],
  },
  'a COMMIT right behind a write that does not name the source, in a transaction rolled back to a savepoint':
    {
      steps: [
        begin,
        { send: [query("UPDATE tb_author SET name = 'none' WHERE false")] },
        savepoint,
        { send: [query('ROLLBACK TO s')] },
        { send: [query("INSERT INTO request VALUES ('hidden')"), query('COMMIT'), failing], ready: 3 },
      ],
    },
  'the same in one batch': {
    steps: [
      begin,
      { send: [query("UPDATE tb_author SET name = 'none' WHERE false")] },
      savepoint,
      { send: [query('ROLLBACK TO s')] },
      {
        send: [
          ...run("INSERT INTO request VALUES ('hidden')"),
          ...run('COMMIT'),
          ...[parse('', 'nonsense'), sync],
        ],
      },
    ],
  },
  'a COMMIT whose portal another Bind failed to replace': {
    steps: [
      begin,
      {
        send: [
          ...[parse('c', 'COMMIT'), parse('x', 'SELECT 1')],
          ...[bind({ portal: 'p', statement: 'c' }), sync],
        ],
      },
      update,
      savepoint,
      { send: [bind({ portal: 'p', statement: 'x' }), sync] },
      { send: [query('ROLLBACK TO s')] },
      update,
      { send: [execute('p'), sync, failing], ready: 2 },
    ],
  },
  'a COMMIT behind a change of client_encoding in its batch': {
    steps: [
      { send: [parse('latin', "SET LOCAL client_encoding = 'LATIN1'"), sync] },
      begin,
      { send: [query("UPDATE tb_tag SET uses = uses + 1 WHERE tag = 'é'")] },
      { send: [bind({ statement: 'latin' }), execute(), ...run('COMMIT'), sync] },
    ],
  },
  'a COMMIT in a transaction that has made a tview': {
    steps: [
      begin,
      { send: [query("UPDATE tb_tag SET uses = uses + 1 WHERE tag = 'é'")] },
      {
        send: [query('CREATE TVIEW tv_name WITH (key = pk_author) AS SELECT pk_author, name FROM tb_author')],
      },
      { send: [query('DROP TVIEW tv_name')] },
      { send: [query('COMMIT')] },
    ],
  },
  'an error of three megabytes, rolled back': {
    steps: [
      begin,
      update,
      { send: [...run("DO $$ BEGIN RAISE '%', repeat('x', 3000000); END $$"), sync] },
      { send: [query('ROLLBACK')] },
    ],
    commits: false,
  },
};

async function converse(proxy: TestProxy, steps: readonly Step[]): Promise<string[]> {
  const client = await RawClient.connect(proxy.url(blog.database.owner));
  const answers: string[] = [];
  for (const { send, ready = 1, messages = 0 } of steps) {
    client.send(...send);
    if (ready > 0) answers.push(...shown(await client.untilReady(ready)));
    for (let count = 0; count < messages; count += 1) answers.push(...shown([(await client.next())!]));
  }
  client.close();
  return answers;
}

for (const poolMode of ['transaction', 'session'] as const) {
  test.for(Object.keys(ways))(`in ${poolMode} mode: %s`, async (way) => {
    const { steps, commits = true } = ways[way]!;
    const proxy = await testProxy(blog.database, { poolMode, poolSize: 1 });
    const answers = await converse(proxy, steps);
    expect(answers.at(-1)).toBe('Z(I)');
    expect(answers.filter((answer) => answer === 'C(COMMIT)')).toHaveLength(commits ? 1 : 0);
    expect(await metric(proxy.metrics, 'tviews_flushes_total', 'trigger="late"')).toBe(0);
    expect(await blog.state()).toEqual(exact);
    expect(await divergence(blog.owner, 'public.tv_tag')).toEqual(inStep);
    // The one server is free and in order.
    expect(await converse(proxy, [begin, update, { send: [query('COMMIT')] }])).toEqual([
      ...['C(BEGIN)', 'Z(T)', 'C(UPDATE 1)', 'Z(T)', 'C(COMMIT)', 'Z(I)'],
    ]);
    expect(await blog.state()).toEqual(exact);
  });
}

test('in session mode: a COMMIT that SQL executes by the name it was prepared under in the protocol', async () => {
  const proxy = await testProxy(blog.database, { poolMode: 'session', poolSize: 1 });
  const answers = await converse(proxy, [
    { send: [parse('c', 'COMMIT'), sync] },
    begin,
    update,
    { send: [query('EXECUTE c'), failing], ready: 2 },
  ]);
  expect(answers).toContain('C(COMMIT)');
  expect(await metric(proxy.metrics, 'tviews_flushes_total', 'trigger="late"')).toBe(0);
  expect(await blog.state()).toEqual(exact);
});

test('a notice with the SQLSTATE of our changes that is none reaches the client, and hides no change', async () => {
  const proxy = await testProxy(blog.database, { poolSize: 1 });
  const say = (message: string): Step => ({
    send: [query(`DO $$ BEGIN RAISE INFO USING ERRCODE = 'TV001', MESSAGE = '${message}'; END $$`)],
  });
  const answers = await converse(proxy, [
    begin,
    say('{"zz":[1'),
    update,
    say('2]}'),
    { send: [query('COMMIT')] },
  ]);
  expect(answers).toContain('N(TV001 {"zz":[1)');
  expect(await blog.state()).toEqual(exact);
});

test('a DO in a transaction that has failed is refused by PostgreSQL, claimed or not', async () => {
  const proxy = await testProxy(blog.database, { poolSize: 1 });
  const tail = { send: [parse('', 'nonsense'), sync, query('DO $$ BEGIN END $$')], ready: 2 };
  const answers = await converse(proxy, [begin, update, tail, { send: [query('ROLLBACK')] }]);
  expect(answers.slice(-5)).toEqual([
    'Z(E)',
    'E(25P02 current transaction is aborted, commands ignored until end of transaction block)',
    ...['Z(E)', 'C(ROLLBACK)', 'Z(I)'],
  ]);
  expect(await blog.state()).toEqual(exact);
});

test('a COMMIT in a transaction that has failed is answered as by PostgreSQL, claimed or not', async () => {
  const proxy = await testProxy(blog.database, { poolSize: 1 });
  const tail = { send: [parse('', 'nonsense'), sync, query('COMMIT')], ready: 2 };
  expect((await converse(proxy, [begin, update, tail])).slice(-3)).toEqual(['Z(E)', 'C(ROLLBACK)', 'Z(I)']);
  const batch = { send: [parse('', 'nonsense'), sync, ...run('COMMIT'), sync], ready: 2 };
  expect((await converse(proxy, [begin, update, batch])).slice(-5)).toEqual([
    ...['Z(E)', '1', '2', 'C(ROLLBACK)', 'Z(I)'],
  ]);
  const late = [
    {
      send: [parse('', 'nonsense'), sync, parse('', 'COMMIT'), bind({ statement: '' }), flush],
      messages: 4,
      ready: 0,
    },
    { send: [execute(), sync] },
  ];
  expect((await converse(proxy, [begin, update, ...late])).slice(-5)).toEqual([
    ...['Z(E)', '1', '2', 'C(ROLLBACK)', 'Z(I)'],
  ]);
  expect(await blog.state()).toEqual(exact);
});
