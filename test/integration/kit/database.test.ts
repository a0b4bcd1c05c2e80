import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';

let database: FreshDatabase;

beforeAll(async () => {
  database = await freshDatabase({
    schema: 'shop',
    sql: `
      CREATE TABLE tb_thing (pk_thing serial PRIMARY KEY, price numeric);
      INSERT INTO tb_thing (price) VALUES (1.0), (2.5), (3);
      CREATE VIEW v_thing AS SELECT pk_thing, jsonb_build_object('price', price) AS data FROM tb_thing;
      CREATE TABLE tv_thing (data jsonb, pk_thing int PRIMARY KEY);
      INSERT INTO tv_thing SELECT data, pk_thing FROM v_thing;
    `,
  });
});
afterAll(() => database.drop());

test('neither the owner nor the application of a fresh database is a superuser', async () => {
  for (const login of [database.owner, database.app]) {
    const client = await database.client(login);
    const { rows } = await client.query(
      `SELECT current_user AS role, rolsuper OR rolcreaterole OR rolbypassrls AS mighty
       FROM pg_roles WHERE rolname = current_user`,
    );
    expect(rows).toEqual([{ role: login.role, mighty: false }]);
  }
});

test("the application writes the owner's tables and creates none", async () => {
  const app = await database.client(database.app);
  await app.query('INSERT INTO tb_thing (price) VALUES (9); DELETE FROM tb_thing WHERE price = 9');
  await expect(app.query('CREATE TABLE mine ()')).rejects.toMatchObject({ code: '42501' });
});

test('the oracle counts missing, surplus and different rows, each once', async () => {
  const client = await database.client();
  expect(await divergence(client, 'shop.tv_thing')).toEqual(inStep);
  await client.query(`
    DELETE FROM tv_thing WHERE pk_thing = 1;
    UPDATE tv_thing SET data = '{"price": 2.50}' WHERE pk_thing = 2;
    INSERT INTO tv_thing VALUES ('{}', 7), ('{}', 8);
  `);
  expect(await divergence(client, 'shop.tv_thing')).toEqual({ missing: 1, surplus: 2, different: 1 });
});
