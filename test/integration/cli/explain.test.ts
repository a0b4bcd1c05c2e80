import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createShop, fillShop, shopDefinitions, shopTviews } from '../../../src/cli/demo/shop.ts';
import { analyzeTview } from '../../../src/database/analyze.ts';
import type { Explanation } from '../../../src/database/explain.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { type CommandResult, tviews } from '../../kit/command.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { testProxy } from '../../kit/proxy.ts';
import { apply, useLocks } from '../database/support.ts';

/** A way of two hops, names that need quotes, a link without an index, tables large enough to be worth a word. */
const oddTables = `
  CREATE SCHEMA "Odd Shop";
  CREATE TABLE "Odd Shop"."Region" ("regionId" int PRIMARY KEY, name text NOT NULL);
  CREATE TABLE "Odd Shop".customer (
    id int PRIMARY KEY,
    "regionId" int NOT NULL REFERENCES "Odd Shop"."Region",
    "select" text NOT NULL
  );
  CREATE TABLE "Odd Shop"."order" (
    "tenant No" int NOT NULL,
    number int NOT NULL,
    customer int REFERENCES "Odd Shop".customer,
    remark text NOT NULL,
    PRIMARY KEY ("tenant No", number)
  );
  CREATE TABLE "Odd Shop".line (
    id int PRIMARY KEY,
    tenant int NOT NULL,
    number int NOT NULL,
    sku varchar(20) NOT NULL,
    remark text NOT NULL
  );
  CREATE TABLE "Odd Shop".huge (id bigint PRIMARY KEY, name text);
  CREATE TABLE "Odd Shop".nothing (id int PRIMARY KEY, name text);
  INSERT INTO "Odd Shop".huge VALUES (9007199254740993, 'one more than a double holds');
  INSERT INTO "Odd Shop"."Region" SELECT i, 'region ' || i FROM generate_series(1, 4) AS i;
  INSERT INTO "Odd Shop".customer SELECT i, 1 + i % 4, 'name ' || i FROM generate_series(1, 200) AS i;
  INSERT INTO "Odd Shop"."order"
  SELECT i % 2, i, 1 + i % 200, repeat('x', 200) FROM generate_series(1, 8000) AS i;
  INSERT INTO "Odd Shop".line SELECT i, i % 2, i, 'sku', repeat('x', 200) FROM generate_series(1, 8000) AS i;
  ANALYZE "Odd Shop"."Region", "Odd Shop".customer, "Odd Shop"."order", "Odd Shop".line;
`;

const oddDefinition = `
  SELECT o."tenant No", o.number, jsonb_build_object(
    'customer', c."select", 'region', r.name,
    'skus', (SELECT jsonb_agg(l.sku ORDER BY l.id) FROM "Odd Shop".line l WHERE l.tenant = o."tenant No" AND l.number = o.number)
  ) AS data
  FROM "Odd Shop"."order" o
  LEFT JOIN "Odd Shop".customer c ON c.id = o.customer
  LEFT JOIN "Odd Shop"."Region" r ON r."regionId" = c."regionId"`;

let database: FreshDatabase;
let owner: pg.Client;

beforeAll(async () => {
  database = await freshDatabase();
  owner = await database.client();
  const executor = executorOf(owner);
  await init(executor);
  await createShop(executor);
  await fillShop(executor, '1k');
  await owner.query(oddTables);
  expect(await run('apply', shopDefinitions)).toMatchObject({ exitCode: 0 });
  // The first fill is not to take half a minute.
  await owner.query('CREATE INDEX line_index ON "Odd Shop".line (tenant, number)');
  await apply(owner, 'tv_Order', oddDefinition, { schema: 'Odd Shop', key: ['tenant No', 'number'] });
  await owner.query('DROP INDEX "Odd Shop".line_index');
});
afterAll(() => database.drop());

function run(...argv: string[]): Promise<CommandResult> {
  return tviews(argv, { env: { DATABASE_URL: database.url } });
}

const explainOdd = (...options: string[]): Promise<CommandResult> =>
  run('explain', '"Odd Shop"."tv_Order"', ...options);

