/**
 * Partitions and inheritance: a statement fires the triggers of the table it names, whichever member's rows it writes. So each
 * script writes by every name there is, and after each step every tview, over whichever member, equals its definition.
 */
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { applyText } from '../../kit/blog.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { type Divergence, divergence, inStep } from '../../kit/oracle.ts';
import { testProxy } from '../../kit/proxy.ts';

const schema = `
  CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
  -- With a key; two levels; a partition whose columns stand in another order, with a dropped one between them.
  CREATE TABLE sale (
    id int, region int NOT NULL, customer int REFERENCES customer ON DELETE CASCADE ON UPDATE CASCADE, note text, amount int,
    PRIMARY KEY (id, region)
  ) PARTITION BY LIST (region);
  CREATE TABLE sale_one PARTITION OF sale FOR VALUES IN (1);
  CREATE TABLE sale_other_order (junk int, note text, region int NOT NULL, amount int, customer int, id int NOT NULL);
  ALTER TABLE sale_other_order DROP COLUMN junk;
  ALTER TABLE sale ATTACH PARTITION sale_other_order FOR VALUES IN (2);
  CREATE TABLE sale_far PARTITION OF sale FOR VALUES IN (3, 4) PARTITION BY LIST (region);
  CREATE TABLE sale_far_3 PARTITION OF sale_far FOR VALUES IN (3);
  CREATE TABLE sale_far_4 PARTITION OF sale_far FOR VALUES IN (4);
  CREATE INDEX ON sale (customer);
  -- Without a key, by an expression: which partition a row is in shows in no column that is read.
  CREATE TABLE entry (customer int, word text, place int) PARTITION BY RANGE ((place / 10));
  CREATE TABLE entry_low PARTITION OF entry FOR VALUES FROM (MINVALUE) TO (1);
  CREATE TABLE entry_high PARTITION OF entry DEFAULT;
  -- Inheritance: keys hold for one table each.
  CREATE TABLE person (id int PRIMARY KEY, customer int, name text);
  CREATE TABLE employee (salary int, UNIQUE (salary)) INHERITS (person);
  CREATE TABLE manager (car text) INHERITS (employee);
`;

const tviews = `
  CREATE TVIEW tv_sale WITH (key = 'id, region') AS
    SELECT s.id, s.region, jsonb_build_object('note', s.note, 'customer', c.name) AS data
    FROM sale s LEFT JOIN customer c ON c.id = s.customer;
  CREATE TVIEW tv_customer WITH (key = 'id') AS
    SELECT c.id, jsonb_build_object(
      'name', c.name,
      'sales', (SELECT jsonb_agg(s.note ORDER BY s.id, s.region) FROM sale s WHERE s.customer = c.id),
      'second', (SELECT jsonb_agg(s.note ORDER BY s.id) FROM sale_other_order s WHERE s.customer = c.id),
      'far', (SELECT sum(s.amount) FROM sale_far s WHERE s.customer = c.id),
      'words', (SELECT jsonb_agg(e.word ORDER BY e.word) FROM entry e WHERE e.customer = c.id),
      'persons', (SELECT jsonb_agg(p.name ORDER BY p.id, p.name) FROM person p WHERE p.customer = c.id)
    ) AS data
    FROM customer c;
  CREATE TVIEW tv_one WITH (key = 'id') AS SELECT s.id, s.note, c.name FROM sale_one s LEFT JOIN customer c ON c.id = s.customer;
  CREATE TVIEW tv_far WITH (key = 'id, region') AS SELECT s.id, s.region, s.note FROM sale_far s;
  CREATE TVIEW tv_low WITH (key = 'customer') AS
    SELECT e.customer, jsonb_agg(e.word ORDER BY e.word) AS words FROM entry_low e WHERE e.customer IS NOT NULL GROUP BY e.customer;
  CREATE TVIEW tv_person WITH (key = 'id') AS
    SELECT p.id, jsonb_agg(p.name ORDER BY p.name) AS names, count(*) AS n FROM person p GROUP BY p.id;
`;

const names = ['tv_sale', 'tv_customer', 'tv_one', 'tv_far', 'tv_low', 'tv_person'] as const;

const rows = `
  TRUNCATE customer, sale, entry, person;
  INSERT INTO customer SELECT i, 'customer ' || i FROM generate_series(1, 5) AS i;
  INSERT INTO sale SELECT i, 1 + i % 4, 1 + i % 5, 'sale ' || i, i FROM generate_series(1, 24) AS i;
  INSERT INTO entry SELECT 1 + i % 5, 'word ' || i, i FROM generate_series(1, 20) AS i;
  INSERT INTO person SELECT i, 1 + i % 5, 'person ' || i FROM generate_series(1, 6) AS i;
  INSERT INTO employee SELECT i, i, 'employee ' || i, i FROM generate_series(1, 5) AS i;
  INSERT INTO manager SELECT i, 1 + i % 5, 'manager ' || i, 2, 'car' FROM generate_series(3, 8) AS i;
`;

