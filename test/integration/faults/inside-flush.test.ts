/**
 * The server gives up in the middle of a flush: timeouts, cancelling, no disk, no memory. Through the proxy the flush stands
 * in COMMIT's packet, directly it is the deferred trigger's; the client must be told the same in either case.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { bind, execute, parse, query, sync } from '../../../proxy/wire/messages/requests.ts';
import { type Blog, blogRows, exact, freshBlog } from '../../kit/blog.ts';
import { until } from '../../kit/clients.ts';
import { isLong } from '../../kit/effort.ts';
import { testProxy } from '../../kit/proxy.ts';
import { RawClient, type RawMessage, describe as shown } from '../../kit/raw-client.ts';

let blog: Blog;
beforeAll(async () => {
  blog = await freshBlog();
  await blog.owner.query(`
    CREATE TABLE fault (code text NOT NULL, message text NOT NULL, hint text NOT NULL);
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE f public.fault;
    BEGIN
      SELECT * INTO f FROM public.fault;
      IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = f.code, MESSAGE = f.message, HINT = f.hint;
      END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON tv_post FOR EACH ROW EXECUTE FUNCTION fail();
  `);
});
afterAll(() => blog.database.drop());
beforeEach(() => blog.owner.query(`TRUNCATE fault; ${blogRows}`));

const run = (statement: string): Buffer[] => [parse('', statement), bind({ statement: '' }), execute()];

interface Talk {
  /** What is sent before, and how often the server gets ready for it. */
  readonly before: readonly (readonly Buffer[])[];
  /** The packet with COMMIT in it. */
  readonly last: readonly Buffer[];
  readonly ready: number;
}

/** Ways to get from BEGIN to COMMIT, or to PREPARE TRANSACTION. */
const talks: Readonly<Record<string, (writes: readonly string[], end: string) => Talk>> = {
  'simple queries': (writes, end) => ({
    before: ['BEGIN', ...writes].map((text) => [query(text)]),
    last: [query(end)],
    ready: 1,
  }),
  'the extended protocol': (writes, end) => ({
    before: ['BEGIN', ...writes].map((text) => [...run(text), sync]),
    last: [...run(end), sync],
    ready: 1,
  }),
  'a pipeline of one batch': (writes, end) => ({
    before: [],
    last: [...['BEGIN', ...writes, end].flatMap(run), sync],
    ready: 1,
  }),
  'a pipeline of many batches': (writes, end) => ({
    before: [],
    last: ['BEGIN', ...writes, end].flatMap((text) => [...run(text), sync]),
    ready: writes.length + 2,
  }),
  'a pipeline of simple queries': (writes, end) => ({
    before: [],
    last: ['BEGIN', ...writes, end].map((text) => query(text)),
    ready: writes.length + 2,
  }),
  'a batch that goes on behind it': (writes, end) => ({
    before: ['BEGIN', ...writes].map((text) => [...run(text), sync]),
    last: [...run(end), ...run("UPDATE tb_post SET title = 'behind' WHERE pk_post = 2"), sync],
    ready: 1,
  }),
};

const WRITE = "UPDATE tb_post SET title = 'never' WHERE pk_post = 1";

interface Fault {
  readonly code: string;
  /** Statements of the client ahead of its write. */
  readonly sets?: readonly string[];
  /** Makes it happen; called before COMMIT is sent. */
  readonly prepare?: () => Promise<unknown>;
  /** Keeps the flush waiting until this has been done. */
  readonly meanwhile?: (client: RawClient) => Promise<unknown>;
  /** Of this one all ways are tried; here only the plain ones, unless there is time. */
  readonly like?: string;
  /** Waits for a table that somebody has locked. */
  readonly blocked?: true;
}

const raise = (code: string, message: string, hint: string): Fault => ({
  code,
  ...(code === '53100' ? {} : { like: '53100' }),
  prepare: () => blog.owner.query('INSERT INTO fault VALUES ($1, $2, $3)', [code, message, hint]),
});

const faults: Readonly<Record<string, Fault>> = {
  disk_full: raise(
    '53100',
    'could not extend file "base/5/16384": No space left on device',
    'Check free disk space.',
  ),
  out_of_memory: raise('53200', 'out of memory', 'Failed on request of size 1024.'),
  too_many_connections: raise('53300', 'sorry, too many clients already', 'Try again.'),
  'an exception of the server': raise('XX000', 'could not read block 1 in file "base/5/16384"', 'Check it.'),
  lock_timeout: { code: '55P03', sets: ["SET LOCAL lock_timeout = '100ms'"], blocked: true },
  pg_cancel_backend: {
    code: '57014',
    like: 'CancelRequest',
    blocked: true,
    meanwhile: () => signal('pg_cancel_backend'),
  },
  CancelRequest: { code: '57014', blocked: true, meanwhile: (client) => client.cancel() },
};

