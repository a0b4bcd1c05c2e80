/** `tviews apply`, its plan, and what is told of a tview that is being built. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type CommandOptions, type CommandResult, tviews } from '../../kit/command.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { categoryDefinition, productDefinition, tables } from '../database/support.ts';

let database: FreshDatabase;
let owner: pg.Client;
const folder = mkdtempSync(join(tmpdir(), 'tviews-apply-'));
const file = join(folder, 'shop.sql');

beforeAll(async () => {
  database = await freshDatabase({ schema: 'shop', sql: tables });
  owner = await database.client();
  await owner.query(
    `INSERT INTO tb_product SELECT i, 1 + i % 4, 'product ' || i FROM generate_series(21, 600) AS i; ANALYZE tb_product; ANALYZE tb_category; ANALYZE tb_review`,
  );
  await run('init');
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await database.drop();
});
beforeEach(async () => {
  for (const name of ['category', 'product']) await run('drop', '--if-exists', `shop.tv_${name}`);
});

const run = (...argv: readonly string[]): Promise<CommandResult> => runWith({}, ...argv);
const runWith = (options: CommandOptions, ...argv: readonly string[]): Promise<CommandResult> =>
  tviews(argv, { env: { DATABASE_URL: database.url }, ...options });

const product = `CREATE OR REPLACE TVIEW shop.tv_product AS ${productDefinition};\n`;
const category = `CREATE OR REPLACE TVIEW shop.tv_category AS ${categoryDefinition};\n`;
const applied = async (text: string): Promise<CommandResult> => {
  writeFileSync(file, text);
  return await run('apply', file);
};
const planned = async (text: string): Promise<CommandResult> => {
  writeFileSync(file, text);
  return await run('apply', '--plan', file);
};

describe('a plan', () => {
  test('says what would be made, with what reads it, and makes nothing', async () => {
    const { exitCode, stdout } = await planned(product + category);
    expect(stdout).toBe(
      [
        'shop.tv_product: would be created: there is none of this name; about 600 rows to compute',
        '  keeps writers waiting for a moment: shop.tb_category, shop.tb_product, shop.tb_review',
        'shop.tv_category: would be created: there is none of this name; about 4 rows to compute',
        '  keeps writers waiting for a moment: shop.tb_category, shop.tb_product, shop.tb_review',
        '',
      ].join('\n'),
    );
    expect(exitCode).toBe(2);
    expect((await run('list')).stdout).toBe('no tviews\n');
    const { rows } = await owner.query(`SELECT FROM pg_class WHERE relname ~ '^(tv|v|probe)_'`);
    expect(rows).toEqual([]);
  });

  test('is empty once it was done, and says why where something has changed', async () => {
    await applied(product + category);
    expect(await planned(product + category)).toMatchObject({
      exitCode: 0,
      stdout: 'shop.tv_product: unchanged\nshop.tv_category: unchanged\n',
    });
    expect((await planned(product.replace('AS data', 'AS data, p.price'))).stdout).toContain(
      'shop.tv_product: would be altered: the definition has "price" more; about 600 rows to compute\n',
    );
    expect((await planned(category.replace("'name', c.name", "'name', upper(c.name)"))).stdout).toContain(
      'shop.tv_category: would be replaced: the definition computes its columns otherwise; about 4 rows to compute\n',
    );
  });

  test('tells all that is refused, each at its place, and goes on behind it', async () => {
    await applied(product + category);
    const text = `${product.replace("'price', p.price", "'price', -p.price")}CREATE TVIEW shop.tv_two AS\nSELECT nothing;\nDROP TVIEW shop.tv_category;\n`;
    const { exitCode, stdout } = await planned(text);
    expect(exitCode).toBe(1);
    expect(stdout).toContain(
      `${file}:1:1: cannot replace tview shop.tv_product because other tviews read it\nDETAIL: tview shop.tv_category reads it\n`,
    );
    expect(stdout).toMatch(new RegExp(`^${file}:\\d+:8: column "nothing" does not exist$`, 'm'));
    expect(stdout).toContain('shop.tv_category: would be dropped');
    expect((await run('list')).stdout).toContain('shop.tv_category');
  });

  test('keeps no writer waiting', async () => {
    const writer = await database.client(database.app);
    await writer.query(`BEGIN; UPDATE tb_product SET name = 'open' WHERE pk_product = 1`);
    expect(await planned(product)).toMatchObject({ exitCode: 2 });
    await writer.query('ROLLBACK');
  });
});

describe('Ctrl-C', () => {
  const interrupted = (): Promise<CommandResult> => {
    writeFileSync(file, product);
    return runWith({ interruptAt: 'Applying 1/1: shop.tv_product\n' }, 'apply', file);
  };

  test('says what is left and how to go on; so do list and status, and verify leaves it alone', async () => {
    // Not before the construction has begun: an open transaction keeps the swap waiting, and that is told.
    const reader = await database.client(database.superuser);
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM tb_category');
    writeFileSync(file, product);
    const stopped = await runWith(
      { interruptAt: 'waiting for transactions that began before: 1 server process' },
      'apply',
      file,
    );
    expect(stopped).toMatchObject({ exitCode: 1 });
    expect(stopped.stderr).toMatch(
      /: stopped: 600 of 600 keys are filled\nHINT: Run "tviews apply" again to go on, or "tviews drop tviews\.tv_building_\d+" to give it up\.\n$/,
    );
    await reader.query('COMMIT');
    expect((await run('list')).stdout).toMatch(
      /^tviews\.tv_building_\d+ \(being built, to be shop\.tv_product: 600 of 600 keys are filled\)/m,
    );
    const status = await run('status');
    expect(status).toMatchObject({ exitCode: 0 });
    expect(status.stdout).toMatch(/^tviews {5}0, of /m);
    expect(status.stdout).toMatch(
      /^building {3}shop\.tv_product: 600 of 600 keys are filled\. Run "tviews apply" again/m,
    );
    expect((await run('verify')).stdout).toMatch(
      /^tviews\.tv_building_\d+: being built, not compared; 600 of 600/,
    );
    const [name] = /tviews\.tv_building_\d+/.exec(status.stdout)!;
    expect((await run('explain', name)).stdout).toContain('It is being built: 600 of 600 keys are filled.');
    expect(await planned(product)).toMatchObject({
      exitCode: 2,
      stdout: expect.stringContaining(
        'shop.tv_product: would be created: it has been begun; about 0 rows to compute\n',
      ),
    });
    expect((await applied(product)).stdout).toContain('shop.tv_product: created, 600 rows\n');
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('before anything was changed says that', async () => {
    const { exitCode, stderr } = await interrupted();
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`${file}:1:1: stopped before anything was changed\n`);
    expect((await run('list')).stdout).toBe('no tviews\n');
  });

  test('drop gives it up, by the name it was to have', async () => {
    const reader = await database.client(database.superuser);
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM tb_category');
    writeFileSync(file, product);
    await runWith({ interruptAt: 'waiting for transactions' }, 'apply', file);
    await reader.query('COMMIT');
    expect(await run('drop', 'shop.tv_product')).toMatchObject({
      exitCode: 0,
      stdout: 'shop.tv_product: dropped\n',
    });
    expect((await run('list')).stdout).toBe('no tviews\n');
  });
});