/** Statements; each a step by itself, and all of them together a transaction. */
const scripts: Record<string, readonly string[]> = {
  'through the parent': [
    `INSERT INTO sale VALUES (101, 1, 1, 'new', 1), (102, 2, 1, 'new', 1), (103, 3, 2, 'new', 1), (104, 4, 2, 'new', 1)`,
    `UPDATE sale SET note = note || '!' WHERE customer = 1`,
    `UPDATE sale SET customer = 4 WHERE customer = 2`,
    `DELETE FROM sale WHERE id % 5 = 0`,
  ],
  'straight to partitions': [
    `INSERT INTO sale_one VALUES (101, 1, 1, 'new', 1)`,
    `INSERT INTO sale_other_order (id, region, customer, note) VALUES (102, 2, 1, 'new')`,
    `INSERT INTO sale_far_3 VALUES (103, 3, 1, 'new', 1)`,
    `UPDATE sale_other_order SET note = 'straight', customer = 3`,
    `UPDATE sale_far_4 SET amount = amount + 100`,
    `DELETE FROM sale_one WHERE id > 8`,
    `DELETE FROM sale_far_3 WHERE customer IN (1, 2)`,
  ],
  'through the partition in the middle': [
    `INSERT INTO sale_far VALUES (101, 3, 1, 'new', 7), (102, 4, 2, 'new', 9)`,
    `UPDATE sale_far SET note = 'middle', amount = amount * 2 WHERE id < 12`,
    `UPDATE sale_far SET region = 7 - region`,
    `DELETE FROM sale_far WHERE customer = 3`,
  ],
  'rows that move to other partitions': [
    `UPDATE sale SET region = 1 + region % 4`,
    `UPDATE sale SET region = 2 WHERE region = 1 AND id < 10`,
    `UPDATE sale SET region = 1, customer = 5 WHERE region = 3`,
    // What is read of the two rows is the same as before, taken together; not what each partition has of it.
    `DELETE FROM entry`,
    `INSERT INTO entry VALUES (1, 'here', 5), (1, 'there', 15)`,
    `UPDATE entry SET place = 20 - place`,
    `UPDATE entry SET place = 20 - place, word = word`,
  ],
  'without a key': [
    `INSERT INTO entry VALUES (1, 'both', 1), (1, 'both', 11), (NULL, 'none', 1)`,
    `UPDATE entry SET word = 'same' WHERE customer = 2`,
    `UPDATE entry_low SET customer = 3 WHERE customer = 1`,
    `UPDATE entry_high SET word = word || '?'`,
    `DELETE FROM entry_high WHERE customer = 4`,
    `UPDATE entry SET customer = customer % 5 + 1`,
  ],
  'ON CONFLICT': [
    `INSERT INTO sale VALUES (1, 2, 5, 'taken over', 1), (200, 3, 5, 'inserted', 1)
       ON CONFLICT (id, region) DO UPDATE SET note = EXCLUDED.note, customer = EXCLUDED.customer`,
    `INSERT INTO sale_one SELECT id, region, 2, 'again' FROM sale_one
       ON CONFLICT (id, region) DO UPDATE SET customer = 2, note = EXCLUDED.note`,
    `INSERT INTO sale VALUES (1, 2, 5, 'not', 1) ON CONFLICT DO NOTHING`,
  ],
  'a data-modifying CTE': [
    `WITH gone AS (DELETE FROM sale_one WHERE id < 9 RETURNING id, customer, note),
          moved AS (UPDATE sale SET region = 4 WHERE region = 3 RETURNING 1)
       INSERT INTO sale_other_order (id, region, customer, note) SELECT id + 300, 2, customer, note FROM gone`,
  ],
  'foreign keys that cascade': [
    `DELETE FROM customer WHERE id = 3`,
    `UPDATE customer SET id = 50 WHERE id = 5`,
    `UPDATE customer SET name = 'renamed'`,
  ],
  'savepoints rolled back': [
    `SAVEPOINT s`,
    `UPDATE sale_other_order SET customer = 1`,
    `UPDATE sale SET region = 1 WHERE region = 2 AND id < 12`,
    `ROLLBACK TO s`,
    `UPDATE sale_one SET note = 'kept'`,
  ],
  'TRUNCATE of a partition': [
    `TRUNCATE sale_other_order`,
    `INSERT INTO sale VALUES (400, 2, 2, 'after', 1)`,
    `TRUNCATE entry_low`,
  ],
  'TRUNCATE of the middle': [`TRUNCATE sale_far`, `INSERT INTO sale_far_3 VALUES (400, 3, 2, 'after', 1)`],
  'TRUNCATE of the parent': [
    `TRUNCATE sale`,
    `TRUNCATE entry`,
    `INSERT INTO sale_one VALUES (400, 1, 2, 'after', 1)`,
  ],
  inheritance: [
    `INSERT INTO person VALUES (50, 1, 'p')`,
    `INSERT INTO employee VALUES (50, 6, 'e', 50)`,
    `INSERT INTO manager VALUES (50, 1, 'm', 1, 'c')`,
    `UPDATE person SET name = name || '!' WHERE id < 5`,
    `UPDATE ONLY person SET name = 'only' WHERE id > 3`,
    `UPDATE employee SET customer = customer + 10`,
    `UPDATE manager SET id = id + 1 WHERE id < 6`,
    `DELETE FROM person WHERE id = 4`,
    `DELETE FROM ONLY employee WHERE id = 2`,
    `UPDATE person SET customer = 2 WHERE id IN (3, 5)`,
    `TRUNCATE ONLY person`,
    `UPDATE person SET id = 3 WHERE id = 5`,
    `TRUNCATE employee`,
  ],
  // One row gets the key that the other has and keeps: paired by it, nothing would seem to have changed there.
  'inheritance, two rows of one key in one statement': [
    `DELETE FROM person`,
    `INSERT INTO person VALUES (1, 1, 'x')`,
    `INSERT INTO manager VALUES (2, 1, 'x', 1, '')`,
    `UPDATE person SET id = 2 WHERE name = 'x'`,
    `UPDATE person SET name = CASE WHEN tableoid = 'person'::regclass THEN 'y' ELSE 'z' END`,
    `UPDATE person SET name = CASE name WHEN 'y' THEN 'z' ELSE 'y' END, customer = 2`,
  ],
};

