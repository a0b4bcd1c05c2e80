import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createShop, fillShop, shopDefinitions, shopTviews } from '../../../src/cli/demo/shop.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { type CommandResult, tviews } from '../../kit/command.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';

let database: FreshDatabase;
const folder = mkdtempSync(join(tmpdir(), 'tviews-cli-'));

beforeAll(async () => {
  database = await freshDatabase();
  const executor = executorOf(await database.client());
  await createShop(executor);
  await fillShop(executor, '1k');
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await database.drop();
});

function run(...argv: string[]): Promise<CommandResult> {
  return tviews(argv, { env: { DATABASE_URL: database.url } });
}

test('without schema tviews a command says what to do', async () => {
  expect(await run('status')).toMatchObject({
    exitCode: 1,
    stdout: 'schema     not installed: run "tviews init"\n',
  });
  expect(await run('list')).toMatchObject({
    exitCode: 1,
    stderr: 'error: tviews is not installed in this database\nHINT: Run "tviews init" first.\n',
  });
});

test('init installs, and again finds nothing to do', async () => {
  expect((await run('init')).stdout).toMatch(/^schema tviews: \d+ migrations? applied\n$/);
  expect((await run('init')).stdout).toBe('schema tviews is up to date\n');
});

test('apply creates the tviews of a folder, and applying again changes nothing', async () => {
  const first = await run('apply', shopDefinitions);
  expect(first.stderr).toContain('Applying 4/4: shop.tv_supply\n');
  expect(first).toMatchObject({ exitCode: 0 });
  expect(first.stdout).toContain('shop.tv_product: created, 1000 rows\n');
  const { applied } = JSON.parse((await run('apply', shopDefinitions, '--json')).stdout) as {
    applied: { tview: string; action: string }[];
  };
  expect(applied.map(({ tview, action }) => `${tview} ${action}`)).toEqual(
    shopTviews.map((name) => `shop.${name} unchanged`),
  );
});

test('the shop’s tviews stay in step with every kind of write', async () => {
  const client = await database.client(database.owner);
  for (const statement of [
    `UPDATE shop.tb_product SET current_price = current_price * 0.9 WHERE pk_product % 100 = 0`,
    `UPDATE shop.tb_supplier SET country = 'Iceland' WHERE pk_supplier = 3`,
    `UPDATE shop.tb_category SET name = 'Renamed' WHERE pk_category = 2`,
    `DELETE FROM shop.tb_product WHERE pk_product BETWEEN 1 AND 20`,
    `INSERT INTO shop.tb_review (fk_product, user_number, rating) SELECT n, 1, 5 FROM generate_series(100, 120) AS n`,
    `UPDATE shop.tb_inventory SET quantity = 0 WHERE fk_product = 200`,
    `UPDATE shop.tb_product SET fk_supplier = NULL, fk_category = 1 WHERE pk_product = 500`,
  ]) {
    await client.query(statement);
    for (const name of shopTviews)
      expect(await divergence(client, `shop.${name}`), statement).toEqual(inStep);
  }
});

test('list names tviews, keys and sources', async () => {
  const { stdout } = await run('list');
  expect(stdout).toMatch(/^shop\.tv_supply +country +\S+ +\d+ kB +shop\.tv_supplier$/m);
  const { tviews: listed } = JSON.parse((await run('list', '--json')).stdout) as {
    tviews: { tview: string }[];
  };
  expect(listed.map(({ tview }) => tview)).toEqual(shopTviews.map((name) => `shop.${name}`));
});

test('list says which sources compute every row anew', async () => {
  const file = join(folder, 'whole.sql');
  writeFileSync(
    file,
    `CREATE TVIEW shop.tv_whole WITH (key = 'pk_supplier', full_refresh = 'shop.tb_product') AS
     SELECT s.pk_supplier, (SELECT count(*) FROM shop.tb_product) AS products FROM shop.tb_supplier s;`,
  );
  expect(await run('apply', file)).toMatchObject({ exitCode: 0 });
  const { tviews: listed } = JSON.parse((await run('list', '--json')).stdout) as {
    tviews: { tview: string; fullRefresh: string[] }[];
  };
  expect(listed.filter(({ fullRefresh }) => fullRefresh.length > 0)).toMatchObject([
    { tview: 'shop.tv_whole', fullRefresh: ['shop.tb_product'] },
  ]);
  expect((await run('list')).stdout).toMatch(/^shop\.tv_whole .* shop\.tb_product$/m);
  expect(await run('drop', 'shop.tv_whole')).toMatchObject({ exitCode: 0 });
});

