/** Verify: exact to the row, whatever the key, while others write; in pages that leave nothing behind. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { SqlExecutor } from '../../../src/database/executor.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { loadRegistry, requireTview } from '../../../src/database/registry.ts';
import {
  chooseMethod,
  comparePage,
  type Method,
  type Page,
  type Position,
  verifyTview,
} from '../../../src/database/verify.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { apply, shop, shopTviews } from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;
/** Writes tviews behind our back. */
let vandal: pg.Client;

beforeEach(async () => {
  database = await freshDatabase({ schema: 'shop' });
  owner = await database.client();
  await init(executorOf(owner));
  vandal = await database.client(database.superuser);
  await vandal.query(`SET session_replication_role = replica; SET search_path = shop, public`);
});
afterEach(() => database.drop());

/** Every page of a walk. */
async function walk(name: string, method: Method, pageSize: number): Promise<Page[]> {
  const executor = executorOf(owner);
  const { id, plan } = await requireTview(executor, await loadRegistry(executor), name);
  const pages: Page[] = [];
  let after: Position | null = null;
  do {
    const page: Page = await comparePage(
      executor,
      { id, name: plan.table.name },
      { method, after, pageSize, rows: 100 },
    );
    pages.push(page);
    after = page.upto;
  } while (after !== null);
  return pages;
}

const sumOf = (pages: readonly Page[]) => ({
  missing: pages.reduce((sum, page) => sum + page.missing, 0),
  surplus: pages.reduce((sum, page) => sum + page.surplus, 0),
  different: pages.reduce((sum, page) => sum + page.different, 0),
});

describe('a row that differs says where', () => {
  const definition = `SELECT pk_thing, name, amount, tags, data FROM tb_thing`;
  /** What verify says of the row of which the table has `old` where the definition has `expected`. */
  async function differences(column: string, old: string, expected: string) {
    await owner.query(`
      CREATE TABLE tb_thing (pk_thing int PRIMARY KEY, name text, amount numeric, tags text[], data jsonb);
      INSERT INTO tb_thing (pk_thing) VALUES (1);
      UPDATE tb_thing SET ${column} = ${expected};
    `);
    await apply(owner, 'tv_thing', definition);
    await vandal.query(`UPDATE tv_thing SET ${column} = ${old}`);
    const [row, ...others] = (await verifyTview(executorOf(owner), 'tv_thing')).rows;
    expect(others).toEqual([]);
    expect(row).toMatchObject({ kind: 'different', key: { pk_thing: 1 } });
    return row!;
  }
  const one = (column: string, old: string | null, expected: string | null, path: unknown[] = []) => [
    { column, path, reordered: false, old, expected },
  ];

  test('a plain column', async () => {
    expect((await differences('name', `'O''Neill "x"'`, 'NULL')).differences).toEqual(
      one('name', `O'Neill "x"`, null),
    );
  });

  test('a number that is equal and written otherwise', async () => {
    expect((await differences('amount', '1.0', '1.00')).differences).toEqual(one('amount', '1.0', '1.00'));
  });

  test('a path inside a document, also where the numbers are equal', async () => {
    const found = await differences(
      'data',
      `'{"a": {"b c": [1, {"x": 1.0}]}, "gone": null, "same": [1]}'`,
      `'{"a": {"b c": [1, {"x": 1.00}]}, "new": "n", "same": [1]}'`,
    );
    expect(found.differences).toHaveLength(3);
    expect(found.differences).toEqual(
      expect.arrayContaining([
        ...one('data', '1.0', '1.00', ['a', 'b c', 1, 'x']),
        ...one('data', 'null', null, ['gone']),
        ...one('data', null, '"n"', ['new']),
      ]),
    );
  });

  test('the same elements in another order, in a document and in an array', async () => {
    expect(
      (await differences('data', `'{"l": [{"a": 1}, 2, 2]}'`, `'{"l": [2, {"a": 1}, 2]}'`)).differences,
    ).toEqual([expect.objectContaining({ path: ['l'], reordered: true })]);
    await vandal.query(`UPDATE tb_thing SET tags = '{a,b}'; UPDATE tv_thing SET tags = '{b,a}', data = '{}'`);
    expect((await verifyTview(executorOf(owner), 'tv_thing')).rows[0]!.differences).toContainEqual(
      expect.objectContaining({ column: 'tags', path: [], reordered: true }),
    );
  });

  test('elements that one side lacks, wherever they are', async () => {
    const found = await differences('data', `'[1, 2, 3, 2]'`, `'[2, 3, 1]'`);
    expect(found.differences).toEqual(one('data', '2', null, [null]));
  });

  test('a document that is null, and one that is JSON’s null', async () => {
    expect((await differences('data', 'NULL', `'null'`)).differences).toEqual(one('data', null, 'null'));
  });

  test('the first ten places, and long values cut', async () => {
    const found = await differences(
      'data',
      `(SELECT jsonb_object_agg(n, repeat('é', 1000)) FROM generate_series(1, 30) AS n)`,
      `(SELECT jsonb_object_agg(n, n) FROM generate_series(1, 30) AS n)`,
    );
    expect(found.more).toBe(true);
    expect(found.differences).toHaveLength(10);
    expect(found.differences[0]!.old).toBe(`"${'é'.repeat(199)}…`);
  });

  test('a document too large to search, as its beginning', async () => {
    const found = await differences(
      'data',
      `(SELECT jsonb_object_agg(n, md5(n::text)) FROM generate_series(1, 60000) AS n)`,
      `(SELECT jsonb_object_agg(n, md5(n::text)) FROM generate_series(2, 60000) AS n)`,
    );
    expect(found.differences).toEqual([expect.objectContaining({ column: 'data', path: [] })]);
  });
});