describe('for people', () => {
  // Sizes on disk are another version's own affair.
  const withoutSizes = (text: string): string => text.replaceAll(/\d+ (bytes|kB|MB)/g, '# kB');

  test.each([
    ['product', 'shop.tv_product'],
    ['over-a-tview', 'shop.tv_supply'],
    ['read-by-a-tview', 'shop.tv_supplier'],
    ['odd', '"Odd Shop"."tv_Order"'],
  ])('%s', async (golden, name) => {
    const { stdout, stderr, exitCode } = await run('explain', name);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    await expect(withoutSizes(stdout)).toMatchFileSnapshot(`golden/explain-${golden}.txt`);
    expect(stdout.split('\n').filter((line) => [...line].length > 100)).toEqual([]);
  });

  test('README shows the tree of a product as it is', async () => {
    const readme = readFileSync(join(import.meta.dirname, '../../../README.md'), 'utf8');
    const [, tree] = /^Sources, .*\n\n([\s\S]*?\n)\n/m.exec(
      (await run('explain', 'shop.tv_product')).stdout,
    )!;
    expect(readme).toContain(`\`\`\`\n${tree}\`\`\`\n`);
  });

  test('the same by a name without its schema, where search_path hides what is the server’s own', async () => {
    await owner.query(`
      CREATE TABLE "Odd Shop".pg_class (relname text);
      CREATE FUNCTION "Odd Shop".unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT NULL::text'`);
    const url = new URL(database.url);
    url.searchParams.set('options', '-c search_path="Odd\\ Shop",pg_catalog');
    const env = { DATABASE_URL: url.href };
    const shown = await tviews(['explain', '"tv_Order"'], { env });
    const analyzed = await tviews(['explain', 'shop.tv_supply', '--analyze'], { env });
    await owner.query('DROP TABLE "Odd Shop".pg_class; DROP FUNCTION "Odd Shop".unnest');
    expect(shown).toEqual(await explainOdd());
    expect(analyzed).toMatchObject({ exitCode: 0, stderr: '' });
  });

  test('a tview that is one lock', async () => {
    await useLocks(owner, 'tview');
    try {
      expect((await run('explain', 'shop.tv_category')).stdout).toMatch(
        /^ {2}gate {6}exclusive: flushes of this tview run one after the other \(objid \d+\)$/m,
      );
    } finally {
      await useLocks(owner, 'value');
    }
  });
});

test('for machines, the same as values', async () => {
  const { stdout, exitCode } = await explainOdd('--json');
  const explained = JSON.parse(stdout) as Explanation;
  expect(exitCode).toBe(0);
  expect(explained).toMatchObject({
    table: { schema: 'Odd Shop', name: 'tv_Order' },
    view: { schema: 'Odd Shop', name: 'v_Order' },
    inForce: 'this',
    size: { rows: 8000 },
    recompute: { fullReads: [{ schema: 'Odd Shop', name: 'line', rows: 8000 }] },
  });
  const [order, line] = explained.tree;
  expect(order).toMatchObject({ aliases: ['o'], role: 'key', mapping: 'local', rows: 1 });
  expect(line).toMatchObject({ aliases: ['l'], role: 'optional', mapping: 'local', children: [] });
  const region = order!.children[0]!.children[0]!;
  expect(region).toMatchObject({
    aliases: ['r'],
    mapping: 'mapped',
    rows: 2000,
    fullReads: [{ name: 'order' }],
  });
  // What is shown to people means the same as what is installed.
  const { rows } = await owner.query<{ installed: string[]; readable: string[] }>(`
    WITH changed AS (SELECT 3 AS "regionId")
    SELECT ARRAY(SELECT f::text FROM (${region.keyQuery}) AS f ORDER BY 1) AS installed,
           ARRAY(SELECT f::text FROM (${region.readable}) AS f ORDER BY 1) AS readable`);
  expect(rows[0]!.installed).toHaveLength(2000);
  expect(rows[0]!.readable).toEqual(rows[0]!.installed);
});

