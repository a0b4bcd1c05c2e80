/** The claim: changes of a claimed transaction go to whoever reads the connection; nobody else can claim, and nothing is lost. */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type ProxyRegistry, readRegistry } from '../../../src/database/list.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import type { FreshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { apply, type Notice, nothing, noticesOf, owed, product, shop } from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;
let app: pg.Client;
let registry: ProxyRegistry;
let notices: Notice[];

beforeAll(async () => {
  database = await shop();
  owner = await database.client();
  app = await database.client(database.app);
  notices = noticesOf(app);
  registry = (await readRegistry(executorOf(owner)))!;
});
afterAll(() => database.drop());
afterEach(async () => {
  await app.query('ROLLBACK');
  await app.query('RESET ALL');
  notices.length = 0;
});

const claim = () => app.query('SELECT tviews.claim($1, 2)', [registry.secret]);
/** What the proxy has heard since it last asked, as the argument of flush. */
const heard = (): string =>
  `[${notices
    .splice(0)
    .filter(({ code }) => code === 'TV001')
    .map(({ message }) => message)
    .join(', ')}]`;
const flush = async (changes: string, release = true) => {
  const { rows } = await app.query<{ report: { tview: number; keys: number; written: number }[] }>(
    'SELECT tviews.flush($1::text::jsonb, $2) AS report',
    [changes, release],
  );
  return rows[0]!.report;
};
const queued = async () => {
  // The owner's rights, this transaction's eyes.
  const { rows } = await app.query<{ used: string }>(
    `SELECT pg_stat_get_xact_tuples_inserted('tviews.queue'::regclass::oid) AS used`,
  );
  return Number(rows[0]!.used);
};

test('a claimed transaction sends its changes and touches no queue', async () => {
  await app.query('BEGIN');
  await claim();
  await app.query(`UPDATE tb_product SET name = 'claimed' WHERE pk_product IN (1, 2)`);
  expect(notices.map(({ code, message }) => ({ code, change: JSON.parse(message) as unknown }))).toEqual([
    {
      code: 'TV001',
      change: {
        s: registry.sources.find(({ name }) => name === 'tb_product')!.id,
        r: [
          { pk_product: 1, fk_category: 2 },
          { pk_product: 2, fk_category: 3 },
        ],
        k: true,
      },
    },
  ]);
  expect(await queued()).toBe(0);
  const report = await flush(heard());
  expect(report).toMatchObject([
    { tview: 1, keys: 2, written: 2, deleted: 0, unchanged: 0 },
    { tview: 2, keys: 2, written: 2, deleted: 0, unchanged: 0 },
  ]);
  await app.query('COMMIT');
  expect(await product(owner, 1)).toMatchObject({ name: 'claimed' });
  expect(await owed(database)).toEqual(nothing);
});

test('a notice reaches a client that wants to hear errors only', async () => {
  await app.query('SET client_min_messages = error');
  await app.query('BEGIN');
  await claim();
  await app.query(`UPDATE tb_product SET name = 'quiet' WHERE pk_product = 1`);
  await flush(heard());
  await app.query('COMMIT');
  expect(await owed(database)).toEqual(nothing);
});

test('changes from before the claim and after the release are flushed from the queue', async () => {
  await app.query('BEGIN');
  await app.query(`UPDATE tb_product SET name = 'before' WHERE pk_product = 1`);
  await claim();
  await app.query(`UPDATE tb_product SET name = 'claimed' WHERE pk_product = 2`);
  await flush(heard());
  await app.query(`UPDATE tb_product SET name = 'after' WHERE pk_product = 3`);
  // The claim cannot be taken back by hand once it is released.
  await app.query(`SET tviews.claim = '2'`);
  await app.query(`UPDATE tb_product SET name = 'after' WHERE pk_product = 4`);
  expect(heard()).toBe('[]');
  await app.query('COMMIT');
  expect(await owed(database)).toEqual(nothing);
});

test('what a deferred trigger of the user writes during COMMIT is flushed after the release', async () => {
  await owner.query(`
    CREATE FUNCTION review_automatically() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO tb_review VALUES (5000 + NEW.pk_product, NEW.pk_product, 3);
      RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER review_automatically AFTER INSERT ON tb_product
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION review_automatically()`);
  await app.query('BEGIN');
  await claim();
  await app.query(`INSERT INTO tb_product VALUES (104, 1, 'reviewed')`);
  await flush(heard());
  await app.query('COMMIT');
  expect(await product(owner, 104)).toMatchObject({ ratings: [3] });
  expect(await owed(database)).toEqual(nothing);
  await owner.query('DROP TRIGGER review_automatically ON tb_product');
});