describe('pages follow keys of', () => {
  /** Type of the key, and an expression of n that gives distinct keys, in no order. */
  const keys: Record<string, { type: string; value: string; before?: string }> = {
    integers: { type: 'int', value: '(n * 37) % 101 - 50' },
    'text under the default collation': { type: 'text', value: `chr(65 + n) || E'\\\\ ''"' || n` },
    'text under a collation of its own': {
      type: 'text COLLATE "C"',
      value: `CASE n % 2 WHEN 0 THEN 'a' ELSE 'B' END || n`,
    },
    'text whose collation knows no case': {
      before: `CREATE COLLATION shop.nocase (provider = icu, locale = 'en-u-ks-level2', deterministic = false)`,
      type: 'text COLLATE shop.nocase',
      value: `CASE n % 2 WHEN 0 THEN 'k' ELSE 'K' END || n`,
    },
    'padded text': { type: 'char(8)', value: `'x' || n` },
    numbers: { type: 'numeric', value: '(n - 20) / 7.0' },
    floats: { type: 'float8', value: '(n - 20) / 7.0::float8' },
    'points in time': {
      type: 'timestamptz',
      value: `CASE n WHEN 1 THEN '-infinity' WHEN 2 THEN 'infinity' ELSE '2020-01-01 00:00:00.123456'::timestamptz + n * 40 * interval '1 day' END`,
    },
    intervals: { type: 'interval', value: `n * interval '1 day 01:02:03.5'` },
    uuids: { type: 'uuid', value: 'md5(n::text)::uuid' },
    bytes: { type: 'bytea', value: `decode(md5(n::text), 'hex')` },
    'an enum': {
      before: `DO $$ BEGIN EXECUTE (SELECT 'CREATE TYPE shop.size AS ENUM (' || string_agg(quote_literal('s' || n), ', ' ORDER BY n DESC) || ')' FROM generate_series(1, 40) AS n); END $$`,
      type: 'shop.size',
      value: `('s' || n)::shop.size`,
    },
    'a domain that is not null': {
      before: 'CREATE DOMAIN shop.code AS text NOT NULL CHECK (VALUE <> $$$$)',
      type: 'shop.code',
      value: `('c' || n)::shop.code`,
    },
  };
  for (const [what, { type, value, before }] of Object.entries(keys)) {
    test(what, async () => {
      if (before !== undefined) await owner.query(before);
      await owner.query(`
        CREATE TABLE tb_row (id ${type} PRIMARY KEY, n int NOT NULL);
        INSERT INTO tb_row SELECT ${value}, n FROM generate_series(1, 40) AS n`);
      await apply(owner, 'tv_row', 'SELECT id, n FROM tb_row', { key: ['id'] });
      await expectPagesToFind('tv_row', 'n');
    });
  }

  const withCitext = async (skip: (note: string) => void): Promise<void> => {
    const { rows } = await vandal.query(`SELECT FROM pg_available_extensions WHERE name = 'citext'`);
    if (rows.length === 0) skip('this server has no citext');
    await vandal.query('CREATE EXTENSION citext SCHEMA public');
  };

  test('citext', async ({ skip }) => {
    await withCitext(skip);
    await owner.query(`
      CREATE TABLE tb_row (id citext PRIMARY KEY, n int NOT NULL);
      INSERT INTO tb_row SELECT CASE n % 2 WHEN 0 THEN 'k' ELSE 'K' END || n, n FROM generate_series(1, 40) AS n`);
    await apply(owner, 'tv_row', 'SELECT id, n FROM tb_row', { key: ['id'] });
    await expectPagesToFind('tv_row', 'n');
  });

  test('several columns, some of them of a type with operators of its own', async ({ skip }) => {
    await withCitext(skip);
    await owner.query(`
      CREATE TABLE tb_row (a int, b citext, c text, n int NOT NULL, PRIMARY KEY (a, b, c));
      INSERT INTO tb_row SELECT n % 3, CASE n % 2 WHEN 0 THEN 'k' ELSE 'K' END || n % 5, 'c' || n, n FROM generate_series(1, 40) AS n`);
    await apply(owner, 'tv_row', 'SELECT a, b, c, n FROM tb_row', { key: ['a', 'b', 'c'] });
    await expectPagesToFind('tv_row', 'n');
  });

  test('several columns, in another order than the source’s', async () => {
    await owner.query(`
      CREATE TABLE tb_row (b text COLLATE "C", a int, n int NOT NULL, PRIMARY KEY (b, a));
      INSERT INTO tb_row SELECT CASE n % 4 WHEN 0 THEN 'x' ELSE 'Y' END, n, n FROM generate_series(1, 40) AS n`);
    await apply(owner, 'tv_row', 'SELECT a, b, n FROM tb_row', { key: ['a', 'b'] });
    await expectPagesToFind('tv_row', 'n');
  });

  test('groups', async () => {
    await owner.query(`
      CREATE TABLE tb_part (id int PRIMARY KEY, owner text NOT NULL);
      INSERT INTO tb_part SELECT n, 'o' || n % 40 FROM generate_series(1, 200) AS n`);
    await apply(owner, 'tv_row', 'SELECT owner, count(*) AS n FROM tb_part GROUP BY owner', {
      key: ['owner'],
    });
    await expectPagesToFind('tv_row', 'n');
  });

  /** Of 40 rows: some gone, some moved to keys nobody has, some changed, at the ends and in between. */
  async function expectPagesToFind(name: string, column: string): Promise<void> {
    for (const method of ['keys', 'range', 'whole'] as const) {
      expect(sumOf(await walk(name, method, 7)), method).toEqual(inStep);
    }
    const key = await vandal.query<{ n: number }>(`SELECT ${column} AS n FROM ${name} ORDER BY 1`);
    expect(key.rows.length).toBe(40);
    const order = `(SELECT array_agg(ctid ORDER BY t) FROM ${name} AS t)`;
    await vandal.query(`
      CREATE TEMP TABLE doomed AS SELECT o.id, o.place FROM unnest(${order}) WITH ORDINALITY AS o (id, place);
      UPDATE ${name} SET ${column} = ${column} + 1000 WHERE ctid IN (SELECT id FROM doomed WHERE place IN (2, 14, 15, 39));
      DELETE FROM ${name} WHERE ctid IN (SELECT id FROM doomed WHERE place IN (1, 7, 8, 9, 21, 22, 23, 24, 25, 26, 27, 28, 29, 40))`);
    const expected = { missing: 14, surplus: 0, different: 4 };
    expect(await divergence(vandal, `shop.${name}`)).toEqual(expected);
    for (const method of ['keys', 'range', 'whole'] as const) {
      for (const size of [1, 7, 100]) {
        const pages = await walk(name, method, size);
        expect(sumOf(pages), `${method}, ${size}`).toEqual(expected);
        if (method !== 'whole')
          expect(Math.max(...pages.map((page) => page.compared))).toBeLessThanOrEqual(size);
      }
    }
    // The other way round: the table has what the definition does not.
    const { plan } = await requireTview(executorOf(owner), await loadRegistry(executorOf(owner)), name);
    const source = plan.sources[0]!.table.name;
    await owner.query(`ALTER TABLE ${source} DISABLE TRIGGER USER`);
    await owner.query(`DELETE FROM ${source}`);
    for (const method of ['keys', 'range', 'whole'] as const) {
      expect(sumOf(await walk(name, method, 7)), method).toEqual({ missing: 0, surplus: 26, different: 0 });
    }
    await vandal.query(`CREATE TEMP TABLE lost AS TABLE ${name}`);
    // All keys are known, and each reads back as what it is.
    expect(await verifyTview(executorOf(owner), name, { repair: true, pageSize: 7, rows: 26 })).toMatchObject(
      { surplus: 26, repaired: { deleted: 26 } },
    );
    expect(await divergence(vandal, `shop.${name}`)).toEqual(inStep);
    // Not all are known: every row is looked at.
    await vandal.query(`INSERT INTO ${name} SELECT * FROM lost`);
    expect(await verifyTview(executorOf(owner), name, { repair: true, pageSize: 7 })).toMatchObject({
      surplus: 26,
      repaired: { deleted: 26 },
    });
    expect(await divergence(vandal, `shop.${name}`)).toEqual(inStep);
  }
});