describe('what is of now', () => {
  test('an index created since, by its name', async () => {
    const missing = '  Odd Shop.order (customer)           MISSING        changes are mapped to keys\n';
    expect((await explainOdd()).stdout).toContain(missing);
    await owner.query('CREATE INDEX "by Customer" ON "Odd Shop"."order" (customer)');
    try {
      const { stdout } = await explainOdd();
      expect(stdout).toContain(
        '  Odd Shop.order (customer)           by Customer    changes are mapped to keys\n',
      );
      expect(stdout).not.toContain('CREATE INDEX ON "Odd Shop"."order"');
    } finally {
      await owner.query('DROP INDEX "Odd Shop"."by Customer"');
    }
  });

  test('a definition that compiles to another plan than the one in force', async () => {
    await owner.query(`
      CREATE VIEW "Odd Shop".region_name AS SELECT "regionId", name FROM "Odd Shop"."Region";
      CREATE TABLE "Odd Shop".shelf (id int PRIMARY KEY, "regionId" int NOT NULL)`);
    await apply(
      owner,
      'tv_shelf',
      `SELECT s.id, r.name FROM "Odd Shop".shelf s JOIN "Odd Shop".region_name r ON r."regionId" = s."regionId"`,
      { schema: 'Odd Shop', key: ['id'] },
    );
    const note = '  note      The definition compiles to another plan now than when it was applied';
    expect((await run('explain', '"Odd Shop".tv_shelf')).stdout).not.toContain(note);
    await owner.query(`
      CREATE OR REPLACE VIEW "Odd Shop".region_name AS SELECT id AS "regionId", "select" AS name FROM "Odd Shop".customer`);
    const { stdout } = await run('explain', '"Odd Shop".tv_shelf');
    expect(stdout).toContain(note);
    expect(stdout).toContain('└─ Odd Shop.customer');
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('CREATE OR REPLACE TVIEW takes it over');
    await owner.query(`
      CREATE OR REPLACE VIEW "Odd Shop".region_name AS SELECT "regionId", name FROM "Odd Shop"."Region"`);
    await owner.query('ALTER TABLE "Odd Shop"."Region" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY');
    try {
      expect(await run('explain', '"Odd Shop".tv_shelf')).toMatchObject({
        exitCode: 1,
        stderr: expect.stringMatching(
          /^error: tview Odd Shop\.tv_shelf would be refused if it were created now: .*row level security.*\nDETAIL: .+\nHINT: .+\n$/,
        ),
      });
    } finally {
      await owner.query(
        'ALTER TABLE "Odd Shop"."Region" NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY',
      );
    }
  });
});

test('a table of which any change computes every row', async () => {
  await apply(
    owner,
    'tv_rank',
    'SELECT n.id, (SELECT count(*) FROM shop.tb_review) AS reviews FROM "Odd Shop".huge n',
    {
      schema: 'Odd Shop',
      key: ['id'],
      fullRefresh: '*',
    },
  );
  try {
    const { stdout, exitCode } = await run('explain', '"Odd Shop".tv_rank', '--analyze');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(
      /└─ shop\.tb_review +no way to the key\n +everything: any change computes every row, alone \(full_refresh\)/,
    );
    expect(stdout).toContain('shop.tb_review: not tried, for every row would be computed\n');
  } finally {
    await run('drop', '"Odd Shop".tv_rank');
  }
});

test('a plan that CREATE OR REPLACE lets be, though others would be locked', async () => {
  await owner.query(`
    CREATE TABLE "Odd Shop".pair (a int PRIMARY KEY, b int NOT NULL);
    CREATE TABLE "Odd Shop".part (id int PRIMARY KEY, fk int NOT NULL)`);
  const definition = `SELECT p.id, n.a FROM "Odd Shop".part p JOIN "Odd Shop".pair n ON n.b = p.fk`;
  const way = { schema: 'Odd Shop', key: ['id'] };
  await apply(owner, 'tv_part', definition, way);
  await owner.query('CREATE UNIQUE INDEX ON "Odd Shop".part (fk)');
  const { stdout } = await run('explain', '"Odd Shop".tv_part');
  expect(stdout.replaceAll(/\s+/g, ' ')).toContain(
    'Drop the tview and create it again, to have those locks.',
  );
  expect(await apply(owner, 'tv_part', definition, { ...way, ifExists: 'replace' })).toMatchObject({
    action: 'unchanged',
  });
  expect(await run('drop', '"Odd Shop".tv_part')).toMatchObject({ exitCode: 0 });
  await apply(owner, 'tv_part', definition, way);
  expect((await run('explain', '"Odd Shop".tv_part')).stdout).not.toContain('note');
});

test('the tviews that read it, and those that read them', async () => {
  await apply(owner, 'tv_land', 'SELECT country, data FROM shop.tv_supply', {
    schema: 'shop',
    key: ['country'],
  });
  try {
    const { stdout } = await run('explain', 'shop.tv_supplier');
    expect(stdout).toMatch(/\nTviews that read it\n\n {2}shop\.tv_supply\n {2}└─ shop\.tv_land\n$/);
    const { readers } = JSON.parse(
      (await run('explain', 'shop.tv_supplier', '--json')).stdout,
    ) as Explanation;
    expect(readers).toEqual([
      {
        tview: { schema: 'shop', name: 'tv_supply' },
        readers: [{ tview: { schema: 'shop', name: 'tv_land' }, readers: [] }],
      },
    ]);
  } finally {
    await run('drop', 'shop.tv_land');
  }
});

