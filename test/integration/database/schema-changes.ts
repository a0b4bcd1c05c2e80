/**
 * Changes of a schema that tviews were applied to, each with what becomes of the tviews: for the tests that make them past the
 * proxy, and through it.
 */
import type pg from 'pg';
import { expect } from 'vitest';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { applyText } from '../../kit/blog.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { type Divergence, divergence, inStep } from '../../kit/oracle.ts';

const tables = `
  CREATE TYPE colour AS ENUM ('red', 'green');
  CREATE TYPE size AS (width int, height int);
  CREATE TABLE category (id int PRIMARY KEY, name text NOT NULL, other int);
  CREATE TABLE product (
    id int PRIMARY KEY, category int NOT NULL REFERENCES category, spare int NOT NULL DEFAULT 2, name text NOT NULL,
    hidden boolean NOT NULL DEFAULT false, colour colour NOT NULL DEFAULT 'red', size size DEFAULT (1, 2), unused text, code text UNIQUE,
    doubled int GENERATED ALWAYS AS (id * 2) STORED
  );
  CREATE INDEX ON product (category);
  CREATE TABLE review (id int PRIMARY KEY, product int REFERENCES product ON DELETE CASCADE, rating int NOT NULL);
  CREATE INDEX ON review (product);
  CREATE TABLE tag (product int NOT NULL, word text NOT NULL, UNIQUE (product, word));
  CREATE TABLE sale (id int, region int NOT NULL, product int, note text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
  CREATE TABLE sale_1 PARTITION OF sale FOR VALUES IN (1);
  CREATE TABLE sale_2 PARTITION OF sale FOR VALUES IN (2);
  CREATE INDEX ON sale (product);
  CREATE VIEW rated AS SELECT r.product, r.rating, r.id FROM review r;
  INSERT INTO category SELECT i, 'category ' || i, 10 + i FROM generate_series(1, 4) AS i;
  INSERT INTO product (id, category, spare, name) SELECT i, 1 + i % 4, 1 + i % 3, 'product ' || i FROM generate_series(1, 12) AS i;
  INSERT INTO review SELECT i, 1 + i % 12, 1 + i % 5 FROM generate_series(1, 30) AS i;
  INSERT INTO tag SELECT 1 + i % 12, 'word ' || i FROM generate_series(1, 20) AS i;
  INSERT INTO sale SELECT i, 1 + i % 2, 1 + i % 12, 'sale ' || i FROM generate_series(1, 24) AS i;
`;

const tviews = `
  CREATE TVIEW tv_product WITH (key = 'id') AS
    SELECT p.id, p.category, jsonb_build_object(
      'name', p.name, 'colour', p.colour, 'size', p.size, 'doubled', p.doubled, 'category', c.name,
      'ratings', (SELECT jsonb_agg(r.rating ORDER BY r.id) FROM rated r WHERE r.product = p.id)
    ) AS data
    FROM product p JOIN category c ON c.id = p.category
    WHERE NOT p.hidden;
  CREATE TVIEW tv_category WITH (key = 'id') AS
    SELECT c.id, (SELECT jsonb_agg(p.data ORDER BY p.id) FROM tv_product p WHERE p.category = c.id) AS products FROM category c;
  CREATE TVIEW tv_sold WITH (key = 'id') AS
    SELECT p.id, (SELECT jsonb_agg(s.note ORDER BY s.id, s.region) FROM sale s WHERE s.product = p.id) AS notes FROM product p;
  CREATE TVIEW tv_tag WITH (key = 'product') AS
    SELECT t.product, jsonb_agg(t.word ORDER BY t.word) AS words FROM tag t GROUP BY t.product;
`;

export const names = ['tv_product', 'tv_category', 'tv_sold', 'tv_tag'] as const;
export type Name = (typeof names)[number];

/** A fresh database with them, in schema shop, all of it the owner's. */
export async function changingSchema(): Promise<{ database: FreshDatabase; owner: pg.Client }> {
  const database = await freshDatabase({ schema: 'shop', sql: tables });
  const owner = await database.client();
  await init(executorOf(owner));
  await applyText(owner, tviews);
  await owner.query(`GRANT SELECT ON ${names.join(', ')} TO PUBLIC`);
  return { database, owner };
}

/** What a change of the schema makes of tviews; of those that are not named nothing. */
export type Outcome = 'renamed' | 'changed' | 'refused';

export interface SchemaChange {
  readonly ddl: readonly string[];
  readonly outcomes: Partial<Record<Name, Outcome>>;
  /** Partitions that came or went with it. */
  readonly family?: true;
  /** The first major version of PostgreSQL that can. */
  readonly since?: number;
  /** Each works afterwards, and every tview is what its view says then. */
  readonly writes: readonly string[];
  /** What the tviews are called then. */
  readonly called?: Partial<Record<Name, string>>;
}

