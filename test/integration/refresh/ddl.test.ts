/**
 * Changes of the schema made through the proxy: by the time the client hears of them they are followed (settlement.test.ts), unless the
 * machine is so slow that the proxy lets the client go on before. Whoever writes then meets no old name, and every tview is what its
 * view says.
 */
import type pg from 'pg';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { status } from '../../../src/database/list.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { applyText } from '../../kit/blog.ts';
import { connectTo, until } from '../../kit/clients.ts';
import type { FreshDatabase } from '../../kit/database.ts';
import { isLong } from '../../kit/effort.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';
import { changes, changingSchema, expectExact, untilExact } from '../database/schema-changes.ts';

let database: FreshDatabase;
let owner: pg.Client;
let proxy: TestProxy;
/** The owner's session through the proxy. */
let client: pg.Client;
beforeEach(async () => {
  ({ database, owner } = await changingSchema());
  proxy = await testProxy(database);
  client = await connectTo(proxy.url(database.owner));
});
afterEach(async () => {
  await client.end();
  await proxy.close();
  await database.drop();
});

const asked = async () => await status(executorOf(owner));

/** Past the proxy each of them is made in every run (follow.test.ts); here each third is, and all with TVIEWS_TEST_EFFORT=long. */
const made = Object.entries(changes).filter(
  ([, { since = 0 }], place) => inject('serverVersion') >= since && (isLong || place % 3 === 0),
);

describe.each(made)('%s', (_, change) => {
  test('is followed, and whoever writes then is exact', async () => {
    for (const statement of change.ddl) await client.query(statement);
    await untilFollowed();
    await untilExact(owner, change);
    const isRefused = Object.values(change.outcomes).includes('refused');
    const { definitions, changedFamilies, moved } = await asked();
    expect(moved).toEqual([]);
    expect(changedFamilies).toEqual([]);
    expect(definitions.map(({ problem }) => problem !== null)).toEqual(isRefused ? [true] : []);
    for (const write of change.writes) {
      await client.query(write);
      await expectExact(owner, change, write);
    }
  });
});

const renamed = { outcomes: {} };