test('status counts what is installed, and finds a source that is no longer watched', async () => {
  expect(await run('status')).toEqual({
    exitCode: 0,
    stdout: 'schema     installed and current\ntviews     4, of 6 sources\nqueue      empty\n',
    stderr: '',
  });
  const admin = await database.client(database.superuser);
  await admin.query('ALTER TABLE shop.tb_review DISABLE TRIGGER USER');
  const blind = await run('status');
  expect(blind.exitCode).toBe(1);
  expect(blind.stdout).toContain('unwatched  shop.tb_review: ');
  await admin.query('ALTER TABLE shop.tb_review ENABLE TRIGGER USER');
});

test('status finds a source that was renamed, and init follows', async () => {
  const owner = await database.client();
  await owner.query('ALTER TABLE shop.tb_review RENAME TO tb_opinion');
  const moved = await run('status');
  expect(moved.exitCode).toBe(1);
  expect(moved.stdout).toContain(
    'moved      shop.tb_review of tview shop.tv_product is shop.tb_opinion now: run "tviews init"\n',
  );
  expect(moved.stdout).not.toContain('definition');
  expect((await run('init')).stdout).toBe(`schema tviews is up to date
tview shop.tv_product follows names and keys that were changed; its rows are as they were
`);
  expect(await run('status')).toMatchObject({ exitCode: 0 });
  await owner.query('ALTER TABLE shop.tb_opinion RENAME TO tb_review');
  await run('init');
  expect(await run('status')).toMatchObject({ exitCode: 0 });
});

test('status, verify and init say what cannot be followed, and the way out', async () => {
  const owner = await database.client();
  const sentence =
    'tview shop.tv_product cannot follow a change of the schema: table with row level security shop.tb_review';
  await owner.query('ALTER TABLE shop.tb_review ENABLE ROW LEVEL SECURITY');
  for (const again of [true, false]) {
    const refused = await run('status');
    expect(refused.exitCode).toBe(1);
    expect(refused.stdout).toContain(`definition ${sentence}`);
    if (again) expect((await run('init')).stdout).toContain(sentence);
  }
  expect((await run('verify', 'shop.tv_product')).stdout).toContain(sentence);
  await owner.query('ALTER TABLE shop.tb_review DISABLE ROW LEVEL SECURITY');
  expect(await run('status')).toMatchObject({ exitCode: 0 });
});

test('suspend lets a tview go stale, says so everywhere, and resume brings it back', async () => {
  expect(await run('suspend', 'shop.tv_product', 'shop.tv_supplier')).toMatchObject({
    exitCode: 0,
    stdout: `shop.tv_product: suspended; stale from the next write on, until "tviews resume shop.tv_product"
shop.tv_supplier: suspended; stale from the next write on, until "tviews resume shop.tv_supplier"
  shop.tv_supply reads it, and shows what it shows
`,
  });
  expect((await run('suspend', 'shop.tv_supplier')).stdout).toBe('shop.tv_supplier: was suspended already\n');
  const client = await database.client(database.owner);
  await client.query(`UPDATE shop.tb_product SET name = 'loaded' WHERE pk_product = 300`);
  expect((await run('list')).stdout).toMatch(/^shop\.tv_supplier \(suspended\) +pk_supplier /m);
  const status = await run('status');
  expect(status.exitCode).toBe(1);
  expect(status.stdout).toMatch(
    /^suspended {2}shop\.tv_product, since \S+Z: stale until "tviews resume shop.tv_product"$/m,
  );
  const verified = await run('verify', '--repair');
  expect(verified.exitCode).toBe(1);
  expect(verified.stdout).toContain('shop.tv_product: 0 missing, 0 surplus, 1 different; ');
  expect(verified.stdout).toContain(
    '  It is suspended: "tviews resume shop.tv_product" brings it in step.\n',
  );
  expect(verified.stdout).not.toContain('repaired');

  const { stdout } = await run('resume', 'shop.tv_product', 'shop.tv_supplier');
  expect(stdout).toMatch(
    /^shop\.tv_product: resumed, \d+ rows computed, 1 written, 0 deleted\nshop\.tv_supplier: resumed, \d+ rows computed, 0 written, 0 deleted\n$/,
  );
  expect((await run('resume', 'shop.tv_supplier', '--json')).stdout).toContain('"action": "unchanged"');
  expect(await run('suspend', 'shop.tv_nothing')).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('error: tview "shop.tv_nothing" does not exist\n'),
  });
  expect(await run('suspend')).toMatchObject({ exitCode: 2 });
  expect(await run('status')).toMatchObject({ exitCode: 0 });
  expect(await run('verify')).toMatchObject({ exitCode: 0 });
});