describe('--analyze', () => {
  /** Every row with what says which version of it it is, and what nobody may have left behind. */
  async function everything(): Promise<unknown> {
    const { rows } = await owner.query(`
      SELECT
        ${[...shopTviews, 'tb_product', 'tb_review', 'tb_supplier'].map((name) => `(SELECT md5(string_agg(t.xmin::text || t.ctid::text || t::text, ';' ORDER BY t.ctid)) FROM shop.${name} AS t) AS ${name}`).join(',\n        ')},
        (SELECT count(*)::int FROM tviews.queue) AS queued,
        (SELECT count(*)::int FROM tviews.repair) AS to_repair`);
    return rows[0];
  }

  test('says what a change of each source costs, and leaves nothing changed and nothing locked', async () => {
    const before = await everything();
    const client = await database.client();
    const analyses = await analyzeTview(executorOf(client), { schema: 'shop', name: 'tv_product' });
    const pid = (client as pg.Client & { processID: number }).processID;
    const { rows } = await owner.query(
      `SELECT a.state, (SELECT count(*)::int FROM pg_locks AS l WHERE l.pid = a.pid AND l.locktype <> 'virtualxid') AS locks
       FROM pg_stat_activity AS a WHERE a.pid = $1`,
      [pid],
    );
    expect(rows).toEqual([{ state: 'idle', locks: 0 }]);
    expect(await everything()).toEqual(before);

    const keys = { tb_product: 1, tb_category: 100, tb_supplier: 90, tb_inventory: 1, tb_review: 1 };
    expect(analyses.map(({ source }) => source.name)).toEqual(Object.keys(keys));
    for (const { source, outcome } of analyses) {
      expect(outcome).toMatchObject({
        kind: 'done',
        keys: keys[source.name as keyof typeof keys],
        written: 0,
        deleted: 0,
        keyQueries: /category|supplier/.test(source.name) ? [{ buffers: expect.any(Number) }] : [],
        recompute: { how: 'keys' },
      });
      if (outcome.kind !== 'done') continue;
      expect(outcome.report.map(({ keys: looked, unchanged }) => unchanged - looked)).toEqual([0]);
      expect(Math.min(outcome.ms, outcome.firstMs, outcome.recompute.ms)).toBeGreaterThan(0);
      expect(outcome.recompute.buffers).toBeGreaterThan(0);
    }
  });

  test('for people: one line for each source, and the row that was taken', async () => {
    const { stdout, exitCode } = await run('explain', 'shop.tv_supply', '--analyze');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(
      /^ {20}keys {2}written +flush +first {2}key query {2}pages {2}recompute {2}pages\n {2}shop\.tv_supplier {5}1 {8}0 +[\d.]+ +[\d.]+ +[\d.]+ +\d+\n\n {2}flush: .+\n\n {2}shop\.tv_supplier: \{"country": "[^"]+"\}\n$/m,
    );
  });

  test('through a proxy whose server connections change hands', async () => {
    const proxy = await testProxy(database, { poolMode: 'transaction' });
    const { exitCode, stdout } = await tviews(['explain', 'shop.tv_product', '--analyze'], {
      env: { DATABASE_URL: proxy.url(database.owner) },
    });
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^ {2}shop\.tb_category +100 +0 /m);
  });

  test('of so many keys that every row is computed', async () => {
    await owner.query(`
      CREATE INDEX line_index ON "Odd Shop".line (tenant, number);
      CREATE INDEX order_index ON "Odd Shop"."order" (customer)`);
    const { stdout } = await explainOdd('--analyze');
    await owner.query('DROP INDEX "Odd Shop".line_index, "Odd Shop".order_index');
    expect(stdout.split('\n').filter((line) => [...line].length > 100)).toEqual([]);
    expect(stdout).toMatch(
      /^ {2}Odd Shop\.Region: \{"regionId": \d\}\n {4}so many keys that every row is computed, and compared$/m,
    );
  });

  test('of a row that JavaScript’s numbers do not hold, and of a table that has none', async () => {
    for (const name of ['huge', 'nothing']) {
      await apply(owner, `tv_${name}`, `SELECT id, name FROM "Odd Shop".${name}`, {
        schema: 'Odd Shop',
        key: ['id'],
      });
    }
    const { stdout } = await run('explain', '"Odd Shop".tv_huge', '--analyze', '--json');
    const { analysis } = JSON.parse(stdout) as { analysis: unknown };
    expect(analysis).toMatchObject([
      { outcome: { kind: 'done', image: '{"id": 9007199254740993}', keys: 1, written: 0, deleted: 0 } },
    ]);
    expect(await run('explain', '"Odd Shop".tv_nothing', '--analyze')).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('\n  Odd Shop.nothing: it has no row\n'),
    });
  });

  test('gives up where it would have to wait, and leaves no lock', async () => {
    const { locks } = JSON.parse((await run('explain', 'shop.tv_supply', '--json')).stdout) as Explanation;
    await owner.query('BEGIN');
    await owner.query('SELECT pg_advisory_xact_lock($1, $2)', [locks.space, locks.gate]);
    const client = await database.client();
    try {
      const [analysis] = await analyzeTview(
        executorOf(client),
        { schema: 'shop', name: 'tv_supply' },
        { lockTimeoutMs: 50 },
      );
      expect(analysis!.outcome).toEqual({
        kind: 'failed',
        step: 'flush',
        message: 'canceling statement due to lock timeout',
      });
      const { rows } = await client.query(
        `SELECT count(*)::int AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'`,
      );
      expect(rows).toEqual([{ locks: 0 }]);
      expect(await run('explain', 'shop.tv_supply', '--analyze')).toMatchObject({
        exitCode: 1,
        stdout: expect.stringContaining(
          '\n  shop.tv_supplier: given up in the flush: canceling statement due to lock timeout\n',
        ),
      });
    } finally {
      await owner.query('ROLLBACK');
    }
  });

  test('finds rows that were not in step, and does not mend them', async () => {
    const admin = await database.client(database.superuser);
    await admin.query(`SET session_replication_role = replica; UPDATE shop.tv_supply SET data = '{}'`);
    const before = await everything();
    const { exitCode, stdout } = await run('explain', 'shop.tv_supply', '--analyze');
    expect(exitCode).toBe(1);
    expect(stdout).toContain('! not in step with its definition before: run "tviews verify"');
    expect(await everything()).toEqual(before);
    expect((await run('verify', 'shop.tv_supply', '--repair')).exitCode).toBe(0);
  });
});