test('a repair of few rows keeps nobody waiting who writes others', async () => {
  await owner.query(`
    CREATE TABLE tb_item (pk_item int PRIMARY KEY, name text NOT NULL);
    INSERT INTO tb_item SELECT n, 'item ' || n FROM generate_series(1, 100) AS n`);
  await apply(owner, 'tv_item', 'SELECT pk_item, name FROM tb_item');
  await vandal.query(`UPDATE tv_item SET name = 'wrong' WHERE pk_item = 7`);
  const writer = await database.client();
  await writer.query(`BEGIN; UPDATE tb_item SET name = 'other' WHERE pk_item = 8`);
  await writer.query('SET CONSTRAINTS ALL IMMEDIATE');
  // Under the gate alone it would wait for the writer, which waits for us.
  expect(await verifyTview(executorOf(owner), 'tv_item', { repair: true })).toMatchObject({
    different: 1,
    repaired: { written: 1, deleted: 0 },
  });
  await writer.query('COMMIT');
  expect(await divergence(vandal, 'shop.tv_item')).toEqual(inStep);
});

describe('a table larger than a page', () => {
  beforeEach(async () => {
    await owner.query(`
      CREATE TABLE tb_item (pk_item int PRIMARY KEY, owner int NOT NULL, name text NOT NULL);
      INSERT INTO tb_item SELECT n, n % 5000, 'item ' || n FROM generate_series(1, 10000) AS n;
      ANALYZE tb_item`);
    await apply(owner, 'tv_item', `SELECT pk_item, jsonb_build_object('name', name) AS data FROM tb_item`);
  });

  /** An executor that writes down what passes. */
  function recorded(client: pg.Client): { readonly executor: SqlExecutor; readonly pages: number[] } {
    const pages: number[] = [];
    return {
      pages,
      executor: {
        query: async <Row extends object>(text: string, values?: readonly unknown[]) => {
          const rows = await executorOf(client).query<Row>(text, values);
          const [first] = rows as { compared?: string }[];
          if (first?.compared !== undefined) pages.push(Number(first.compared));
          return rows;
        },
      },
    };
  }

  test('is compared in as many statements as it has pages, no page larger than asked for', async () => {
    const { executor, pages } = recorded(owner);
    expect(await verifyTview(executor, 'tv_item', { pageSize: 1000 })).toMatchObject({
      compared: 10_000,
      complete: true,
    });
    // The last one learns that there is nothing more.
    expect(pages).toEqual([...Array.from({ length: 10 }, () => 1000), 0]);
  });

  test('is walked by the view’s keys where the table has none', async () => {
    await vandal.query('DELETE FROM tv_item');
    const { executor, pages } = recorded(owner);
    const found = await verifyTview(executor, 'tv_item', { pageSize: 1000, rows: 3 });
    expect(found).toMatchObject({ missing: 10_000, surplus: 0, different: 0, complete: true });
    expect(found.rows).toHaveLength(3);
    expect(Math.max(...pages)).toBe(1000);
  });

  test('leaves no transaction and no lock between two pages', async () => {
    const { rows } = await owner.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const { pid } = rows[0]!;
    const activity = async (): Promise<string> => {
      const { rows: found } = await vandal.query<{ activity: string }>(
        'SELECT ROW(state, state_change, xact_start)::text AS activity FROM pg_stat_activity WHERE pid = $1',
        [pid],
      );
      return found[0]!.activity;
    };
    /** Null where the next page has begun before we had looked at both. */
    const look = async (): Promise<{ hasTransaction: boolean; locks: number } | null> => {
      const before = await activity();
      const { rows: locks } = await vandal.query('SELECT FROM pg_locks WHERE pid = $1', [pid]);
      if (!before.startsWith('(idle,') || (await activity()) !== before) return null;
      return { hasTransaction: !before.endsWith(',)'), locks: locks.length };
    };
    const seen: ReturnType<typeof look>[] = [];
    await verifyTview(executorOf(owner), 'tv_item', { pageSize: 2500, progress: () => seen.push(look()) });
    expect(seen.length).toBe(5);
    const answers = (await Promise.all(seen)).filter((answer) => answer !== null);
    for (const answer of answers) expect(answer).toEqual({ hasTransaction: false, locks: 0 });
    expect(answers.length).toBeGreaterThan(0);
  });

  test('stops between two pages when it is told to', async () => {
    const stop = new AbortController();
    const found = await verifyTview(executorOf(owner), 'tv_item', {
      pageSize: 1000,
      repair: true,
      signal: stop.signal,
      progress: (compared) => {
        if (compared >= 3000) stop.abort();
      },
    });
    expect(found).toMatchObject({ compared: 3000, complete: false, repaired: null });
  });

  test('whose comparison is killed in the middle fails, and can be compared again', async () => {
    const { rows } = await owner.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    let killed: Promise<unknown> | null = null;
    const comparing = verifyTview(executorOf(owner), 'tv_item', {
      pageSize: 100,
      progress: () => {
        killed ??= vandal.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid]);
      },
    });
    await expect(comparing).rejects.toThrow();
    await killed;
    expect(await verifyTview(executorOf(await database.client()), 'tv_item')).toMatchObject({
      compared: 10_000,
      missing: 0,
      surplus: 0,
      different: 0,
    });
  });

  test('is compared all at once where a page would have to read everything, and then is stopped by a cancel', async () => {
    await apply(owner, 'tv_owner', 'SELECT owner, count(*) AS items FROM tb_item GROUP BY owner', {
      key: ['owner'],
    });
    const executor = executorOf(owner);
    const { id } = await requireTview(executor, await loadRegistry(executor), 'tv_owner');
    const methodOf = async () => (await chooseMethod(executor, { id, name: 'tv_owner' }, 50)).method;
    expect(await methodOf()).toBe('whole');
    const { rows } = await owner.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const stop = new AbortController();
    const stopped: SqlExecutor = {
      query: async <Row extends object>(text: string, values?: readonly unknown[]) => {
        if (!text.includes('compare_tv_owner')) return await executor.query<Row>(text, values);
        // Held up where it reads its source.
        await vandal.query('BEGIN; LOCK TABLE tb_item IN ACCESS EXCLUSIVE MODE');
        const comparing = executor.query<Row>(text, values);
        await waitFor(rows[0]!.pid);
        stop.abort();
        return await comparing;
      },
    };
    const found = await verifyTview(stopped, 'tv_owner', {
      pageSize: 50,
      signal: stop.signal,
      cancel: async () => {
        await vandal.query('SELECT pg_cancel_backend($1)', [rows[0]!.pid]);
      },
    });
    expect(found).toMatchObject({ method: 'whole', compared: 0, complete: false });
    await vandal.query('COMMIT');
    await owner.query('CREATE INDEX ON tb_item (owner)');
    expect(await methodOf()).not.toBe('whole');
  });
});

