/** `tviews apply`: builds beside what there is, in batches, while others read and write. */
import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dropTview } from '../../../src/database/drop.ts';
import type { SqlExecutor } from '../../../src/database/executor.ts';
import { describeDefinition, listTviews, status } from '../../../src/database/list.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import {
  type Applied,
  applyOnline,
  type OnlineHooks,
  type OnlineStep,
} from '../../../src/database/online-apply.ts';
import { inTransaction } from '../../../src/database/session.ts';
import { suspendTview } from '../../../src/database/suspend.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { apply, categoryDefinition, create, productDefinition, shortDefinition, tables } from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;

beforeEach(async () => {
  database = await freshDatabase({ schema: 'shop', sql: tables });
  owner = await database.client();
  await init(executorOf(owner));
});
afterEach(() => database.drop());

/** As `tviews apply` does with a file's CREATE OR REPLACE TVIEW. */
const applying = (
  name: string,
  query: string,
  hooks: OnlineHooks = {},
  more: Parameters<typeof create>[2] = {},
): Promise<Applied> =>
  applyOnline(executorOf(owner), create(name, query, { ifExists: 'replace', ...more }), hooks);

/** Nothing of a construction is left, and nothing of the schema to be followed. */
const leftovers = async (): Promise<string[]> => {
  const { definitions } = await status(executorOf(owner));
  const { rows } = await owner.query<{ name: string }>(`
    SELECT c.relname AS name FROM pg_class AS c
    WHERE c.relnamespace = 'tviews'::regnamespace AND c.relname ~ '^(fill|probe|tv|v)_'
    UNION ALL
    SELECT p.proname FROM pg_proc AS p
    WHERE p.pronamespace = 'tviews'::regnamespace AND p.proname LIKE '%building%'
    UNION ALL
    SELECT c.name FROM tviews.construction AS c`);
  return [...rows.map(({ name }) => name), ...definitions.map(describeDefinition)];
};