describe('what cannot be explained', () => {
  test('what a change of a suspended tview costs', async () => {
    expect(await run('suspend', 'shop.tv_category')).toMatchObject({ exitCode: 0 });
    try {
      expect(await run('explain', 'shop.tv_category')).toMatchObject({
        exitCode: 0,
        stdout: expect.stringContaining(
          '\n  note      It is suspended: nothing of this happens until tviews resume shop.tv_category.\n',
        ),
      });
      expect(await run('explain', 'shop.tv_category', '--analyze')).toMatchObject({
        exitCode: 1,
        stdout: '',
        stderr: expect.stringMatching(
          /^error: cannot analyze tview shop\.tv_category because it is suspended\nHINT: .+\n$/,
        ),
      });
    } finally {
      await run('resume', 'shop.tv_category');
    }
  });

  test.each(['shop.tv_nothing', 'tv_product', '"Odd Shop".tv_order'])('%s', async (name) => {
    expect(await run('explain', name)).toEqual({
      exitCode: 1,
      stdout: '',
      stderr: `error: tview "${name.replaceAll('"', '')}" does not exist\n`,
    });
  });

  test('a table that is no tview', async () => {
    expect(await run('explain', 'shop.tb_product')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('error: "tb_product" is not a name for a tview\n'),
    });
  });

  test('two names', async () => {
    expect(await run('explain', 'shop.tv_product, shop.tv_supply')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('one name is expected'),
    });
  });

  test('one of which a source was renamed, or the table dropped', async () => {
    await owner.query(`
      CREATE TABLE "Odd Shop".box (id int PRIMARY KEY, name text)`);
    await apply(owner, 'tv_box', 'SELECT id, name FROM "Odd Shop".box', { schema: 'Odd Shop', key: ['id'] });
    await owner.query('ALTER TABLE "Odd Shop".box RENAME TO crate');
    const moved = 'error: tview Odd Shop.tv_box was created when Odd Shop.crate was called Odd Shop.box\n';
    for (const options of [[], ['--analyze']]) {
      expect(await run('explain', '"Odd Shop".tv_box', ...options)).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining(moved),
      });
    }
    await owner.query('ALTER TABLE "Odd Shop".crate RENAME TO box; DROP TABLE "Odd Shop".tv_box');
    expect(await run('explain', '"Odd Shop".tv_box')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining(
        'error: tview Odd Shop.tv_box is broken: Odd Shop.tv_box does not exist any more\n',
      ),
    });
    expect(await run('drop', '"Odd Shop".tv_box')).toMatchObject({ exitCode: 0 });
  });
});
