import { afterAll, beforeAll, expect, test } from 'vitest';
import { createShop, fillShop, shopDefinition, shopTviews } from '../../../src/cli/demo/shop.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';

let database: FreshDatabase;

beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database.drop());

test('the shop is the same every time it is filled, and has the promised numbers of rows', async () => {
  const client = await database.client();
  const fill = async (): Promise<unknown> => {
    await client.query('DROP SCHEMA IF EXISTS shop CASCADE');
    await createShop(executorOf(client));
    await fillShop(executorOf(client), '1k');
    const { rows } = await client.query(`
      SELECT (SELECT count(*)::int FROM shop.tb_category) AS categories,
             (SELECT count(*)::int FROM shop.tb_supplier) AS suppliers,
             (SELECT count(*)::int FROM shop.tb_product) AS products,
             (SELECT count(*)::int FROM shop.tb_review) AS reviews,
             (SELECT count(*)::int FROM shop.tb_inventory) AS inventory,
             (SELECT count(*)::int FROM shop.tb_product WHERE fk_supplier IS NULL) AS without_supplier,
             (SELECT md5(string_agg(p::text, '' ORDER BY pk_product)) FROM shop.tb_product AS p) AS digest
    `);
    return rows[0];
  };
  const first = await fill();
  expect(first).toMatchObject({
    categories: 10,
    suppliers: 10,
    products: 1000,
    reviews: 5000,
    inventory: 1000,
  });
  expect(first).toMatchObject({ without_supplier: 100 });
  expect(await fill()).toEqual(first);
  // The sequences go on behind what was filled in.
  const { rows } = await client.query(
    `INSERT INTO shop.tb_review (fk_product, user_number, rating) VALUES (1, 1, 5) RETURNING pk_review`,
  );
  expect(rows).toEqual([{ pk_review: 5001 }]);
});

test('every definition of the shop is a query PostgreSQL accepts, with rows', async () => {
  const client = await database.client();
  for (const name of shopTviews) {
    const query = shopDefinition(name).replace(/^[\s\S]*?\bAS\n/, '');
    await client.query(`CREATE TABLE shop.${name} AS ${query}`);
    const { rows } = await client.query<{ count: number }>(`SELECT count(*)::int AS count FROM shop.${name}`);
    expect(rows[0]?.count, name).toBeGreaterThan(0);
  }
});
