/** What a plan believes of partitions and of tables that others inherit from. */
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Source } from '../../../src/definition/plan.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { compileAlone } from './kit.ts';

let database: FreshDatabase;
let client: pg.Client;
beforeAll(async () => {
  database = await freshDatabase({
    schema: 'shop',
    sql: `
      SET search_path = shop;
      CREATE TABLE child (id int PRIMARY KEY, near int, name text);
      CREATE INDEX ON child (near);
      CREATE TABLE plain (id int PRIMARY KEY, name text);
      CREATE TABLE parent (id int PRIMARY KEY, name text);
      CREATE TABLE heir () INHERITS (parent);
      CREATE TABLE keyed (id int, "Part" int, at date, name text, PRIMARY KEY (id, "Part")) PARTITION BY LIST ("Part");
      CREATE TABLE keyed_1 PARTITION OF keyed FOR VALUES IN (1);
      CREATE TABLE bare (id int NOT NULL, a int, at timestamp, name text) PARTITION BY RANGE (date_trunc('month', at));
      CREATE TABLE bare_low PARTITION OF bare FOR VALUES FROM (MINVALUE) TO ('2026-01-01') PARTITION BY LIST (a);
      CREATE TABLE bare_low_1 PARTITION OF bare_low (PRIMARY KEY (id)) FOR VALUES IN (1)`,
  });
  client = await database.client();
});
afterAll(() => database.drop());

const sourceOf = async (sql: string, key: string[]): Promise<Source> =>
  (await compileAlone(client, 'shop', sql, { key })).sources[0]!;

test('a partitioned table is paired by its key, which has the columns it is partitioned by', async () => {
  expect(await sourceOf('SELECT id, "Part", name FROM keyed', ['id', 'Part'])).toMatchObject({
    form: 'partitioned',
    primaryKey: ['id', 'Part'],
    referencedColumns: ['id', 'Part', 'name'],
  });
});

test('of a partition what decides which rows are its own is read, too', async () => {
  expect(await sourceOf('SELECT id, name FROM keyed_1', ['id'])).toMatchObject({
    form: 'partition',
    primaryKey: ['id', 'Part'],
    referencedColumns: ['id', 'Part', 'name'],
  });
});

test('at every level, and in expressions; and its own key tells its rows from no neighbour', async () => {
  expect(await sourceOf('SELECT id, name FROM bare_low_1', ['id'])).toMatchObject({
    form: 'partition',
    primaryKey: null,
    referencedColumns: ['id', 'a', 'at', 'name'],
  });
});

test('the key of a table that others inherit from is none', async () => {
  expect(await sourceOf('SELECT id, name FROM parent', ['id'])).toMatchObject({
    form: 'parent',
    primaryKey: null,
  });
});

test('nor is the side of a link with one row per value where it is such a table', async () => {
  const exclusive = async (near: string) =>
    (
      await compileAlone(
        client,
        'shop',
        // The tview's key is the near table's name: the child reaches it by the id, which is the key of one table only.
        `SELECT n.name, (SELECT count(*) FROM ${near} m JOIN child c ON c.near = m.id WHERE m.name = n.name) AS n
         FROM ${near} n WHERE n.name IS NOT NULL GROUP BY n.name`,
        { key: ['name'] },
      )
    ).locks!.edges.map((edge) => edge.exclusive);
  expect(await exclusive('plain')).toEqual(['near']);
  expect(await exclusive('parent')).toEqual(['far']);
});