const productWrites = [
  `INSERT INTO product (id, category, name) VALUES (50, 2, 'new')`,
  `UPDATE product SET category = 3, name = name || '!' WHERE id < 5`,
  `UPDATE category SET name = 'renamed ' || id`,
  `UPDATE product SET hidden = NOT hidden WHERE id IN (2, 3)`,
  `INSERT INTO review VALUES (90, 50, 5)`,
  `DELETE FROM product WHERE id IN (4, 50)`,
] as const;
const saleWrites = [
  `INSERT INTO sale VALUES (90, 1, 3, 'new'), (91, 2, 3, 'new')`,
  `UPDATE sale SET product = 5, note = note || '!' WHERE product = 2`,
  `DELETE FROM sale WHERE product = 7`,
] as const;
const renamedEverywhere = (statements: readonly string[], from: RegExp, to: string): string[] =>
  statements.map((statement) => statement.replaceAll(from, to));

export const changes: Record<string, SchemaChange> = {
  'a table renamed': {
    ddl: ['ALTER TABLE product RENAME TO article'],
    outcomes: { tv_product: 'renamed', tv_sold: 'renamed' },
    writes: renamedEverywhere(productWrites, /(INTO|UPDATE|FROM) product\b/g, '$1 article'),
  },
  'a table moved to another schema': {
    ddl: ['CREATE SCHEMA attic', 'ALTER TABLE review SET SCHEMA attic'],
    outcomes: { tv_product: 'renamed' },
    writes: renamedEverywhere(productWrites, /review/g, 'attic.review'),
  },
  'the schema renamed': {
    ddl: ['ALTER SCHEMA shop RENAME TO store', 'SET search_path = store'],
    outcomes: { tv_product: 'renamed', tv_category: 'renamed', tv_sold: 'renamed', tv_tag: 'renamed' },
    writes: [...productWrites, ...saleWrites],
    called: {
      tv_product: 'store.tv_product',
      tv_category: 'store.tv_category',
      tv_sold: 'store.tv_sold',
      tv_tag: 'store.tv_tag',
    },
  },
  'a link renamed': {
    ddl: ['ALTER TABLE product RENAME category TO belongs_to'],
    outcomes: { tv_product: 'renamed' },
    writes: renamedEverywhere(productWrites, /\bcategory( =|, name\))/g, 'belongs_to$1'),
  },
  'a column that is shown renamed': {
    ddl: ['ALTER TABLE product RENAME name TO title'],
    outcomes: { tv_product: 'renamed' },
    writes: renamedEverywhere(productWrites, /(product.*)name/g, '$1title').map((text) =>
      text.replace('SET category = 3, name =', 'SET category = 3, title ='),
    ),
  },
  'a column in WHERE renamed': {
    ddl: ['ALTER TABLE product RENAME hidden TO secret'],
    outcomes: { tv_product: 'renamed' },
    writes: renamedEverywhere(productWrites, /hidden/g, 'secret'),
  },
  'a key renamed': {
    ddl: ['ALTER TABLE category RENAME id TO pk', 'ALTER TABLE product RENAME id TO pk'],
    outcomes: { tv_product: 'renamed', tv_category: 'renamed', tv_sold: 'renamed' },
    writes: [
      `INSERT INTO product (pk, category, name) VALUES (50, 2, 'new')`,
      `UPDATE product SET category = 3 WHERE pk < 5`,
      `UPDATE category SET name = 'renamed ' || pk`,
      `UPDATE product SET pk = 60 WHERE pk = 50`,
      `DELETE FROM product WHERE pk IN (4, 60)`,
    ],
  },
  'the names of two columns swapped': {
    ddl: [
      `ALTER TABLE product RENAME category TO held; ALTER TABLE product RENAME spare TO category; ALTER TABLE product RENAME held TO spare`,
    ],
    outcomes: { tv_product: 'changed' },
    writes: [
      `UPDATE product SET spare = 4 WHERE id < 5`,
      `UPDATE product SET category = 4`,
      `UPDATE category SET name = 'renamed ' || id`,
    ],
  },
  'another table in the place of one that was renamed': {
    ddl: [`ALTER TABLE review RENAME TO review_old; CREATE TABLE review (LIKE review_old INCLUDING ALL)`],
    outcomes: { tv_product: 'changed' },
    writes: [`UPDATE review_old SET rating = 0 WHERE product = 3`, `INSERT INTO review VALUES (1, 3, 1)`],
  },
  'a tview renamed, its view not': {
    ddl: ['ALTER TABLE tv_product RENAME TO tv_article'],
    outcomes: { tv_product: 'renamed', tv_category: 'renamed' },
    writes: productWrites,
    called: { tv_product: 'shop.tv_article' },
  },
  'the names of two tviews swapped': {
    ddl: [
      `ALTER TABLE tv_tag RENAME TO tv_held; ALTER TABLE tv_sold RENAME TO tv_tag; ALTER TABLE tv_held RENAME TO tv_sold`,
      `ALTER VIEW v_tag RENAME TO v_held; ALTER VIEW v_sold RENAME TO v_tag; ALTER VIEW v_held RENAME TO v_sold`,
    ],
    outcomes: { tv_sold: 'changed', tv_tag: 'changed' },
    writes: [...saleWrites, `INSERT INTO tag VALUES (3, 'more')`, `DELETE FROM tag WHERE product = 5`],
    called: { tv_sold: 'shop.tv_tag', tv_tag: 'shop.tv_sold' },
  },
  'a view below renamed': {
    ddl: ['ALTER VIEW rated RENAME TO assessed'],
    outcomes: { tv_product: 'renamed' },
    writes: productWrites,
  },
  'a view below replaced by one that shows something else of the same columns': {
    ddl: ['CREATE OR REPLACE VIEW rated AS SELECT r.product, r.rating * 10 AS rating, r.id FROM review r'],
    outcomes: { tv_product: 'changed' },
    writes: productWrites,
  },
  'a view below replaced by one that reads another table': {
    ddl: [
      'CREATE OR REPLACE VIEW rated AS SELECT t.product, length(t.word) AS rating, t.product AS id FROM tag t',
    ],
    outcomes: { tv_product: 'changed' },
    writes: [`INSERT INTO tag VALUES (3, 'a longer word')`, `DELETE FROM tag WHERE product = 5`],
  },
  'a view below replaced, and the table dropped that it had read': {
    ddl: [
      'CREATE OR REPLACE VIEW rated AS SELECT t.product, length(t.word) AS rating, t.product AS id FROM tag t; DROP TABLE review',
    ],
    outcomes: { tv_product: 'changed' },
    writes: [`INSERT INTO tag VALUES (3, 'a longer word')`, `UPDATE product SET name = name || '!'`],
  },
  'a view below that is no longer deterministic': {
    ddl: [
      `CREATE OR REPLACE VIEW rated AS SELECT r.product, extract(year FROM now())::int AS rating, r.id FROM review r`,
    ],
    outcomes: { tv_product: 'refused' },
    writes: [],
  },
  'the view of a tview replaced': {
    ddl: [
      `CREATE OR REPLACE VIEW v_tag AS SELECT t.product, jsonb_agg(t.word ORDER BY t.word DESC) AS words FROM tag t GROUP BY t.product`,
    ],
    outcomes: { tv_tag: 'changed' },
    writes: [`INSERT INTO tag VALUES (3, 'more')`],
  },
  'a column of a tview renamed': {
    ddl: ['ALTER TABLE tv_tag RENAME words TO terms'],
    outcomes: { tv_tag: 'refused' },
    writes: [],
  },
  'a column added': {
    ddl: ['ALTER TABLE product ADD COLUMN weight numeric DEFAULT 3'],
    outcomes: {},
    writes: [...productWrites, 'UPDATE product SET weight = 4'],
  },
  'a column dropped that nobody reads': {
    ddl: ['ALTER TABLE product DROP COLUMN unused'],
    outcomes: {},
    writes: productWrites,
  },
  'the type of a column changed that nobody reads': {
    ddl: ['ALTER TABLE product ALTER COLUMN unused TYPE int USING length(unused)'],
    outcomes: {},
    writes: [...productWrites, 'UPDATE product SET unused = 7'],
  },
  'a primary key dropped': {
    ddl: ['ALTER TABLE review DROP CONSTRAINT review_pkey'],
    outcomes: { tv_product: 'changed' },
    writes: [
      ...productWrites,
      `INSERT INTO review VALUES (1, 3, 1), (1, 5, 2)`,
      `UPDATE review SET rating = rating + 1, product = 8 - product WHERE id = 1 AND product IS NOT NULL AND product <> 4`,
    ],
  },
  'a primary key added': {
    ddl: ['ALTER TABLE tag ADD PRIMARY KEY (product, word)'],
    outcomes: { tv_tag: 'renamed' },
    writes: [`UPDATE tag SET word = word || '!'`, `UPDATE tag SET product = 5 WHERE product = 3`],
  },
  'a unique index that nothing rests on': {
    ddl: ['ALTER TABLE product DROP CONSTRAINT product_code_key', 'CREATE UNIQUE INDEX ON product (code)'],
    outcomes: {},
    writes: productWrites,
  },
  'a label of an enum renamed': {
    ddl: [`ALTER TYPE colour RENAME VALUE 'red' TO 'crimson'`],
    outcomes: { tv_product: 'changed' },
    writes: productWrites,
  },
  'a label added to an enum': {
    ddl: [`ALTER TYPE colour ADD VALUE 'blue' BEFORE 'green'`],
    outcomes: {},
    writes: [...productWrites, `UPDATE product SET colour = 'blue' WHERE id = 1`],
  },
  'an attribute of a composite renamed': {
    ddl: ['ALTER TYPE size RENAME ATTRIBUTE width TO breadth'],
    outcomes: { tv_product: 'changed' },
    writes: productWrites,
  },
  'the expression of a generated column changed': {
    ddl: ['ALTER TABLE product ALTER COLUMN doubled SET EXPRESSION AS (id * 2 + spare)'],
    outcomes: { tv_product: 'changed' },
    since: 17,
    writes: productWrites,
  },
  'a column renamed that a generated one is computed from': {
    ddl: ['ALTER TABLE product RENAME id TO no'],
    outcomes: { tv_product: 'renamed', tv_sold: 'renamed' },
    writes: renamedEverywhere(productWrites, /(product) (SET .* WHERE|WHERE) id/g, '$1 $2 no').map((write) =>
      write.replace('product (id', 'product (no'),
    ),
  },
  'row level security': {
    ddl: ['ALTER TABLE tag ENABLE ROW LEVEL SECURITY'],
    outcomes: { tv_tag: 'refused' },
    writes: [],
  },
  'a partition made': {
    ddl: ['CREATE TABLE sale_3 PARTITION OF sale FOR VALUES IN (3)'],
    outcomes: {},
    family: true,
    writes: [...saleWrites, `INSERT INTO sale_3 VALUES (92, 3, 3, 'straight')`, 'TRUNCATE sale_3'],
  },
  'a partition attached with its rows': {
    ddl: [
      `CREATE TABLE sale_3 (LIKE sale INCLUDING ALL); INSERT INTO sale_3 VALUES (92, 3, 3, 'came along')`,
      'ALTER TABLE sale ATTACH PARTITION sale_3 FOR VALUES IN (3)',
    ],
    outcomes: {},
    family: true,
    writes: [...saleWrites, `UPDATE sale_3 SET product = 4`],
  },
  'a partition detached': {
    ddl: ['ALTER TABLE sale DETACH PARTITION sale_2'],
    outcomes: {},
    family: true,
    writes: [`INSERT INTO sale VALUES (90, 1, 3, 'new')`, `DELETE FROM sale_2`],
  },
  'a partition dropped': {
    ddl: ['DROP TABLE sale_2'],
    outcomes: {},
    family: true,
    writes: [`INSERT INTO sale VALUES (90, 1, 3, 'new')`],
  },
  'a partition renamed': {
    ddl: ['ALTER TABLE sale_1 RENAME TO sale_first'],
    outcomes: {},
    writes: [...saleWrites, `UPDATE sale_first SET note = 'straight'`],
  },
  'a table made the parent of another': {
    ddl: [
      `CREATE TABLE tag_of_old (year int) INHERITS (tag); INSERT INTO tag_of_old VALUES (3, 'old', 1999)`,
    ],
    outcomes: { tv_tag: 'changed' },
    family: true,
    writes: [
      `UPDATE tag SET word = word || '!'`,
      `INSERT INTO tag_of_old VALUES (4, 'older', 1998)`,
      'DELETE FROM tag_of_old',
    ],
  },
};