let database: FreshDatabase;
let owner: pg.Client;
beforeAll(async () => {
  database = await freshDatabase({ sql: schema });
  owner = await database.client();
  await init(executorOf(owner));
  await applyText(owner, tviews);
  await owner.query(`GRANT SELECT ON ${names.join(', ')} TO PUBLIC`);
});
afterAll(() => database.drop());
beforeEach(() => owner.query(rows));

const exact = Object.fromEntries(names.map((name) => [name, inStep]));
async function state(): Promise<Record<string, Divergence>> {
  const found: Record<string, Divergence> = {};
  for (const name of names) found[name] = await divergence(owner, `public.${name}`);
  const { rows: queued } = await owner.query('SELECT FROM tviews.queue');
  expect(queued).toEqual([]);
  return found;
}

const isSavepoint = (statement: string): boolean => /SAVEPOINT|ROLLBACK/.test(statement);

/** Each statement alone, then, from the same rows, all of them in one transaction. */
async function run(client: pg.Client, script: readonly string[]): Promise<void> {
  for (const statement of script.filter((one) => !isSavepoint(one))) {
    await client.query(statement);
    expect(await state(), statement).toEqual(exact);
  }
  await owner.query(rows);
  await client.query('BEGIN');
  for (const statement of script) await client.query(statement);
  await client.query('COMMIT');
  expect(await state()).toEqual(exact);
}

describe.each(['past the proxy', 'through the proxy'])('%s', (way) => {
  const connect = async (): Promise<pg.Client> => {
    if (way === 'past the proxy') return await database.client(database.app);
    const proxy = await testProxy(database);
    return await database.client({ ...database.app, url: proxy.url(database.app) });
  };

  test.for(Object.keys(scripts))('%s', async (name) => {
    const client = await connect();
    await run(client, scripts[name]!);
    await client.end();
  });

  test('MERGE', async ({ skip }) => {
    if (inject('serverVersion') < 15) skip('MERGE came with PostgreSQL 15');
    const client = await connect();
    await run(client, [
      `MERGE INTO sale USING (VALUES (1, 2, 'merged'), (2, 3, NULL), (500, 4, 'inserted')) AS v (id, region, note)
         ON sale.id = v.id AND sale.region = v.region
       WHEN MATCHED AND v.note IS NULL THEN DELETE
       WHEN MATCHED THEN UPDATE SET note = v.note, region = 1
       WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.region, 1, v.note)`,
      `MERGE INTO person USING (VALUES (3), (4)) AS v (id) ON person.id = v.id
       WHEN MATCHED AND v.id = 3 THEN DELETE
       WHEN MATCHED THEN UPDATE SET name = 'merged'`,
    ]);
    await client.end();
  });
});