describe('DDL', () => {
  test('in a transaction, followed at its COMMIT, and rolled back, not at all', async () => {
    await client.query('BEGIN');
    await client.query('ALTER TABLE product RENAME category TO held');
    await client.query('ALTER TABLE product RENAME name TO title');
    await client.query('ROLLBACK');
    await client.query(`UPDATE product SET name = 'after the rollback', category = 1`);
    await expectExact(owner, renamed);
    await client.query('BEGIN');
    await client.query('ALTER TABLE product RENAME category TO held');
    await client.query('ALTER TABLE product RENAME name TO title');
    await client.query('COMMIT');
    await untilFollowed();
    await client.query(`UPDATE product SET title = 'after the commit', held = 2`);
    await expectExact(owner, renamed);
  });

  test('in a transaction that goes on to write under the new name: it fails, and nothing of it stays', async () => {
    await client.query('BEGIN');
    await client.query('ALTER TABLE product RENAME category TO held');
    await expect(client.query('UPDATE product SET held = 1')).rejects.toMatchObject({ code: '42703' });
    await client.query('ROLLBACK');
    await client.query('UPDATE product SET category = 1');
    await expectExact(owner, renamed);
  });

  test('of a type by whose name rows are computed', async () => {
    await owner.query(`
      CREATE TYPE grade AS ENUM ('good', 'bad');
      CREATE TABLE graded (grade grade PRIMARY KEY, word text);
      INSERT INTO graded VALUES ('good', '+'), ('bad', '-')`);
    await applyText(
      owner,
      `CREATE TVIEW tv_graded WITH (key = 'grade') AS SELECT g.grade, g.word FROM graded g`,
    );
    // Has looked once, and remembers what there was.
    await client.query('ALTER TABLE product ADD COLUMN weight int');
    await client.query('ALTER TYPE grade RENAME TO mark');
    await untilFollowed();
    await client.query(`UPDATE graded SET word = word || '!'`);
    expect(await divergence(owner, 'shop.tv_graded')).toEqual(inStep);
  });

  test('several statements in one message', async () => {
    await client.query(
      `ALTER TABLE product RENAME category TO held; ALTER TABLE review RENAME TO rating; ALTER TABLE rating RENAME rating TO stars`,
    );
    await untilFollowed();
    await client.query(`UPDATE product SET held = 1 WHERE id < 4; UPDATE rating SET stars = 5`);
    await expectExact(owner, renamed);
  });

  test('in the extended protocol', async () => {
    await client.query({ text: 'ALTER TABLE product RENAME category TO held', values: [] });
    await untilFollowed();
    await client.query({ text: 'UPDATE product SET held = $1', values: [3] });
    await expectExact(owner, renamed);
  });

  test('inside DO', async () => {
    await client.query(`DO $$ BEGIN EXECUTE 'ALTER TABLE product RENAME category TO held'; END $$`);
    await untilFollowed();
    await client.query(`UPDATE product SET held = 1`);
    await expectExact(owner, renamed);
  });

  test('inside a procedure, and past the proxy, is followed a moment later', async () => {
    await owner.query(`
      CREATE PROCEDURE migrate() LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE shop.product RENAME category TO held; END $$`);
    await client.query(`CALL migrate()`);
    await untilFollowed();
    await client.query(`UPDATE product SET held = 1`);
    await expectExact(owner, renamed);
  });

  test('by a role that has no rights on anything of ours', async () => {
    const superuser = await database.client(database.superuser);
    await superuser.query(`
      GRANT ${database.app.role} TO ${database.owner.role};
      GRANT CREATE ON SCHEMA shop TO ${database.app.role};
      ALTER TABLE shop.tag OWNER TO ${database.app.role}`);
    const app = await connectTo(proxy.url(database.app));
    await app.query('ALTER TABLE tag RENAME product TO article');
    await untilFollowed();
    await app.query(`UPDATE tag SET article = 3 WHERE article = 5`);
    await expectExact(owner, renamed);
    await app.end();
  });

  test('by a role whose DDL the owner has no right to follow goes through, and status tells', async () => {
    await owner.query(`GRANT CREATE ON SCHEMA shop TO ${database.app.role}`);
    const superuser = await database.client(database.superuser);
    await superuser.query(`ALTER TABLE shop.sale OWNER TO ${database.app.role}`);
    await superuser.query(`GRANT ALL ON shop.sale TO ${database.owner.role}`);
    const app = await connectTo(proxy.url(database.app));
    await app.query('CREATE TABLE sale_3 PARTITION OF sale FOR VALUES IN (3)');
    await app.query(`INSERT INTO sale_3 VALUES (92, 3, 3, 'straight')`);
    await expectExact(owner, renamed);
    expect((await asked()).changedFamilies.map(({ come }) => come)).toEqual([['shop.sale_3']]);
    await app.end();
  });

  test('DROP TABLE … CASCADE leaves a broken tview that status names, and the others are exact', async () => {
    await client.query('DROP TABLE tag CASCADE');
    const { moved } = await asked();
    expect(moved.map(({ tview, was, now }) => [tview.name, was.name, now])).toEqual([
      ['tv_tag', 'v_tag', null],
      ['tv_tag', 'tag', null],
    ]);
    await client.query(`UPDATE product SET name = name || '!'`);
    await expectExact(owner, { outcomes: { tv_tag: 'refused' } });
    await client.query('DROP TVIEW tv_tag');
    expect((await asked()).moved).toEqual([]);
  });

  test('DROP VIEW of a definition: its writers fail, and DROP TVIEW sets them free', async () => {
    await client.query('DROP VIEW v_tag CASCADE');
    await expect(client.query(`INSERT INTO tag VALUES (3, 'more')`)).rejects.toMatchObject({ code: '42P01' });
    expect((await asked()).moved.map(({ was }) => was.name)).toEqual(['v_tag']);
    await client.query('DROP TVIEW tv_tag');
    await client.query(`INSERT INTO tag VALUES (3, 'more')`);
  });

  test('what was refused is followed once it can be', async () => {
    await client.query('ALTER TABLE tag ENABLE ROW LEVEL SECURITY');
    await untilFollowed();
    expect((await asked()).definitions[0]!.problem!.message).toContain('row level security');
    await client.query('ALTER TABLE tag DISABLE ROW LEVEL SECURITY; ALTER TABLE tag RENAME word TO term');
    await untilFollowed();
    expect((await asked()).definitions).toEqual([]);
    await client.query(`INSERT INTO tag VALUES (3, 'more')`);
    await expectExact(owner, renamed);
  });

  test('a suspended tview is followed, too, and exact once it is resumed', async () => {
    const { resumeTview, suspendTview } = await import('../../../src/database/suspend.ts');
    const inTransaction = async (work: () => Promise<unknown>): Promise<void> => {
      await owner.query('BEGIN');
      await work();
      await owner.query('COMMIT');
    };
    await inTransaction(() => suspendTview(executorOf(owner), 'shop.tv_tag'));
    await client.query('ALTER TABLE tag RENAME product TO article');
    await untilFollowed();
    await client.query(`UPDATE tag SET article = 3 WHERE article = 5`);
    await inTransaction(() => resumeTview(executorOf(owner), 'shop.tv_tag'));
    await client.query(`UPDATE tag SET article = 4 WHERE article = 3 AND word = 'word 4'`);
    await expectExact(owner, renamed);
  });

  test('while another migration is under way: that one is not ended, and both are followed', async () => {
    await client.query('ALTER TABLE product ADD COLUMN weight int');
    await owner.query('BEGIN; ALTER TABLE review ADD COLUMN more int');
    const changed = client.query('ALTER TABLE tag RENAME word TO term');
    const watcher = await database.client();
    const isWaiting = async (): Promise<boolean> => {
      const { rows } = await watcher.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tviews schema' AND wait_event_type = 'Lock'`,
      );
      return rows.length > 0;
    };
    while (!(await isWaiting())) await new Promise((resolve) => setTimeout(resolve, 20));
    // The one who waits first would look for a deadlock first, and find none yet.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await owner.query('ALTER TABLE product RENAME name TO title');
    await owner.query('COMMIT');
    await changed;
    await untilFollowed();
    await client.query(`UPDATE product SET title = title || '!'; UPDATE tag SET term = term || '!'`);
    await expectExact(owner, renamed);
  });

  test('beside writers who do not stop: each of them fails or is exact', async () => {
    let isOver = false;
    const failures = new Set<string>();
    const writer = async (statement: (title: string) => string): Promise<void> => {
      const app = await connectTo(proxy.url(database.app));
      while (!isOver) {
        for (const title of ['name', 'title'])
          await app.query(statement(title)).catch((error: { code: string }) => failures.add(error.code));
      }
      await app.end();
    };
    const writers = [
      writer((title) => `UPDATE product SET ${title} = ${title} || '.' WHERE id < 4`),
      writer((title) => `BEGIN; UPDATE product SET ${title} = ${title} || ',' WHERE id > 8; COMMIT`),
      writer(() => `UPDATE review SET rating = 1 + rating % 5 WHERE id < 5`),
    ];
    for (let i = 0; i < 3; i++) {
      await client.query('ALTER TABLE product RENAME name TO title');
      await client.query('ALTER TABLE product RENAME title TO name');
    }
    isOver = true;
    await Promise.all(writers);
    await untilFollowed();
    await untilExact(owner, renamed);
    // Of a column that is not there, of one that was there when it began, and of a transaction that has failed.
    for (const code of failures) expect(['42703', '25P02', '0A000']).toContain(code);
  });
});

test.skipIf(inject('serverVersion') < 18)(
  'the expression of a virtual column changed: every row is computed anew',
  async () => {
    await client.query(`
      CREATE TABLE box (id int PRIMARY KEY, n int NOT NULL, twice int GENERATED ALWAYS AS (n * 2) VIRTUAL);
      INSERT INTO box SELECT i, i FROM generate_series(1, 9) AS i`);
    await client.query(`CREATE TVIEW tv_box WITH (key = 'id') AS SELECT b.id, b.twice FROM box b`);
    await client.query('ALTER TABLE box ALTER COLUMN twice SET EXPRESSION AS (n * 20)');
    await untilFollowed();
    await until('its rows are others', async () => {
      const { rows } = await owner.query('SELECT FROM tv_box WHERE twice <> id * 20');
      return rows.length === 0;
    });
    expect(await divergence(owner, 'shop.tv_box')).toEqual(inStep);
  },
);

async function untilFollowed(): Promise<void> {
  for (let i = 0; i < 400; i++) {
    const { definitions, moved, changedFamilies } = await asked();
    // What is refused is done with, too.
    const open = definitions.filter(({ problem }) => problem === null);
    if (open.length + moved.length + changedFamilies.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('nobody follows');
}