/** To the backend of the client that waits for a lock. */
function signal(how: 'pg_cancel_backend' | 'pg_terminate_backend'): Promise<unknown> {
  return asSuperuser(
    `SELECT ${how}(pid) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'`,
    [blog.database.app.role],
  );
}

async function asSuperuser(text: string, values: unknown[]): Promise<readonly Record<string, unknown>[]> {
  const admin = await blog.database.client(blog.database.superuser);
  try {
    return (await admin.query<Record<string, unknown>>(text, values)).rows;
  } finally {
    await admin.end();
  }
}

/** Runs `work` while nobody can write tv_post; `waiting` resolves when the application's backend waits for that. */
async function whileLocked<T>(work: (waiting: () => Promise<void>) => Promise<T>): Promise<T> {
  const locker = await blog.database.client();
  await locker.query('BEGIN; LOCK TABLE tv_post IN EXCLUSIVE MODE');
  try {
    return await work(() =>
      until('the flush waits', async () => {
        const rows = await asSuperuser(
          "SELECT FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'",
          [blog.database.app.role],
        );
        return rows.length > 0;
      }),
    );
  } finally {
    await locker.query('ROLLBACK');
    await locker.end();
  }
}

/** What the client is told of statements, errors and its transaction; that a Parse or Bind worked is left out. */
function told(messages: readonly RawMessage[]): string[] {
  return shown(messages.filter(({ type }) => !['1', '2', 'S', 'n'].includes(type)));
}

async function conversation(client: RawClient, talk: Talk, fault: Fault): Promise<string[]> {
  const answers: RawMessage[] = [];
  for (const messages of talk.before) {
    client.send(...messages);
    answers.push(...(await client.untilReady()));
  }
  await fault.prepare?.();
  const ask = async (waiting: () => Promise<void>): Promise<void> => {
    client.send(...talk.last);
    if (fault.meanwhile !== undefined) {
      await waiting();
      await fault.meanwhile(client);
    }
    answers.push(...(await client.untilReady(talk.ready)));
  };
  if (fault.blocked) await whileLocked(ask);
  else await ask(async () => {});
  return told(answers);
}

/** Nothing is done, nothing is left: no row, no lock, no transaction. */
async function nothingHappened(): Promise<void> {
  const { rows } = await blog.owner.query("SELECT FROM tb_post WHERE title IN ('never', 'behind')");
  expect(rows).toEqual([]);
  expect(await blog.state()).toEqual(exact);
  expect(
    await asSuperuser(
      `SELECT pid::text, state FROM pg_stat_activity WHERE usename = $1 AND state <> 'idle'
       UNION ALL SELECT pid::text, mode FROM pg_locks
       WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       UNION ALL SELECT gid, 'prepared' FROM pg_prepared_xacts WHERE database = current_database()`,
      [blog.database.app.role],
    ),
  ).toEqual([]);
}

async function goesOn(client: RawClient): Promise<void> {
  await blog.owner.query('TRUNCATE fault');
  client.send(query('BEGIN'));
  await client.untilReady();
  client.send(query("UPDATE tb_post SET title = 'goes on' WHERE pk_post = 3"));
  await client.untilReady();
  client.send(query('COMMIT'));
  expect(shown(await client.untilReady())).toEqual(['C(COMMIT)', 'Z(I)']);
  const { rows } = await blog.owner.query("SELECT data->>'title' AS title FROM tv_post WHERE pk_post = 3");
  expect(rows).toEqual([{ title: 'goes on' }]);
  expect(await blog.state()).toEqual(exact);
}

for (const [name, fault] of Object.entries(faults)) {
  describe(name, () => {
    for (const [way, talkOf] of Object.entries(talks)) {
      if (!isLong && fault.like !== undefined && way.startsWith('a ')) continue;
      test(`in COMMIT, by ${way}: ${fault.code}, rolled back, and the session goes on`, async () => {
        const talk = talkOf([...(fault.sets ?? []), WRITE], 'COMMIT');
        const direct = await RawClient.connect(blog.database.app.url);
        const expected = await conversation(direct, talk, fault);
        expect(expected.filter((answer) => answer.startsWith(`E(${fault.code}`))).toHaveLength(1);
        await nothingHappened();
        await goesOn(direct);
        direct.close();
        for (const poolMode of ['transaction', 'session'] as const) {
          await blog.owner.query('TRUNCATE fault');
          const proxy = await testProxy(blog.database, { poolMode, poolSize: 1 });
          const client = await RawClient.connect(proxy.url(blog.database.app));
          expect(await conversation(client, talk, fault), poolMode).toEqual(expected);
          await nothingHappened();
          await goesOn(client);
          client.close();
        }
      });
    }

    test('in PREPARE TRANSACTION, and outside a transaction', async () => {
      const proxy = await testProxy(blog.database, { poolSize: 1 });
      const gid = `fault ${blog.database.name}`;
      const talk = talks['simple queries']!([...(fault.sets ?? []), WRITE], `PREPARE TRANSACTION '${gid}'`);
      // SET LOCAL means nothing there; the other faults do.
      const alone: Talk = { before: [], last: [query(WRITE)], ready: 1 };
      for (const url of [blog.database.app.url, proxy.url(blog.database.app)]) {
        for (const one of fault.sets === undefined ? [talk, alone] : [talk]) {
          await blog.owner.query('TRUNCATE fault');
          const client = await RawClient.connect(url);
          const answers = await conversation(client, one, fault);
          expect(answers.at(-2)).toContain(`E(${fault.code}`);
          expect(answers.at(-1)).toBe('Z(I)');
          await nothingHappened();
          await goesOn(client);
          client.close();
        }
      }
    });
  });
}