describe('says what it did', () => {
  test('created, then unchanged', async () => {
    expect(await applying('tv_product', productDefinition)).toMatchObject({ action: 'created', rows: 20 });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    expect(await applying('tv_product', productDefinition)).toMatchObject({ action: 'unchanged', rows: 0 });
    expect(await leftovers()).toEqual([]);
    await owner.query(`UPDATE tb_category SET name = 'renamed'`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('replaced, where the definition is another', async () => {
    await applying('tv_product', productDefinition);
    expect(await applying('tv_product', shortDefinition)).toMatchObject({ action: 'replaced', rows: 20 });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    expect(await leftovers()).toEqual([]);
    await owner.query(`UPDATE tb_category SET name = 'renamed'; DELETE FROM tb_product WHERE pk_product = 3`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('rebuilt, where the same definition reads something else', async () => {
    await owner.query('CREATE VIEW named AS SELECT pk_product, name FROM tb_product');
    const overView = 'SELECT n.pk_product, n.name AS data FROM named n';
    await applying('tv_product', overView);
    await owner.query(
      'CREATE OR REPLACE VIEW named AS SELECT p.pk_product, c.name FROM tb_product p JOIN tb_category c ON c.pk_category = p.fk_category',
    );
    expect(await applying('tv_product', overView)).toMatchObject({ action: 'rebuilt', rows: 20 });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    await owner.query(`UPDATE tb_category SET name = 'renamed'`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('altered, where the definition has columns more at the end', async () => {
    await applying('tv_product', productDefinition);
    await applying('tv_category', categoryDefinition);
    await owner.query('CREATE VIEW over AS SELECT pk_product FROM tv_product');
    const before = await owner.query(`SELECT 'tv_product'::regclass::oid AS oid`);
    const longer = productDefinition.replace(
      'AS data',
      `AS data, p.price, (SELECT max(r.rating) FROM tb_review r WHERE r.fk_product = p.pk_product) AS best`,
    );
    expect(await applying('tv_product', longer)).toMatchObject({ action: 'altered', rows: 20 });
    expect((await owner.query(`SELECT 'tv_product'::regclass::oid AS oid`)).rows).toEqual(before.rows);
    expect(await applying('tv_product', longer)).toMatchObject({ action: 'unchanged' });
    expect(await leftovers()).toEqual([]);
    await owner.query(
      `UPDATE tb_review SET rating = 9 WHERE pk_review < 10; UPDATE tb_category SET name = 'x'; DELETE FROM tb_product WHERE pk_product = 2`,
    );
    for (const name of ['product', 'category'])
      expect(await divergence(owner, `shop.tv_${name}`)).toEqual(inStep);
  });
});

describe('what cannot be', () => {
  test('a key that comes twice is named before any writer is told of the definition', async () => {
    await expect(
      applying('tv_product', 'SELECT fk_category AS id, name FROM tb_product', {}, { key: ['id'] }),
    ).rejects.toMatchObject({ code: '21000', detail: 'Key (id)=(1) comes 5 times.' });
    expect(await leftovers()).toEqual([]);
    expect((await listTviews(executorOf(owner))).length).toBe(0);
  });

  test('a row that cannot be computed is found before any writer is told of the definition', async () => {
    await owner.query('UPDATE tb_product SET price = 0 WHERE pk_product = 7');
    await expect(
      applying('tv_product', 'SELECT pk_product, 1 / price AS data FROM tb_product'),
    ).rejects.toMatchObject({ code: '22012' });
    await owner.query('UPDATE tb_product SET price = 0 WHERE pk_product = 8');
    expect(await leftovers()).toEqual([]);
  });

  test('one that comes when that was looked at ends the construction, and hurts writers no longer', async () => {
    const begin = async (step: string): Promise<void> => {
      if (step === 'begin') await owner.query('UPDATE tb_product SET price = 0 WHERE pk_product = 7');
    };
    await expect(
      applying('tv_product', 'SELECT pk_product, 1 / price AS data FROM tb_product', { step: begin }),
    ).rejects.toMatchObject({ code: '22012' });
    await owner.query('UPDATE tb_product SET price = 0 WHERE pk_product = 8');
    expect(await leftovers()).toEqual([]);
  });

  test('a tview that others read is not replaced, and what reads it is told', async () => {
    await applying('tv_product', productDefinition);
    await applying('tv_category', categoryDefinition);
    await expect(applying('tv_product', shortDefinition)).rejects.toMatchObject({
      code: '2BP01',
      detail: 'tview shop.tv_category reads it',
    });
    expect(await leftovers()).toEqual([]);
  });

  test('a tview that views and functions read is not replaced, and they are told', async () => {
    await applying('tv_product', productDefinition);
    await owner.query(`
      CREATE VIEW dear AS SELECT pk_product FROM tv_product;
      CREATE TABLE basket (product int REFERENCES tv_product)`);
    await expect(applying('tv_product', shortDefinition)).rejects.toMatchObject({
      code: '2BP01',
      detail: expect.stringMatching(
        /^constraint basket_product_fkey on table (shop\.)?basket\nview (shop\.)?dear$/,
      ),
    });
    expect(await leftovers()).toEqual([]);
  });

  test('a tview that is being built is neither read by others nor suspended', async () => {
    await interruptedAt('list', 'tv_product', productDefinition);
    const name = (await listTviews(executorOf(owner)))[0]!.name;
    await expect(applying('tv_over', `SELECT pk_product, data FROM tviews.${name}`)).rejects.toMatchObject({
      code: '0A000',
    });
    await expect(
      inTransaction(executorOf(owner), () => suspendTview(executorOf(owner), `tviews.${name}`)),
    ).rejects.toMatchObject({ code: '55000' });
  });
});

/** Ends before a step, as by Ctrl-C. */
async function interruptedAt(step: OnlineStep | 'batch', name: string, query: string): Promise<unknown> {
  const interrupt = new AbortController();
  const reason = await applying(name, query, {
    step: (at) => {
      if (at === step) interrupt.abort();
    },
    progress: (filled) => {
      if (step === 'batch' && filled > 0) interrupt.abort();
    },
    signal: interrupt.signal,
  }).catch((error: unknown) => error);
  expect(reason).toMatchObject({ code: '57014' });
  return reason;
}

const manyProducts = `
  INSERT INTO tb_product SELECT i, 1 + i % 4, 'product ' || i FROM generate_series(21, 500) AS i`;

describe('interrupted', () => {
  beforeEach(() => owner.query(manyProducts));

  test('it says how far it is, and goes on from there', async () => {
    expect(await interruptedAt('batch', 'tv_product', productDefinition)).toMatchObject({
      message: 'stopped: 100 of 500 keys are filled',
      hint: expect.stringMatching(
        /^Run "tviews apply" again to go on, or "tviews drop tviews\.tv_building_\d+" to give it up\.$/,
      ),
    });
    expect((await status(executorOf(owner))).building).toMatchObject([
      { construction: { becomes: { schema: 'shop', name: 'tv_product' }, keys: 500, filled: 100 } },
    ]);
    const seen: number[] = [];
    expect(
      await applying('tv_product', productDefinition, { progress: (filled) => seen.push(filled) }),
    ).toMatchObject({ action: 'created', rows: 500 });
    expect(seen[0]).toBe(100);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    expect(await leftovers()).toEqual([]);
  });

  test('with another definition it begins anew', async () => {
    await interruptedAt('batch', 'tv_product', productDefinition);
    expect(await applying('tv_product', shortDefinition)).toMatchObject({ action: 'created', rows: 500 });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    expect(await leftovers()).toEqual([]);
  });

  test('and applied as it was before, what is left of it goes', async () => {
    await applying('tv_product', productDefinition);
    await interruptedAt('batch', 'tv_product', shortDefinition);
    expect(await applying('tv_product', productDefinition)).toMatchObject({ action: 'unchanged' });
    expect(await leftovers()).toEqual([]);
  });

  test('columns that were added are filled by the next one', async () => {
    await applying('tv_product', productDefinition);
    await interruptedAt('batch', 'tv_product', productDefinition.replace('AS data', 'AS data, p.price'));
    expect(await divergence(owner, 'shop.tv_product')).toEqual({ ...inStep, different: 400 });
    const longer = productDefinition.replace('AS data', 'AS data, p.price, upper(p.name) AS upper');
    expect(await applying('tv_product', longer)).toMatchObject({ action: 'altered', rows: 500 });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    expect(await leftovers()).toEqual([]);
  });

  test('columns that were added and are not filled yet, and another definition: it is replaced', async () => {
    await applying('tv_product', productDefinition);
    await interruptedAt('batch', 'tv_product', productDefinition.replace('AS data', 'AS data, p.price'));
    expect(await applying('tv_product', shortDefinition)).toMatchObject({ action: 'replaced' });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    expect(await leftovers()).toEqual([]);
  });

  test('the same, and back: they are filled, and what was built beside goes', async () => {
    const longer = productDefinition.replace('AS data', 'AS data, p.price');
    await applying('tv_product', productDefinition);
    await interruptedAt('batch', 'tv_product', longer);
    await interruptedAt('batch', 'tv_product', shortDefinition);
    expect(await applying('tv_product', longer)).toMatchObject({ action: 'altered' });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    expect(await leftovers()).toEqual([]);
  });

  test('columns that were added and are not filled yet, and the same by the statement: it is not called unchanged', async () => {
    const longer = productDefinition.replace('AS data', 'AS data, p.price');
    await applying('tv_product', productDefinition);
    await interruptedAt('batch', 'tv_product', longer);
    await expect(apply(owner, 'tv_product', longer)).rejects.toMatchObject({
      code: '55000',
      message: 'tview shop.tv_product is being built: 100 of 500 keys are filled',
      hint: 'Run "tviews apply" again to go on.',
    });
    expect(await apply(owner, 'tv_product', longer, { ifExists: 'replace' })).toMatchObject({
      action: 'replaced',
      rows: 500,
    });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    expect(await leftovers()).toEqual([]);
  });

  test.each([
    'DROP TVIEW of what it is to be',
    'DROP TVIEW of what it is called now',
    'CREATE OR REPLACE TVIEW',
  ])('%s ends it', async (how) => {
    await interruptedAt('batch', 'tv_product', productDefinition);
    const building = (await listTviews(executorOf(owner)))[0]!;
    if (how === 'CREATE OR REPLACE TVIEW') {
      await apply(owner, 'tv_product', shortDefinition, { ifExists: 'replace' });
    } else {
      const name = how.endsWith('now') ? building : { schema: null, name: 'tv_product' };
      await inTransaction(executorOf(owner), () =>
        dropTview(executorOf(owner), { kind: 'drop', ifExists: false, schema: name.schema, name: name.name }),
      );
    }
    expect(await leftovers()).toEqual([]);
    await owner.query(`UPDATE tb_product SET name = 'x' WHERE pk_product < 10`);
  });

  test.each([
    'check',
    'begin',
    'list',
    'fill',
    'batch',
    'wait',
    'swap',
  ] as const)('by the end of its connection at %s, the next one makes it whole', async (when) => {
    await applying('tv_product', shortDefinition);
    const other = await database.client();
    const applier = await database.client();
    const { rows } = await applier.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const kill = async (at: string): Promise<void> => {
      if (at === when) await other.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid]);
    };
    await expect(
      applyOnline(executorOf(applier), create('tv_product', productDefinition, { ifExists: 'replace' }), {
        step: kill,
        progress: (filled) => (filled > 0 ? kill('batch') : undefined),
      }),
    ).rejects.toThrow();
    await owner.query(`
        UPDATE tb_product SET name = 'meanwhile' WHERE pk_product % 7 = 0;
        DELETE FROM tb_product WHERE pk_product % 11 = 0;
        INSERT INTO tb_product VALUES (1001, 1, 'new')`);
    expect(await applying('tv_product', productDefinition)).toMatchObject({ action: 'replaced' });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
    expect(await leftovers()).toEqual([]);
  });
});

describe('what people have given the table is kept', () => {
  const kept = async (): Promise<Record<string, unknown>> => {
    const { rows } = await owner.query(`
      SELECT
        (SELECT jsonb_agg(pg_get_indexdef(i.indexrelid) ORDER BY pg_get_indexdef(i.indexrelid)) FROM pg_index i WHERE i.indrelid = c.oid) AS indexes,
        (SELECT jsonb_agg(pg_get_constraintdef(o.oid) ORDER BY pg_get_constraintdef(o.oid)) FROM pg_constraint o WHERE o.conrelid = c.oid AND o.contype <> 'n') AS constraints,
        (SELECT jsonb_agg(pg_get_triggerdef(t.oid) ORDER BY t.tgname) FROM pg_trigger t WHERE t.tgrelid = c.oid) AS triggers,
        (SELECT jsonb_agg(to_jsonb(p) ORDER BY p.policyname) FROM pg_policies p WHERE p.tablename = c.relname) AS policies,
        obj_description(c.oid) AS comment, col_description(c.oid, 1) AS "column comment",
        (SELECT attnotnull FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'data') AS "not null",
        obj_description('v_product'::regclass) AS "view comment",
        (SELECT reloptions FROM pg_class v WHERE v.oid = 'v_product'::regclass) AS "view options",
        (SELECT jsonb_agg(a::text ORDER BY a::text) FROM unnest(c.relacl) a WHERE a::text !~ '^owner') AS grants,
        (SELECT jsonb_agg(a::text ORDER BY a::text) FROM pg_class v, unnest(v.relacl) a WHERE v.oid = 'v_product'::regclass AND a::text !~ '^owner') AS "view grants",
        (SELECT attacl::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'data') AS "column grants",
        (SELECT jsonb_agg(o ORDER BY o) FROM unnest(c.reloptions) o) AS options, c.relrowsecurity AS policed,
        (SELECT jsonb_agg(jsonb_build_array(t.pk_product, t.note, t.words) ORDER BY t.pk_product) FROM tv_product t) AS values
      FROM pg_class c WHERE c.oid = 'tv_product'::regclass`);
    return rows[0] as Record<string, unknown>;
  };

  test('across a replace and a rebuild', async () => {
    await owner.query('CREATE VIEW named AS SELECT pk_product, name FROM tb_product');
    await applying(
      'tv_product',
      `SELECT n.pk_product, jsonb_build_object('name', n.name) AS data FROM named n`,
    );
    await owner.query(`
      ALTER TABLE tv_product ADD COLUMN note text DEFAULT 'none', ADD COLUMN words text GENERATED ALWAYS AS (data->>'name') STORED;
      CREATE INDEX by_name ON tv_product ((data->>'name')) WHERE pk_product > 3;
      CREATE UNIQUE INDEX "By USING words" ON tv_product (words text_pattern_ops, pk_product);
      ALTER TABLE tv_product ADD CONSTRAINT has_data CHECK (data IS NOT NULL);
      ALTER TABLE tv_product ALTER data SET NOT NULL;
      ALTER VIEW v_product SET (security_barrier = true);
      ALTER TABLE tv_product ADD CONSTRAINT once UNIQUE (pk_product, note);
      CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE TRIGGER telling AFTER UPDATE ON tv_product FOR EACH ROW EXECUTE FUNCTION told();
      CREATE POLICY positive ON tv_product FOR SELECT TO PUBLIC USING (pk_product > 0);
      ALTER TABLE tv_product ENABLE ROW LEVEL SECURITY;
      ALTER TABLE tv_product SET (fillfactor = 70, autovacuum_vacuum_threshold = 5);
      COMMENT ON TABLE tv_product IS 'it''s ours';
      COMMENT ON COLUMN tv_product.pk_product IS 'the key';
      COMMENT ON VIEW v_product IS 'the view';
      REVOKE ALL ON tv_product FROM ${database.app.role};
      GRANT SELECT (data) ON tv_product TO ${database.app.role};
      GRANT SELECT ON v_product TO PUBLIC;
      ALTER TABLE tv_product DISABLE TRIGGER tviews_guard;
      UPDATE tv_product SET note = 'note ' || pk_product WHERE pk_product % 2 = 0;
      ALTER TABLE tv_product ENABLE TRIGGER tviews_guard`);
    const before = await kept();
    expect(before.values).toContainEqual([2, 'note 2', 'product 2']);
    expect(before['not null']).toBe(true);
    expect(before['view options']).toEqual(['security_barrier=true']);
    const other = `SELECT n.pk_product, jsonb_build_object('name', n.name, 'more', n.pk_product) AS data FROM named n`;
    expect(await applying('tv_product', other)).toMatchObject({ action: 'replaced' });
    expect(await kept()).toEqual(before);
    await owner.query('CREATE OR REPLACE VIEW named AS SELECT pk_product, name, price FROM tb_product');
    await owner.query('ALTER TABLE tb_product RENAME TO tb_thing');
    expect(await applying('tv_product', other)).toMatchObject({ action: 'rebuilt' });
    expect(await kept()).toEqual(before);
    expect(await divergence(owner, 'shop.tv_product', ['pk_product'])).toEqual(inStep);
  });

  test('or it is not replaced', async () => {
    await applying('tv_product', productDefinition);
    await owner.query('CREATE INDEX by_category ON tv_product (fk_category)');
    await expect(applying('tv_product', shortDefinition)).rejects.toMatchObject({
      code: '2BP01',
      message: 'cannot replace tview shop.tv_product: its index "by_category" could not be kept',
    });
    expect(await leftovers()).toEqual([]);
    await owner.query('DROP INDEX by_category; ALTER TABLE tv_product ADD COLUMN note text');
    await expect(
      applying(
        'tv_product',
        'SELECT p.pk_product, p.fk_category, p.name FROM tb_product p',
        {},
        { key: ['pk_product', 'fk_category'] },
      ),
    ).rejects.toMatchObject({ code: '2BP01', detail: 'Its values go by the key, which is another now.' });
  });

  test.each([
    [
      'CREATE POLICY few ON tv_product FOR SELECT USING (fk_category > 1)',
      'its policy "few" could not be kept',
    ],
    [
      'CREATE STATISTICS pair ON pk_product, fk_category FROM tv_product',
      'its statistics object "pair" could not be kept',
    ],
    [
      'ALTER TABLE tv_product ADD COLUMN n int GENERATED ALWAYS AS IDENTITY UNIQUE',
      'its column "n" could not be kept',
    ],
    ['ALTER TABLE tv_product ADD COLUMN n serial', 'its column "n" could not be kept'],
    [
      'CREATE TABLE everything (pk_product int NOT NULL, data jsonb); ALTER TABLE tv_product INHERIT everything',
      'because other objects depend on it',
    ],
  ])('or it is refused before anything is built: %s', async (gift, message) => {
    await applying('tv_product', productDefinition);
    await owner.query(gift);
    await expect(applying('tv_product', shortDefinition)).rejects.toMatchObject({
      code: '2BP01',
      message: expect.stringContaining(message),
    });
    expect(await leftovers()).toEqual([]);
  });

  test('or, where it came while it was built, the swap says which', async () => {
    await applying('tv_product', productDefinition);
    const step = (at: OnlineStep): unknown =>
      at === 'wait' ? owner.query(`CREATE POLICY few ON tv_product USING (data->>'name' <> '')`) : null;
    const asText = `SELECT pk_product, name AS data FROM tb_product`;
    await expect(applying('tv_product', asText, { step })).rejects.toMatchObject({
      code: '2BP01',
      detail: expect.stringMatching(
        /^PostgreSQL says: operator does not exist: text ->> text, of: CREATE POLICY few /,
      ),
    });
    await owner.query('DROP POLICY few ON tv_product');
    expect(await applying('tv_product', asText)).toMatchObject({ action: 'replaced' });
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('and if the new rows do not fit it, no writer is the first to be told', async () => {
    await applying('tv_product', productDefinition);
    await owner.query(`ALTER TABLE tv_product ADD CONSTRAINT rated CHECK (data ? 'ratings')`);
    const steps: OnlineStep[] = [];
    await expect(
      applying('tv_product', shortDefinition, { step: (at) => steps.push(at) }),
    ).rejects.toMatchObject({
      code: '23514',
      message: 'rows of the definition do not fit a constraint of tview shop.tv_product',
    });
    expect(steps).toEqual(['check']);
    expect(await leftovers()).toEqual([]);
  });

  test('whatever an index or a constraint is called, and however often it changes', async () => {
    await applying('tv_product', productDefinition);
    const given = `
      -- As tables and indexes of ours are called.
      CREATE INDEX source ON tv_product (pk_product);
      ALTER TABLE tv_product ADD COLUMN note text, ADD CONSTRAINT queue UNIQUE (note)`;
    await owner.query(`${given};
      CREATE INDEX first ON tv_product ((data->>'name')); CREATE INDEX second ON tv_product (pk_product, note);
      ALTER TABLE tv_product ADD CONSTRAINT third UNIQUE (note, pk_product)`);
    const meanwhile = (at: OnlineStep): unknown =>
      at === 'wait'
        ? owner.query(`
            DROP INDEX first, second; CREATE INDEX first ON tv_product ((data->>'category'));
            ALTER TABLE tv_product DROP CONSTRAINT third`)
        : null;
    expect(await applying('tv_product', shortDefinition, { step: meanwhile })).toMatchObject({
      action: 'replaced',
    });
    const { rows } = await owner.query<{ definition: string }>(`
      SELECT substr(pg_get_indexdef(indexrelid), 8) AS definition FROM pg_index WHERE indrelid = 'tv_product'::regclass ORDER BY 1`);
    expect(rows.map(({ definition }) => definition)).toEqual([
      expect.stringMatching(/INDEX first ON .*category/),
      expect.stringMatching(/INDEX source ON .*\(pk_product\)/),
      expect.stringMatching(/INDEX queue ON .*\(note\)/),
      expect.stringMatching(/INDEX tv_product_pkey ON/),
    ]);
    expect(
      (
        await owner.query(
          `SELECT conname FROM pg_constraint WHERE conrelid = 'tv_product'::regclass AND contype = 'u'`,
        )
      ).rows,
    ).toEqual([{ conname: 'queue' }]);
  });

  test('and of a new one everybody gets what the administrator has said', async () => {
    await applying('tv_product', productDefinition);
    const app = await database.client(database.app);
    expect((await app.query('SELECT FROM tv_product')).rowCount).toBe(20);
  });
});

describe('a tview that was renamed is replaced under its name of now', () => {
  const article = { schema: 'shop', name: 'tv_article' };
  test.each([
    ['its table alone', 'ALTER TABLE tv_product RENAME TO tv_article', article],
    [
      'both',
      'ALTER TABLE tv_product RENAME TO tv_article; ALTER VIEW v_product RENAME TO v_article',
      article,
    ],
    [
      'moved to another schema',
      'CREATE SCHEMA attic; ALTER TABLE tv_product SET SCHEMA attic',
      { schema: 'attic', name: 'tv_product' },
    ],
  ])('%s', async (_, renaming, { schema, name }) => {
    await applying('tv_product', productDefinition);
    await owner.query(`COMMENT ON VIEW v_product IS 'the view'; ${renaming}`);
    expect(await applying(name, shortDefinition, {}, { schema })).toMatchObject({ action: 'replaced' });
    const view = `${schema}.${name.replace('tv_', 'v_')}`;
    const { rows } = await owner.query('SELECT obj_description(to_regclass($1)) AS comment', [view]);
    expect(rows).toEqual([{ comment: 'the view' }]);
    expect(await divergence(owner, `${schema}.${name}`)).toEqual(inStep);
    expect(await leftovers()).toEqual([]);
  });

  test('by the statement, too', async () => {
    await applying('tv_product', productDefinition);
    await owner.query('ALTER TABLE tv_product RENAME TO tv_article');
    expect(await apply(owner, 'tv_article', shortDefinition, { ifExists: 'replace' })).toMatchObject({
      action: 'replaced',
    });
    const app = await database.client(database.app);
    expect((await app.query('SELECT FROM tv_article')).rowCount).toBe(20);
  });

  test('unless the name of its view is taken, which is found before anything is built', async () => {
    await applying('tv_product', productDefinition);
    await owner.query(
      'ALTER TABLE tv_product RENAME TO tv_article; CREATE VIEW v_article AS SELECT 1 AS one',
    );
    await init(executorOf(owner));
    await expect(applying('tv_article', shortDefinition)).rejects.toMatchObject({
      code: '42P07',
      message: 'relation "v_article" already exists',
    });
    expect(await leftovers()).toEqual([]);
  });
});

describe('shapes', () => {
  test('composite keys and names that have to be quoted', async () => {
    await owner.query(`
      CREATE SCHEMA "Odd ""one";
      CREATE TABLE "Odd ""one"."T x" ("A a" text, b numeric, "c" timestamptz DEFAULT '2020-01-01', PRIMARY KEY ("A a", b));
      INSERT INTO "Odd ""one"."T x" SELECT 'it''s "' || i, i + 0.50 FROM generate_series(1, 300) AS i`);
    const query = `SELECT "A a", b, jsonb_build_object('c', "c") AS "d d" FROM "Odd ""one"."T x"`;
    const more = { schema: 'Odd "one', key: ['A a', 'b'] };
    expect(await applying('tv_The "x', query, {}, more)).toMatchObject({ action: 'created', rows: 300 });
    expect(await applying('tv_The "x', query.replace('"c")', `"c", 'b', b)`), {}, more)).toMatchObject({
      action: 'replaced',
    });
    await owner.query(`UPDATE "Odd ""one"."T x" SET "c" = now() WHERE b < 10`);
    const { rows } = await owner.query(`
      SELECT FROM "Odd ""one"."tv_The ""x" t FULL JOIN "Odd ""one"."v_The ""x" v USING ("A a", b)
      WHERE t."d d"::text IS DISTINCT FROM v."d d"::text`);
    expect(rows).toEqual([]);
    expect(await leftovers()).toEqual([]);
  });

  test('a partitioned source, a table under full_refresh, and what is computed whole', async () => {
    await owner.query(`
      CREATE TABLE part (id int, region int, name text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
      CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
      CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
      INSERT INTO part SELECT i, 1 + i % 2, 'n' FROM generate_series(1, 200) AS i;
      CREATE TABLE rate (value int); INSERT INTO rate VALUES (2)`);
    const parts = 'SELECT id, region, name, (SELECT max(value) FROM rate) AS rate FROM part';
    const more = { key: ['id', 'region'], fullRefresh: '*' as const };
    const joined = `
      SELECT COALESCE(a.id, b.id) AS id, a.name AS one, b.name AS two
      FROM (SELECT * FROM part WHERE region = 1) a FULL JOIN (SELECT * FROM part WHERE region = 2) b ON a.id = b.id`;
    const write = async (): Promise<void> => {
      await owner.query(`
        UPDATE rate SET value = value + 1;
        UPDATE part SET name = 'changed' WHERE id % 9 = 0;
        DELETE FROM part_2 WHERE id % 13 = 0`);
    };
    const step = (at: OnlineStep): Promise<void> | undefined => (at === 'fill' ? write() : undefined);
    expect(await applying('tv_part', parts, { step }, more)).toMatchObject({ action: 'created' });
    expect(await applying('tv_joined', joined, { step }, { key: ['id'], fullRefresh: '*' })).toMatchObject({
      action: 'created',
    });
    for (const name of ['part', 'joined']) expect(await divergence(owner, `shop.tv_${name}`)).toEqual(inStep);
    expect(await applying('tv_part', parts.replace('max', 'min'), { step }, more)).toMatchObject({
      action: 'replaced',
    });
    await write();
    for (const name of ['part', 'joined']) expect(await divergence(owner, `shop.tv_${name}`)).toEqual(inStep);
  });

  test('a tview over a tview that changes while it is built', async () => {
    await applying('tv_product', productDefinition);
    const step = (at: OnlineStep): unknown =>
      at === 'fill'
        ? owner.query(`UPDATE tb_product SET name = 'meanwhile', fk_category = 1 WHERE pk_product < 9`)
        : null;
    expect(await applying('tv_category', categoryDefinition, { step })).toMatchObject({
      action: 'created',
      rows: 4,
    });
    expect(await divergence(owner, 'shop.tv_category')).toEqual(inStep);
  });

  test('a connection on which each answer takes long makes batches no smaller', async () => {
    await owner.query(manyProducts);
    const { query } = executorOf(owner);
    const slow: SqlExecutor = {
      query: async (text, values) => {
        await new Promise((resolve) => setTimeout(resolve, 40));
        return await query(text, values);
      },
    };
    const seen: number[] = [];
    await applyOnline(slow, create('tv_product', productDefinition), {
      progress: (filled) => seen.push(filled),
    });
    expect(seen.at(-1)).toBe(500);
    expect(seen.length).toBeLessThan(20);
  });

  test('more rows than the planner thinks are filled in batches all the same, or writers would wait for all', async () => {
    await owner.query(`
      INSERT INTO tb_product SELECT i, 1 + i % 4, 'product ' || i FROM generate_series(21, 3000) AS i;
      ANALYZE tb_product, tb_review, tb_category`);
    const seen: number[] = [];
    const thoughtToBeOneRow = `${productDefinition} WHERE length(p.name) = length(p.name || '') AND upper(p.name) = upper(lower(p.name))`;
    await applying('tv_product', thoughtToBeOneRow, { progress: (filled) => seen.push(filled) });
    expect(seen.at(-1)).toBe(3000);
    expect(seen.length).toBeGreaterThan(10);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });

  test('no rows at all', async () => {
    await owner.query('TRUNCATE tb_product CASCADE');
    expect(await applying('tv_product', productDefinition)).toMatchObject({ action: 'created', rows: 0 });
    await owner.query(`INSERT INTO tb_product VALUES (1, 1, 'first')`);
    expect(await divergence(owner, 'shop.tv_product')).toEqual(inStep);
  });
});