/** Until a backend waits for a lock. */
async function waitFor(pid: number): Promise<void> {
  for (;;) {
    // Inside a transaction it would go on to see what it saw first.
    await vandal.query('SELECT pg_stat_clear_snapshot()');
    const { rows } = await vandal.query<{ waiting: boolean }>(
      `SELECT wait_event_type = 'Lock' AS waiting FROM pg_stat_activity WHERE pid = $1`,
      [pid],
    );
    if (rows[0]?.waiting === true) return;
  }
}

describe('while others write', () => {
  let busy: FreshDatabase;
  beforeAll(async () => {
    busy = await shop();
  });
  afterAll(() => busy.drop());

  test('nothing is found that is not there', async () => {
    let done = false;
    let committed = 0;
    const statements = [
      (n: number) =>
        `UPDATE tb_product SET price = price + 0.01, name = 'p${n}' WHERE pk_product % 3 = ${n % 3}`,
      (n: number) => `UPDATE tb_category SET name = 'c${n}' WHERE pk_category = ${1 + (n % 4)}`,
      (n: number) => `DELETE FROM tb_product WHERE pk_product = ${1 + (n % 20)}`,
      (n: number) =>
        `INSERT INTO tb_product SELECT k, 1 + k % 4, 'new ${n}' FROM generate_series(1, 20) AS k ON CONFLICT DO NOTHING`,
      (n: number) =>
        `INSERT INTO tb_review VALUES (${1000 + n}, ${1 + (n % 20)}, ${1 + (n % 5)}) ON CONFLICT DO NOTHING`,
    ];
    const write = async (first: number) => {
      const app = await busy.client(busy.app);
      for (let n = first; !done; n++) {
        try {
          // Seldom: with a flush of another writer it deadlocks, which takes a second each.
          await app.query(n % 97 === 0 ? 'TRUNCATE tb_review' : statements[n % statements.length]!(n));
          committed++;
        } catch (error) {
          // Deadlocks among themselves, and reviews of products that are gone: nothing is committed then.
          if (!(error instanceof pg.DatabaseError) || !/^(40|23)/.test(error.code ?? '')) throw error;
        }
      }
    };
    const writers = [0, 2, 4].map(write);
    const executor = executorOf(await busy.client());
    let pages = 0;
    try {
      while (committed < 300) {
        for (const name of shopTviews) {
          for (const pageSize of [3, 1000]) {
            const found = await verifyTview(executor, name, { pageSize, progress: () => pages++ });
            expect(found.rows).toEqual([]);
            expect(found).toMatchObject({ missing: 0, surplus: 0, different: 0, complete: true });
          }
        }
      }
    } finally {
      done = true;
      await Promise.all(writers);
    }
    expect(pages).toBeGreaterThan(10);
  });

  test('a TRUNCATE that commits after the comparison began is no difference', async () => {
    const executor = executorOf(owner);
    await owner.query(`
      CREATE TABLE tb_item (pk_item int PRIMARY KEY);
      INSERT INTO tb_item SELECT n FROM generate_series(1, 10) AS n`);
    await apply(owner, 'tv_item', 'SELECT pk_item FROM tb_item');
    const { id } = await requireTview(executor, await loadRegistry(executor), 'tv_item');
    const { rows } = await owner.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    for (const method of ['keys', 'range', 'whole'] as const) {
      const writer = await database.client();
      await writer.query(
        'INSERT INTO tb_item SELECT n FROM generate_series(1, 10) AS n ON CONFLICT DO NOTHING',
      );
      await writer.query('BEGIN; TRUNCATE tb_item');
      const comparing = comparePage(
        executor,
        { id, name: 'tv_item' },
        { method, after: null, pageSize: 100, rows: 10 },
      );
      await waitFor(rows[0]!.pid);
      await writer.query('COMMIT');
      expect(await comparing, method).toMatchObject({ missing: 0, surplus: 0, different: 0 });
    }
  });
});