test('what a trigger on a tview writes during the last flush is flushed at COMMIT', async () => {
  await owner.query(`
    CREATE FUNCTION note_refresh() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE shop.tb_category SET name = 'refreshed' WHERE pk_category = 4;
      RETURN NULL;
    END $$;
    CREATE TRIGGER note_refresh AFTER UPDATE ON tv_product FOR EACH ROW
    WHEN (NEW.pk_product = 1) EXECUTE FUNCTION note_refresh()`);
  try {
    await app.query('BEGIN');
    await claim();
    await app.query(`UPDATE tb_product SET name = 'noted' WHERE pk_product = 1`);
    await flush(heard());
    expect(heard()).toBe('[]');
    await app.query('COMMIT');
    expect(await owed(database)).toEqual(nothing);
  } finally {
    await owner.query('DROP TRIGGER note_refresh ON tv_product; DROP FUNCTION note_refresh()');
  }
});

describe('nothing given to flush can hide a change that is in the queue:', () => {
  const write = async () => {
    await app.query('BEGIN');
    await app.query(`UPDATE tb_product SET name = name || '!', price = price + 1 WHERE pk_product = 1`);
  };
  const source = (table: string) => registry.sources.find(({ name }) => name === table)!.id;

  test('a change of the same source that matters to nobody', async () => {
    await write();
    await flush(JSON.stringify([{ s: source('tb_product'), r: [], t: [] }, { queued: true }]), false);
    await app.query('COMMIT');
    expect(await owed(database)).toEqual(nothing);
  });

  test('a change of the tview that passes it on', async () => {
    // A second reader of tv_product: only where there are two does a change say to which it matters.
    await apply(owner, 'tv_name', `SELECT p.pk_product, p.data->>'name' AS name FROM tv_product p`);
    const { rows } = await owner.query<{ id: number }>(
      `SELECT id FROM tviews.source WHERE relation = 'shop.tv_product'::regclass`,
    );
    await write();
    await flush(JSON.stringify([{ s: rows[0]!.id, r: [], t: [] }, { queued: true }]), false);
    await app.query('COMMIT');
    expect(await owed(database)).toEqual(nothing);
    expect(await divergence(owner, 'shop.tv_name')).toEqual(inStep);
  });

  const forged: Record<string, (id: number) => unknown> = {
    'a source that is a text': (id) => ({ s: `${id}:t`, r: [999] }),
    'a tview that is a text': () => ({ tview: '1', all: true }),
    'images that are no array': (id) => ({ s: id, r: { pk_product: 1 } }),
    'readers that are no array': (id) => ({ s: id, r: [], t: 5 }),
    'a source and nothing else': (id) => ({ s: id }),
    'a change inside of something else': (id) => ({ zz: [1, { s: id, all: true }, 2] }),
    'a number': () => 5,
    'a null': () => null,
  };
  for (const [what, make] of Object.entries(forged)) {
    test(`${what} is refused`, async () => {
      await write();
      const changes = JSON.stringify([make(source('tb_product')), { queued: true }]);
      await expect(flush(changes, false)).rejects.toMatchObject({
        code: '22023',
        message: 'invalid change in the argument of tviews.flush',
      });
    });
  }
});

test('a savepoint rolled back to before the claim sends later changes to the queue', async () => {
  await app.query('BEGIN');
  await app.query('SAVEPOINT s');
  await claim();
  await app.query(`UPDATE tb_product SET name = 'undone' WHERE pk_product = 1`);
  await app.query('ROLLBACK TO s');
  notices.length = 0;
  await app.query(`UPDATE tb_product SET name = 'kept' WHERE pk_product = 2`);
  expect(heard()).toBe('[]');
  await app.query('COMMIT');
  expect(await owed(database)).toEqual(nothing);
});

test('a claim switched off by hand before the last flush and on again after it loses nothing', async () => {
  await app.query('BEGIN');
  await claim();
  await app.query(`UPDATE tb_product SET name = 'claimed' WHERE pk_product = 1`);
  await app.query(`SET LOCAL tviews.claim = 'off'`);
  await flush(heard());
  await app.query(`SET LOCAL tviews.claim = '2'`);
  await app.query(`UPDATE tb_product SET name = 'hidden' WHERE pk_product = 2`);
  await app.query('DISCARD SEQUENCES');
  await app.query(`UPDATE tb_product SET name = 'forgotten' WHERE pk_product = 3`);
  expect(heard()).toBe('[]');
  await app.query('COMMIT');
  expect(await product(owner, 2)).toMatchObject({ name: 'hidden' });
  expect(await owed(database)).toEqual(nothing);
});