describe('verify', () => {
  test('finds what somebody changed behind our back, says where, and repairs it', async () => {
    expect(await run('verify')).toMatchObject({ exitCode: 0 });
    const admin = await database.client(database.superuser);
    await admin.query(`
      SET session_replication_role = replica;
      UPDATE shop.tv_product SET data = data || '{"sku": null}' WHERE pk_product = 42;
      DELETE FROM shop.tv_product WHERE pk_product = 43;
    `);
    const { rows } = await admin.query<{ sku: string; rows: number }>(
      `SELECT data ->> 'sku' AS sku, (SELECT count(*)::int FROM shop.v_product) AS rows FROM shop.v_product WHERE pk_product = 42`,
    );
    const found = await run('verify', 'shop.tv_product', '--page', '100');
    expect(found.exitCode).toBe(1);
    const [summary, ...lines] = found.stdout.trimEnd().split('\n');
    expect(summary).toBe(
      `shop.tv_product: 1 missing, 0 surplus, 1 different; ${rows[0]!.rows} rows compared`,
    );
    expect(lines).toHaveLength(3);
    expect(lines.join('\n')).toContain(
      `  different {"pk_product":42}\n    data.sku: null → "${rows[0]!.sku}"`,
    );
    expect(lines).toContain('  missing {"pk_product":43}');
    expect(await run('verify', 'shop.tv_product', '--repair')).toMatchObject({ exitCode: 0 });
    expect((await run('verify', 'shop.tv_product')).stdout).toBe(
      `shop.tv_product: ok, ${rows[0]!.rows} rows compared\n`,
    );
  });

  test('looks again at what a transaction changed that kept its snapshot', async () => {
    const writer = await database.client();
    await writer.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await writer.query('SELECT FROM shop.tb_product LIMIT 1');
    await writer.query(
      `UPDATE shop.tb_review SET rating = rating % 5 + 1 WHERE pk_review = (SELECT min(pk_review) FROM shop.tb_review)`,
    );
    await writer.query('COMMIT');
    const { rows } = await writer.query<{ n: number }>('SELECT count(*)::int AS n FROM tviews.repair');
    expect(rows).toEqual([{ n: 1 }]);
    expect((await run('verify', '--repair')).stdout).toContain(
      'looked again at what 1 transaction changed that kept a snapshot\n',
    );
    expect((await writer.query('SELECT FROM tviews.repair')).rowCount).toBe(0);
  });

  test('shows as many rows as asked for, and counts the others', async () => {
    const admin = await database.client(database.superuser);
    await admin.query(`
      SET session_replication_role = replica;
      INSERT INTO shop.tv_supply SELECT 'Nowhere ' || n, '{}' FROM generate_series(1, 3) AS n`);
    const found = await run('verify', 'shop.tv_supply', '--rows', '1');
    expect(found.exitCode).toBe(1);
    expect(found.stdout).toContain('  and 2 more rows: --rows shows more\n');
    const json = JSON.parse((await run('verify', 'shop.tv_supply', '--repair', '--json')).stdout) as {
      complete: boolean;
      verified: { rows: unknown[]; repaired: unknown }[];
    };
    expect(json).toMatchObject({ complete: true, verified: [{ repaired: { deleted: 3 } }] });
    expect(json.verified[0]!.rows).toContainEqual({
      kind: 'surplus',
      key: { country: 'Nowhere 1' },
      differences: [],
      more: false,
    });
    expect(await run('verify', 'shop.tv_supply', '--rows', 'many')).toMatchObject({ exitCode: 2 });
  });

  test('stops at Ctrl-C, and does not say that all is well', async () => {
    const { exitCode, stdout } = await tviews(['verify', '--page', '10'], {
      env: { DATABASE_URL: database.url },
      interruptAt: 'Verifying 2/4: shop.tv_product\n',
    });
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^shop\.tv_category: ok, 10 rows compared$/m);
    expect(stdout).toMatch(/^shop\.tv_product: \d+ rows compared, then stopped$/m);
    expect(stdout).toMatch(/^stopped: 2 of 4 tviews begun$/m);
  });
});