describe('statement_timeout', () => {
  const begin = async (url: string): Promise<RawClient> => {
    const client = await RawClient.connect(url);
    for (const text of ['BEGIN', WRITE, "SET LOCAL statement_timeout = '100ms'"]) {
      client.send(query(text));
      await client.untilReady();
    }
    return client;
  };

  test('bounds the flush that goes out with COMMIT: 57014, rolled back, and the session goes on', async () => {
    for (const poolMode of ['transaction', 'session'] as const) {
      const proxy = await testProxy(blog.database, { poolMode, poolSize: 1 });
      for (const commit of [[query('COMMIT')], [...run('COMMIT'), sync]]) {
        const client = await begin(proxy.url(blog.database.app));
        const answer = await whileLocked(async () => {
          client.send(...commit);
          return told(await client.untilReady());
        });
        expect(answer).toEqual(['E(57014 canceling statement due to statement timeout)', 'Z(I)']);
        await nothingHappened();
        await goesOn(client);
        client.close();
      }
    }
  });

  // PostgreSQL ends the statement's time when it begins to commit: deferred triggers, of whomever, run without a limit.
  test('does not bound the fallback, which PostgreSQL runs within COMMIT', async () => {
    const client = await begin(blog.database.app.url);
    await whileLocked(async (waiting) => {
      client.send(query('COMMIT'));
      await waiting();
      // Longer than the timeout.
      await blog.owner.query('SELECT pg_sleep(0.3)');
      await waiting();
    });
    expect(told(await client.untilReady())).toEqual(['C(COMMIT)', 'Z(I)']);
    expect(await blog.state()).toEqual(exact);
    client.close();
  });
});

describe('faults that end the session', () => {
  const ending: Readonly<Record<string, Fault & { readonly since?: number }>> = {
    pg_terminate_backend: { code: '57P01', blocked: true, meanwhile: () => signal('pg_terminate_backend') },
    transaction_timeout: {
      code: '25P04',
      sets: ["SET LOCAL transaction_timeout = '700ms'"],
      blocked: true,
      since: 17,
    },
  };
  for (const [name, fault] of Object.entries(ending)) {
    test(`${name} inside the flush: ${fault.code} and the end, and the proxy serves the next client`, async ({
      skip,
    }) => {
      if (inject('serverVersion') < (fault.since ?? 0)) skip(`${name} came with ${fault.since}`);
      const proxy = await testProxy(blog.database, { poolSize: 1 });
      for (const url of [blog.database.app.url, proxy.url(blog.database.app)]) {
        const client = await RawClient.connect(url);
        for (const text of ['BEGIN', ...(fault.sets ?? []), WRITE]) {
          client.send(query(text));
          await client.untilReady();
        }
        const end = await whileLocked(async (waiting) => {
          client.send(query('COMMIT'));
          if (fault.meanwhile !== undefined) {
            await waiting();
            await fault.meanwhile(client);
          }
          return told(await client.untilEnd());
        });
        expect(end[0]).toContain(`E(${fault.code}`);
        // Never a COMMIT, and nobody is ready for more.
        expect(end.filter((answer) => !answer.startsWith('E'))).toEqual([]);
        await nothingHappened();
        const next = await RawClient.connect(url);
        await goesOn(next);
        next.close();
      }
    });
  }

  test('idle_in_transaction_session_timeout between a write and COMMIT', async () => {
    const proxy = await testProxy(blog.database, { poolSize: 1 });
    for (const url of [blog.database.app.url, proxy.url(blog.database.app)]) {
      const client = await RawClient.connect(url);
      for (const text of ['BEGIN', WRITE, "SET LOCAL idle_in_transaction_session_timeout = '50ms'"]) {
        client.send(query(text));
        await client.untilReady();
      }
      const end = told(await client.untilEnd());
      expect(end[0]).toContain('E(25P03');
      expect(end.filter((answer) => !answer.startsWith('E'))).toEqual([]);
      await nothingHappened();
      const next = await RawClient.connect(url);
      await goesOn(next);
      next.close();
    }
  });
});
