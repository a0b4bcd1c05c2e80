/** However a COMMIT gets to the server, the changes before it are flushed before it: on a real server, which has its own mind. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { bind, execute, flush, parse, query, sync } from '../../../proxy/wire/messages/requests.ts';
import { type Blog, blogRows, exact, freshBlog } from '../../kit/blog.ts';
import { metric } from '../../kit/clients.ts';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';
import { RawClient, describe as shown } from '../../kit/raw-client.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
});
afterAll(() => blog.database.drop());
beforeEach(async () => {
  await blog.owner.query(blogRows);
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
const copyData = Buffer.from('d\0\0\0\x0b1\thear\n', 'latin1');
const copyDone = Buffer.from('c\0\0\0\x04', 'latin1');

/** Each ends between transactions, with its changes committed. */
const ways: Record<string, { readonly steps: readonly Step[]; readonly commits?: false }> = {
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
  const client = await RawClient.connect(proxy.url(blog.database.app));
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
    // The one server is free and in order.
    expect(await converse(proxy, [begin, update, { send: [query('COMMIT')] }])).toEqual([
      ...['C(BEGIN)', 'Z(T)', 'C(UPDATE 1)', 'Z(T)', 'C(COMMIT)', 'Z(I)'],
    ]);
    expect(await blog.state()).toEqual(exact);
  });
}
