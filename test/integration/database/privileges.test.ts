/** What an ordinary role may do with our schema: write its own tables, and nothing that could make a tview stale. */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FreshDatabase } from '../../kit/database.ts';
import { nothing, owed, shop } from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;
let app: pg.Client;

beforeAll(async () => {
  database = await shop();
  owner = await database.client();
  app = await database.client(database.app);
});
afterAll(() => database.drop());

describe('an ordinary role cannot', () => {
  const forbidden: Record<string, string> = {
    'read the secret': 'SELECT * FROM tviews.secret',
    'read the queue': 'SELECT * FROM tviews.queue',
    'empty the queue': 'DELETE FROM tviews.queue',
    'write the queue': `INSERT INTO tviews.queue (change) VALUES ('{}')`,
    'forge the memory of a claim': `SELECT setval('tviews.claimed', 1)`,
    'read the memory of a claim': 'SELECT last_value FROM tviews.claimed',
    'forge a ticket': `SELECT setval('tviews.ticket_1', 1)`,
    'refresh on its own': `SELECT tviews.refresh_tv_product_1('{}', '{}', false, false)`,
    'read what is to be repaired': 'SELECT * FROM tviews.repair',
    'take away what is to be repaired': 'DELETE FROM tviews.repair',
    'repair on its own': 'SELECT tviews.repair()',
    'ask whether it is claimed': `SELECT currval('tviews.claimed')`,
    'read the registry': 'SELECT * FROM tviews.tview',
    'change a setting': `UPDATE tviews.setting SET value = '0'`,
    'create in our schema': 'CREATE TABLE tviews.mine ()',
    'take a capture trigger away': 'DROP TRIGGER tviews_capture_update ON tb_product',
  };
  for (const [what, sql] of Object.entries(forbidden)) {
    test(what, async () => {
      await expect(app.query(sql)).rejects.toMatchObject({ code: '42501' });
    });
  }

  test('write a tview, even with the rights of an ordinary table on it', async () => {
    for (const sql of [
      `INSERT INTO tv_product VALUES (99, 1, '{}')`,
      `UPDATE tv_product SET data = '{}'`,
      'DELETE FROM tv_product',
      'TRUNCATE tv_product',
    ]) {
      await expect(app.query(sql)).rejects.toMatchObject({
        code: '55000',
        message: 'cannot write tview shop.tv_product: it is maintained',
      });
    }
  });
});

test('an ordinary role writes its own tables without rights on anything of ours', async () => {
  await owner.query(`REVOKE ALL ON tv_product, tv_category, v_product, v_category FROM ${database.app.role}`);
  await app.query(`UPDATE tb_category SET name = 'written'`);
  await expect(app.query('SELECT FROM tv_product')).rejects.toMatchObject({ code: '42501' });
  expect(await owed(database)).toEqual(nothing);
});

test('a temporary table of the writer shadows no table of a definition', async () => {
  await app.query('CREATE TEMP TABLE tb_review (pk_review int, fk_product int, rating int)');
  await app.query('CREATE TEMP TABLE pg_class (oid int)');
  await app.query(`UPDATE tb_product SET name = 'shadowed'`);
  await app.query('DROP TABLE pg_temp.tb_review, pg_temp.pg_class');
  expect(await owed(database)).toEqual(nothing);
});

test('forged changes only make flush look at more keys', async () => {
  await app.query(
    `SELECT tviews.flush('[{"s": 1, "r": [{"pk_product": 3}, {"pk_product": null}]}, {"s": 99, "r": [{}]}, {"s": 2, "all": true}]', true)`,
  );
  expect(await owed(database)).toEqual(nothing);
});