test('a claim ends with its transaction', async () => {
  await app.query('BEGIN');
  await claim();
  await app.query('ROLLBACK');
  // By hand, with the sequence still holding the last claim.
  await app.query(`SET tviews.claim = '2'`);
  await app.query(`UPDATE tb_product SET name = 'unclaimed' WHERE pk_product = 1`);
  expect(heard()).toBe('[]');
  expect(await owed(database)).toEqual(nothing);
});

test('a claim in a read-only transaction does nothing', async () => {
  await app.query('BEGIN READ ONLY');
  await claim();
  const { rows } = await app.query(`SELECT current_setting('tviews.claim', true) AS claim`);
  expect(rows[0]!.claim).not.toBe('on');
  await app.query('COMMIT');
});

test('a claim alone writes nothing and takes no transaction id', async ({ skip }) => {
  const { rows: version } = await app.query(`SELECT current_setting('server_version_num')::int AS version`);
  if (version[0]!.version < 150000) skip('unlogged sequences came with 15');
  await app.query('BEGIN');
  await claim();
  const { rows } = await app.query('SELECT pg_current_xact_id_if_assigned() AS xid');
  expect(rows).toEqual([{ xid: null }]);
});

test('a change too long for a notice goes to the queue, and the notice says so', async () => {
  await app.query('BEGIN');
  await claim();
  await app.query(`INSERT INTO tb_product SELECT i, 1, 'bulk' FROM generate_series(10000, 15000) AS i`);
  const changes = heard();
  expect(JSON.parse(changes)).toEqual([{ queued: true }]);
  const report = await flush(changes);
  expect(report[0]).toMatchObject({ written: 5001 });
  await app.query('COMMIT');
  expect(await owed(database)).toEqual(nothing);
  await app.query('DELETE FROM tb_product WHERE pk_product >= 10000');
});

test('a client of another encoding gets no notice it could not read', async () => {
  await app.query(`SET client_encoding = 'LATIN1'`);
  await app.query('BEGIN');
  await claim();
  await app.query(`UPDATE tb_product SET name = 'x' WHERE pk_product = 1`);
  const changes = heard();
  expect(JSON.parse(changes)).toEqual([{ queued: true }]);
  await flush(changes);
  await app.query('COMMIT');
  expect(await owed(database)).toEqual(nothing);
});

test('flush may be called with the same changes twice, in any order, and with none', async () => {
  await app.query('BEGIN');
  await claim();
  await app.query(`UPDATE tb_product SET fk_category = 1 + pk_product % 3`);
  await app.query(`DELETE FROM tb_review WHERE pk_review < 10`);
  const changes = JSON.parse(heard()) as unknown[];
  await flush(JSON.stringify(changes.toReversed()), false);
  const again = await flush(JSON.stringify([...changes, ...changes]), false);
  for (const { written } of again) expect(written).toBe(0);
  expect(await flush('[]')).toEqual([]);
  await app.query('COMMIT');
  expect(await owed(database)).toEqual(nothing);
});

test('a wrong secret claims nothing', async () => {
  for (const secret of [Buffer.alloc(32), Buffer.alloc(0), null]) {
    await app.query('BEGIN');
    await expect(app.query('SELECT tviews.claim($1, 2)', [secret])).rejects.toMatchObject({ code: '42501' });
    await app.query('ROLLBACK');
  }
});

test('after a change of the secret and "tviews init" the old one claims nothing', async () => {
  const change = async (secret: Buffer): Promise<void> => {
    await owner.query('UPDATE tviews.secret SET value = $1', [secret]);
    await init(executorOf(owner));
  };
  const another = randomBytes(32);
  await change(another);
  await expect(claim()).rejects.toMatchObject({ code: '42501' });
  await app.query('SELECT tviews.claim($1, 2)', [another]);
  await change(registry.secret);
  await claim();
});

test('setting tviews.claim by hand loses no change', async () => {
  const fresh = await database.client(database.app);
  await fresh.query(`SET tviews.claim = '2'`);
  await fresh.query(`UPDATE tb_product SET name = 'forged' WHERE pk_product = 6`);
  expect(await product(owner, 6)).toMatchObject({ name: 'forged' });
  expect(await owed(database)).toEqual(nothing);
});