const viewOf = (table: string): string => table.replace('.tv_', '.v_');

/** Of all that are not refused. */
export async function expectExact(
  owner: pg.Client,
  change: Pick<SchemaChange, 'outcomes' | 'called'>,
  message = '',
): Promise<void> {
  for (const [name, found] of await divergences(owner, change))
    expect(found, `${name} ${message}`).toEqual(inStep);
}

/** For what is repaired without anybody who waits for it. */
export async function untilExact(
  owner: pg.Client,
  change: Pick<SchemaChange, 'outcomes' | 'called'>,
): Promise<void> {
  for (let i = 0; i < 400; i++) {
    const found = await divergences(owner, change);
    if (found.every(([, one]) => one.missing + one.surplus + one.different === 0)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await expectExact(owner, change);
}

async function divergences(
  owner: pg.Client,
  { outcomes, called }: Pick<SchemaChange, 'outcomes' | 'called'>,
): Promise<[Name, Divergence][]> {
  const found: [Name, Divergence][] = [];
  for (const name of names) {
    if (outcomes[name] === 'refused') continue;
    const table = called?.[name] ?? `shop.${name}`;
    // The oracle looks for the view under the table's name.
    const { rows } = await owner.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [
      viewOf(table),
    ]);
    if (!rows[0]!.there) await owner.query(`CREATE VIEW ${viewOf(table)} AS TABLE ${viewOf(`shop.${name}`)}`);
    found.push([name, await divergence(owner, table)]);
  }
  return found;
}