test('rebuild writes only what differs', async () => {
  expect((await run('rebuild', 'shop.tv_category')).stdout).toBe(
    'shop.tv_category: 10 rows computed, 0 written, 0 deleted\n',
  );
  expect(await run('rebuild', 'shop.tv_nothing')).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('tview "shop.tv_nothing" does not exist'),
  });
});

test('an error in a definition has file, line and column, and nothing was applied', async () => {
  const path = join(folder, 'wrong.sql');
  writeFileSync(
    path,
    'CREATE TVIEW shop.tv_one AS SELECT pk_product FROM shop.tb_product;\n\nCREATE TVIEW shop.tv_two AS\nSELECT FORM x y z;\n',
  );
  const { exitCode, stderr } = await run('apply', path);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(new RegExp(`^${path}:4:\\d+: syntax error`, 'm'));
  expect((await run('list')).stdout).not.toContain('tv_one');
});

test('what was applied before an error stays, and is told', async () => {
  const path = join(folder, 'second-fails.sql');
  writeFileSync(
    path,
    'CREATE TVIEW shop.tv_one AS SELECT pk_product FROM shop.tb_product;\nCREATE TVIEW shop.tv_two AS SELECT nothing;\n',
  );
  const failed = await run('apply', path);
  expect(failed.exitCode).toBe(1);
  expect(failed.stdout).toMatch(/^shop\.tv_one: created, \d+ rows\n$/);
  expect(failed.stderr).toContain(`${path}:2:36: column "nothing" does not exist\n`);
  expect(JSON.parse((await run('apply', path, '--json')).stdout)).toMatchObject({
    applied: [{ tview: 'shop.tv_one', action: 'unchanged' }],
    error: { place: `${path}:2:36`, code: '42703' },
  });
  expect((await run('suspend', 'shop.tv_one', 'shop.tv_two')).stdout).toContain('shop.tv_one: suspended');
  expect(await run('drop', 'shop.tv_one')).toMatchObject({ exitCode: 0 });
});

test('a definition from standard input that the server refuses points into it', async () => {
  const text = 'CREATE TVIEW shop.tv_x AS\nSELECT pk_product, nothing FROM shop.tb_product';
  const { exitCode, stderr } = await tviews(['apply', '-'], {
    stdin: text,
    env: { DATABASE_URL: database.url },
  });
  expect(exitCode).toBe(1);
  expect(stderr).toContain('column "nothing" does not exist');
  expect(stderr).toMatch(/^stdin:[12]:\d+: /m);
});

test('a tview that others read is not dropped before them', async () => {
  const refused = await run('drop', 'shop.tv_supplier');
  expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('shop.tv_supply') });
  expect(await run('drop', 'shop.tv_supply')).toMatchObject({
    exitCode: 0,
    stdout: 'shop.tv_supply: dropped\n',
  });
  expect(await run('drop', 'shop.tv_supply', '--if-exists')).toMatchObject({ exitCode: 0 });
  expect(await run('drop', 'shop.tv_supplier')).toMatchObject({ exitCode: 0 });
});

test('uninstall leaves nothing behind, and asks for --cascade while tviews exist', async () => {
  expect(await run('uninstall')).toMatchObject({ exitCode: 1 });
  expect(await run('uninstall', '--cascade')).toMatchObject({ exitCode: 0 });
  const client = await database.client();
  const { rows } = await client.query(`
    SELECT (SELECT count(*)::int FROM pg_namespace WHERE nspname = 'tviews') AS schemas,
           (SELECT count(*)::int FROM pg_trigger WHERE NOT tgisinternal) AS triggers,
           (SELECT count(*)::int FROM pg_class WHERE relname LIKE 'tv\\_%') AS tviews
  `);
  expect(rows).toEqual([{ schemas: 0, triggers: 0, tviews: 0 }]);
});
