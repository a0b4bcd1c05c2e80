import { readFileSync } from 'node:fs';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { compileAlone, compileIn, pathsOf } from './kit.ts';

const shop = readFileSync(new URL('shop.sql', import.meta.url), 'utf8');
let database: FreshDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await freshDatabase({ schema: 'shop', sql: `SET search_path = shop; ${shop}` });
  client = await database.client();
});
afterAll(() => database.drop());

const product = `
  SELECT p.pk_product, p.id, p.fk_category,
         jsonb_build_object(
           'sku', p.sku,
           'price', jsonb_build_object('base', p.base_price,
                                       'discount_pct', round((1 - p.current_price / p.base_price) * 100)),
           'category', jsonb_build_object('id', c.id, 'name', c.name, 'slug', c.slug),
           'supplier', CASE WHEN s.pk_supplier IS NOT NULL THEN jsonb_build_object('name', s.name) END,
           'inventory', CASE WHEN i.pk_inventory IS NOT NULL THEN
             jsonb_build_object('available', i.quantity - i.reserved, 'in_stock', i.quantity > i.reserved) END,
           'reviews', jsonb_build_object(
             'count', (SELECT count(*) FROM review r WHERE r.fk_product = p.pk_product),
             'average_rating', (SELECT round(avg(r.rating), 2) FROM review r WHERE r.fk_product = p.pk_product),
             'recent', (SELECT jsonb_agg(jsonb_build_object('title', x.title) ORDER BY x.created_at DESC, x.pk_review)
                        FROM (SELECT * FROM review r WHERE r.fk_product = p.pk_product
                              ORDER BY r.created_at DESC, r.pk_review LIMIT 5) x)),
           'created_at', p.created_at, 'updated_at', p.updated_at::text) AS data
  FROM product p
  JOIN category c ON c.pk_category = p.fk_category
  LEFT JOIN supplier s ON s.pk_supplier = p.fk_supplier
  LEFT JOIN inventory i ON i.fk_product = p.pk_product`;

describe('the shop', () => {
  test("product: lookups are mapped through product's own links, children carry the key", async () => {
    const plan = await compileAlone(client, 'shop', product, { name: 'product' });
    expect(plan.key).toEqual([{ name: 'pk_product', type: 'integer', collation: null }]);
    expect(plan.columns.map(({ name }) => name)).toEqual(['pk_product', 'id', 'fk_category', 'data']);
    expect(pathsOf(plan)).toEqual([
      'local: product p (p.pk_product)',
      'mapped: category c → product p (p.fk_category = c.pk_category)',
      'mapped: supplier s → product p (p.fk_supplier = s.pk_supplier)',
      'local: inventory i (i.fk_product = pk_product)',
      'local: review r (r.fk_product = pk_product)',
      'local: review r (r.fk_product = pk_product)',
      'local: review r (r.fk_product = pk_product)',
    ]);
    const supplier = plan.sources.find(({ table }) => table.name === 'supplier');
    expect(supplier).toMatchObject({
      kind: 'table',
      linkColumns: [{ name: 'pk_supplier' }],
      referencedColumns: ['pk_supplier', 'name'],
      primaryKey: ['pk_supplier'],
    });
    expect(supplier?.occurrences[0]).toMatchObject({
      keyQuery: [
        'SELECT "p"."pk_product"::integer AS "pk_product"',
        'FROM changed',
        'JOIN "shop"."product" AS "p" ON "p"."fk_supplier" OPERATOR(pg_catalog.=) changed."pk_supplier"',
      ].join('\n'),
      probes: [{ table: { schema: 'shop', name: 'product' }, columns: ['fk_supplier'] }],
    });
    expect(plan.advice).toEqual([
      {
        kind: 'missing-index',
        message: 'table shop.product has no index on (fk_supplier), by which changes are mapped to keys',
        hint: 'CREATE INDEX ON "shop"."product" ("fk_supplier");',
      },
    ]);
  });

  test('a grouped derived table joined on its group column carries the key', async () => {
    const plan = await compileAlone(
      client,
      'shop',
      `SELECT p.pk_product, r.count, r.average
       FROM product p LEFT JOIN (SELECT fk_product, count(*), avg(rating) AS average FROM review GROUP BY fk_product) r
         ON r.fk_product = p.pk_product
       WHERE p.status = 'active'`,
    );
    expect(pathsOf(plan)).toEqual([
      'local: product p (p.pk_product)',
      'local: review (review.fk_product = pk_product)',
    ]);
  });
});

describe('paths', () => {
  const long = `x${'é'.repeat(31)}`;
  const accepted: readonly {
    promise: string;
    sql: string;
    key?: string[];
    setup?: string;
    paths: string[];
    keys?: string[];
  }[] = [
    {
      promise: 'WHERE equalities of a comma join are links',
      sql: 'SELECT p.pk_product, c.name FROM product p, category c WHERE c.pk_category = p.fk_category',
      paths: [
        'local: product p (p.pk_product)',
        'mapped: category c → product p (p.fk_category = c.pk_category)',
      ],
    },
    {
      promise: 'USING is a link',
      setup: 'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int, x int)',
      sql: 'SELECT id, x FROM a LEFT JOIN b USING (id)',
      paths: ['local: a (a.id)', 'local: b (b.id = id)'],
    },
    {
      promise: 'RIGHT JOIN is a LEFT JOIN turned round, with USING as well',
      setup: 'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int, x int); CREATE TABLE d (y int)',
      sql: 'SELECT id, x, d.y FROM d RIGHT JOIN (b RIGHT JOIN a USING (id)) ON d.y = b.x',
      paths: ['mapped: d → b (b.x = d.y)', 'local: b (b.id = id)', 'local: a (a.id)'],
      keys: ['id'],
    },
    {
      promise: 'CROSS JOIN with the equality in WHERE',
      sql: 'SELECT p.pk_product, c.name FROM product p CROSS JOIN category c WHERE c.pk_category = p.fk_category',
      paths: [
        'local: product p (p.pk_product)',
        'mapped: category c → product p (p.fk_category = c.pk_category)',
      ],
    },
    {
      promise: 'DISTINCT is a GROUP BY of all columns, at the top and in a derived table',
      sql: `SELECT DISTINCT p.fk_category, p.status, x.rating FROM product p
            LEFT JOIN (SELECT DISTINCT r.fk_product, r.rating FROM review r) x ON x.fk_product = p.pk_product`,
      key: ['fk_category'],
      paths: [
        'local: product p (p.fk_category)',
        'mapped: review r → product p (p.pk_product = r.fk_product)',
      ],
    },
    {
      promise: 'DISTINCT ON: what it is distinct on is the key, but for what that decides',
      sql: `SELECT DISTINCT ON (r.user_number, p.pk_product, p.name) r.user_number, p.pk_product, p.name, r.title
            FROM review r JOIN product p ON p.pk_product = r.fk_product ORDER BY 1, 2, 3, r.created_at DESC, r.pk_review`,
      paths: [
        'local: review r (r.user_number, r.fk_product = pk_product)',
        'mapped: product p → review r (r.fk_product = p.pk_product)',
      ],
      keys: ['user_number', 'pk_product'],
    },
    {
      promise: 'DISTINCT ON is passed through by the columns it is distinct on',
      sql: `SELECT DISTINCT ON (r.fk_product) r.fk_product, r.title, x.name FROM review r
            JOIN (SELECT DISTINCT ON (p.pk_product, p.name) p.pk_product AS id, p.name FROM product p ORDER BY 1, 2) x ON x.id = r.fk_product
            ORDER BY r.fk_product, r.created_at DESC, r.pk_review`,
      key: ['fk_product'],
      paths: ['local: review r (r.fk_product)', 'local: product p (p.pk_product = fk_product)'],
    },
    {
      promise:
        'a set operation is each of its branches, by its own columns; a constant part of a key is one everywhere',
      sql: `SELECT 'p' AS kind, p.pk_product AS id, p.name FROM product p JOIN category c ON c.pk_category = p.fk_category
            UNION ALL SELECT 'r', r.pk_review, r.title FROM review r WHERE r.rating > 3
            EXCEPT SELECT i.kind, i.id, i.name FROM (SELECT 'r' AS kind, pk_inventory AS id, 'x' AS name FROM inventory) i`,
      key: ['kind', 'id'],
      paths: [
        "local: product p (kind = 'p', p.pk_product)",
        'mapped: category c → product p (p.fk_category = c.pk_category)',
        "local: review r (kind = 'r', r.pk_review)",
        "local: inventory (kind = 'r', inventory.pk_inventory)",
      ],
    },
    {
      promise:
        'a set operation in FROM and in a subquery: what is joined to it is reached through each branch',
      sql: `SELECT p.pk_product, s.name, x.n FROM product p
            LEFT JOIN (SELECT fk_product AS product, user_number AS ref FROM review
                       UNION SELECT fk_product, quantity FROM inventory) u ON u.product = p.pk_product
            LEFT JOIN supplier s ON s.pk_supplier = u.ref
            CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT r.title FROM review r WHERE r.fk_product = p.pk_product
                                                           INTERSECT SELECT c.name FROM category c WHERE c.pk_category = p.fk_category) y) x`,
      paths: [
        'local: product p (p.pk_product)',
        'local: review (review.fk_product = pk_product)',
        'mapped: supplier s → review (review.user_number = s.pk_supplier)',
        'local: review r (r.fk_product = pk_product)',
        'mapped: category c → product p (p.fk_category = c.pk_category)',
        'local: inventory (inventory.fk_product = pk_product)',
        'mapped: supplier s → inventory (inventory.quantity = s.pk_supplier)',
      ],
    },
    {
      promise: 'FULL JOIN is a LEFT JOIN and a RIGHT JOIN, whose key is the column of the side that is there',
      sql: `SELECT COALESCE(i.pk_inventory, s.pk_supplier) AS id, i.quantity, s.name, c.name AS category
            FROM inventory i FULL JOIN supplier s ON s.pk_supplier = i.reserved LEFT JOIN category c ON c.name = s.name`,
      key: ['id'],
      paths: [
        'local: inventory i (i.pk_inventory)',
        'mapped: supplier s → inventory i (i.reserved = s.pk_supplier)',
        'mapped: category c → supplier s (s.name = c.name) → inventory i (i.reserved = s.pk_supplier)',
        'local: inventory i (i.reserved = id)',
        'local: supplier s (s.pk_supplier)',
        'mapped: category c → supplier s (s.name = c.name)',
      ],
    },
    {
      promise: 'FULL JOIN … USING has the key in the merged column',
      setup: 'CREATE TABLE a (id int PRIMARY KEY, x int); CREATE TABLE b (id int PRIMARY KEY, y int)',
      sql: 'SELECT id, x, y FROM a FULL JOIN b USING (id)',
      key: ['id'],
      paths: ['local: a (a.id)', 'local: b (b.id = id)', 'local: a (a.id = id)', 'local: b (b.id)'],
    },
    {
      promise: 'a window is read again as the peers of a row, linked by their partition',
      sql: `SELECT p.pk_product, rank() OVER w AS place, x.name FROM product p JOIN category x ON x.pk_category = p.fk_category
            WINDOW w AS (PARTITION BY p.fk_category ORDER BY p.base_price)`,
      paths: [
        'local: product p (p.pk_product)',
        'mapped: category x → product p (p.fk_category = x.pk_category)',
        'mapped: product p → product p (p.fk_category = p.fk_category)',
        'mapped: category x → product p (p.fk_category = x.pk_category)',
      ],
    },
    {
      promise: 'the first of each partition, whose key is the partition',
      sql: `SELECT x.fk_product, x.title FROM (
              SELECT r.fk_product, r.title, row_number() OVER (PARTITION BY r.fk_product ORDER BY r.pk_review DESC) AS n FROM review r) x
            WHERE x.n = 1 AND x.fk_product IS NOT NULL`,
      key: ['fk_product'],
      paths: ['local: review r (r.fk_product)', 'local: review r (r.fk_product = fk_product)'],
    },
    {
      promise: 'a window without a partition in a subquery that is bounded itself',
      sql: `SELECT p.pk_product, ARRAY(SELECT rank() OVER (ORDER BY r.rating) FROM review r WHERE r.fk_product = p.pk_product ORDER BY 1) AS places
            FROM product p`,
      paths: [
        'local: product p (p.pk_product)',
        'local: review r (r.fk_product = pk_product)',
        'local: review r (r.fk_product = pk_product)',
      ],
    },
    {
      promise: 'GROUPING SETS in a subquery that is bounded itself, or beside the column by which it is read',
      sql: `SELECT p.pk_product, x.total, (SELECT jsonb_agg(y.n ORDER BY y.n) FROM (
                     SELECT count(*) AS n FROM review r WHERE r.fk_product = p.pk_product GROUP BY CUBE (r.rating, r.verified)) y) AS counts
            FROM product p LEFT JOIN (SELECT i.fk_product, i.quantity, count(*) AS total FROM inventory i
                                      GROUP BY i.fk_product, ROLLUP (i.quantity)) x ON x.fk_product = p.pk_product AND x.quantity IS NULL`,
      paths: [
        'local: product p (p.pk_product)',
        'local: inventory i (i.fk_product = pk_product)',
        'local: review r (r.fk_product = pk_product)',
      ],
    },
    {
      promise: 'a key that is constant: a definition of one row',
      sql: 'SELECT 1 AS id, count(*) AS products, (SELECT max(r.rating) FROM review r) AS best FROM product p',
      key: ['id'],
      paths: ['local: product p (id = 1)', 'local: review r (id = 1)'],
    },
    {
      promise: 'an aliased join is its two sides',
      setup:
        'CREATE TABLE a (id int PRIMARY KEY, x int); CREATE TABLE b (id int, x int); CREATE TABLE d (y int)',
      sql: `SELECT j.id, j.p AS one, j.q AS two, d.y FROM (a JOIN b USING (id)) AS j (id, p, q) LEFT JOIN d ON d.y = j.q`,
      paths: ['local: a (a.id)', 'local: b (b.id = id)', 'mapped: d → b (b.x = d.y)'],
    },
    {
      promise: 'names in any spelling and columns renamed since',
      setup: `CREATE TABLE "Näme ""x""" ("Id" int PRIMARY KEY, "select" int); CREATE TABLE "changed" (ref int, v int);
              CREATE VIEW old AS SELECT * FROM "changed"; ALTER TABLE "changed" RENAME ref TO "New Ref"`,
      sql: `SELECT c."Id", (SELECT sum(old.v) FROM old WHERE old.ref = c."select") AS s,
                   (SELECT sum(changed.v) FROM changed WHERE changed."New Ref" = c."select") AS t FROM "Näme ""x""" c`,
      paths: [
        'local: Näme "x" c (c.Id)',
        'mapped: changed → Näme "x" c (c.select = changed.New Ref)',
        'mapped: changed → Näme "x" c (c.select = changed.New Ref)',
      ],
    },
    {
      promise: 'a path through a table called changed',
      setup: 'CREATE TABLE changed (id int PRIMARY KEY, l int); CREATE TABLE l (id int)',
      sql: 'SELECT changed.id, (SELECT count(*) FROM l WHERE l.id = changed.l) AS n FROM changed',
      paths: ['local: changed (changed.id)', 'mapped: l → changed (changed.l = l.id)'],
    },
    {
      promise: 'a table in two roles has two paths',
      sql: `SELECT c.pk_category, u.name AS parent, (SELECT count(*) FROM category k WHERE k.fk_parent_category = c.pk_category)
            FROM category c LEFT JOIN category u ON u.pk_category = c.fk_parent_category`,
      paths: [
        'local: category c (c.pk_category)',
        'mapped: category u → category c (c.fk_parent_category = u.pk_category)',
        'local: category k (k.fk_parent_category = pk_category)',
      ],
    },
    {
      promise: 'equalities spare the tables in the middle',
      sql: `SELECT p.pk_product, i.quantity FROM product p
            JOIN review r ON r.fk_product = p.pk_product JOIN inventory i ON i.fk_product = r.fk_product`,
      paths: [
        'local: product p (p.pk_product)',
        'local: review r (r.fk_product = pk_product)',
        'local: inventory i (i.fk_product = pk_product)',
      ],
    },
    {
      promise: 'two hops from a lookup of a child',
      setup: 'CREATE TABLE author (id int PRIMARY KEY, name text); ALTER TABLE review ADD author int',
      sql: `SELECT p.pk_product, (SELECT jsonb_agg(a.name ORDER BY r.pk_review) FROM review r LEFT JOIN author a ON a.id = r.author
                                  WHERE r.fk_product = p.pk_product AND r.verified) FROM product p`,
      paths: [
        'local: product p (p.pk_product)',
        'local: review r (r.fk_product = pk_product)',
        'mapped: author a → review r (r.author = a.id)',
      ],
    },
    {
      promise: 'EXISTS, NOT EXISTS and positive IN are linked by their equalities',
      sql: `SELECT p.pk_product FROM product p
            WHERE EXISTS (SELECT FROM review r WHERE r.fk_product = p.pk_product AND r.rating > 3)
              AND NOT EXISTS (SELECT FROM inventory i WHERE i.fk_product = p.pk_product)
              AND p.fk_supplier IN (SELECT s.pk_supplier FROM supplier s WHERE s.country = 'NL')`,
      paths: [
        'local: product p (p.pk_product)',
        'local: review r (r.fk_product = pk_product)',
        'local: inventory i (i.fk_product = pk_product)',
        'mapped: supplier s → product p (p.fk_supplier = s.pk_supplier)',
      ],
    },
    {
      promise: 'IN of several columns is linked by each of them that is one',
      sql: `SELECT p.pk_product FROM product p
            WHERE (p.fk_supplier, p.currency, 3) IN (SELECT s.pk_supplier, s.country, length(s.name) FROM supplier s)
              AND (p.pk_product, lower(p.name)) = ANY (SELECT i.fk_product, i.warehouse FROM inventory i)`,
      paths: [
        'local: product p (p.pk_product)',
        'mapped: supplier s → product p (p.fk_supplier = s.pk_supplier and p.currency = s.country)',
        'local: inventory i (i.fk_product = pk_product)',
      ],
    },
    {
      promise: 'LATERAL with LIMIT, and a function over it',
      sql: `SELECT p.pk_product, l.title, w.word FROM product p
            LEFT JOIN LATERAL (SELECT r.title FROM review r WHERE r.fk_product = p.pk_product
                               ORDER BY r.created_at DESC, r.pk_review LIMIT 1) l ON true
            CROSS JOIN LATERAL jsonb_array_elements_text(jsonb_build_array(l.title)) w(word)`,
      paths: ['local: product p (p.pk_product)', 'local: review r (r.fk_product = pk_product)'],
    },
    {
      promise: 'GROUP BY: the groups are the key',
      sql: `SELECT r.user_number, count(*), max(p.name) FROM review r JOIN product p ON p.pk_product = r.fk_product
            GROUP BY r.user_number HAVING count(*) > 1`,
      paths: [
        'local: review r (r.user_number)',
        'mapped: product p → review r (r.fk_product = p.pk_product)',
      ],
      keys: ['user_number'],
    },
    {
      promise:
        'a column that the primary key beside it in GROUP BY decides is no part of the key, shown or not',
      sql: `SELECT p.pk_product, p.name, count(r.pk_review) FROM product p LEFT JOIN review r ON r.fk_product = p.pk_product
            GROUP BY p.pk_product, p.name, p.sku`,
      paths: ['local: product p (p.pk_product)', 'local: review r (r.fk_product = pk_product)'],
      keys: ['pk_product'],
    },
    {
      promise: 'nor is one of a row that such a row refers to',
      sql: `SELECT c.name AS category, p.pk_product, s.pk_supplier, s.name, count(*) FROM product p
            JOIN category c ON c.pk_category = p.fk_category JOIN review r ON r.fk_product = p.pk_product
            JOIN supplier s ON s.pk_supplier = r.user_number GROUP BY c.name, c.pk_category, p.pk_product, s.pk_supplier, s.name, c.slug`,
      paths: [
        'mapped: product p → review r (r.fk_product = p.pk_product)',
        'mapped: category c → product p (p.fk_category = c.pk_category) → review r (r.fk_product = p.pk_product)',
        'local: review r (r.fk_product = pk_product, r.user_number = pk_supplier)',
        'mapped: supplier s → review r (r.user_number = s.pk_supplier)',
      ],
      keys: ['pk_product', 'pk_supplier'],
    },
    {
      promise: 'an array of keys, looked for by ANY, @>, unnest in FROM, and unnest in IN',
      setup: 'CREATE TABLE t (id int PRIMARY KEY, products int[], other bigint[])',
      sql: `SELECT t.id, (SELECT count(*) FROM product p WHERE p.pk_product = ANY (t.products)) AS a,
              (SELECT count(*) FROM supplier s WHERE t.products @> ARRAY[s.pk_supplier]) AS b,
              (SELECT max(c.name) FROM unnest(t.products) AS u(id) JOIN category c ON c.pk_category = u.id) AS c,
              (SELECT max(r.rating) FROM review r WHERE r.pk_review IN (SELECT unnest(t.other))) AS d
            FROM t`,
      paths: [
        'local: t (t.id)',
        'mapped: product p → t (p.pk_product = ANY (t.products))',
        'mapped: supplier s → t (s.pk_supplier = ANY (t.products))',
        'mapped: category c → t (c.pk_category = ANY (t.products))',
        'mapped: review r → t (r.pk_review = ANY (t.other))',
      ],
    },
    {
      promise: 'an array of keys, whose key is that of what is in it',
      setup: 'CREATE TABLE t (id int PRIMARY KEY, products int[])',
      sql: `SELECT p.pk_product, count(t.id), max(x.n) FROM product p LEFT JOIN t ON p.pk_product = ANY (t.products)
            LEFT JOIN LATERAL unnest(t.products) WITH ORDINALITY AS u(id, n) ON true LEFT JOIN LATERAL (SELECT s.name AS n FROM supplier s WHERE s.pk_supplier = u.id) x ON true
            GROUP BY p.pk_product`,
      paths: [
        'local: product p (p.pk_product)',
        'mapped: t → product p (p.pk_product = ANY (t.products))',
        'mapped: supplier s → t (s.pk_supplier = ANY (t.products)) → product p (p.pk_product = ANY (t.products))',
      ],
    },
    {
      promise: 'GROUP BY what is computed from a row',
      sql: `SELECT date_trunc('month', r.created_at AT TIME ZONE 'UTC')::date AS month, count(*), max(c.name)
            FROM review r JOIN product p ON p.pk_product = r.fk_product JOIN category c ON c.pk_category = p.fk_category
            WHERE r.rating > 3 GROUP BY 1`,
      paths: [
        `local: review r (date_trunc('month'::text, timezone('UTC'::text, r.created_at))::date)`,
        'mapped: product p → review r (r.fk_product = p.pk_product)',
        'mapped: category c → product p (p.fk_category = c.pk_category) → review r (r.fk_product = p.pk_product)',
      ],
      keys: ['month'],
    },
    {
      promise: 'beside a column of the same row, or one that equals it, and without a name for the key',
      sql: `SELECT p.pk_product, r.rating / 2 AS half, count(*) FROM review r JOIN product p ON p.pk_product = r.fk_product
            GROUP BY p.pk_product, r.rating / 2`,
      paths: [
        'local: review r (r.fk_product = pk_product, (r.rating / 2))',
        'mapped: product p → review r (r.fk_product = p.pk_product)',
      ],
      keys: ['pk_product', 'half'],
    },
    {
      promise: 'through views, WITH queries, DISTINCT and UNION, each branch in its own way',
      setup: `CREATE VIEW mail AS SELECT lower(s.contact_email) AS mail, s.country FROM supplier s WHERE s.contact_email IS NOT NULL`,
      sql: `WITH w AS (SELECT DISTINCT mail.mail FROM mail)
            SELECT w.mail, 's' AS kind FROM w UNION SELECT p.name || '@' || p.currency, 'p' FROM product p`,
      key: ['mail', 'kind'],
      paths: [
        `local: supplier s (lower(s.contact_email), kind = 's')`,
        `local: product p (((p.name || '@'::text) || p.currency::text), kind = 'p')`,
      ],
      keys: ['mail', 'kind'],
    },
    {
      promise: 'over a view that gives each branch its own type',
      setup: `CREATE VIEW named AS SELECT p.pk_product AS id, p.name FROM product p UNION ALL SELECT r.pk_review, r.title FROM review r`,
      sql: 'SELECT n.id / 10 AS k, count(*) FROM named n GROUP BY 1',
      paths: ['local: product p ((p.pk_product / 10))', 'local: review r ((r.pk_review / 10))'],
      keys: ['k'],
    },
    {
      promise: 'a text that may be missing, with what stands for it or where it is not',
      sql: `SELECT COALESCE(s.country, '-'::text) AS country, substring(s.contact_email, '@(.*)$') AS host, count(*) FROM supplier s
            WHERE substring(s.contact_email, '@(.*)$') IS NOT NULL GROUP BY 1, 2`,
      paths: [
        `local: supplier s (COALESCE(s.country, '-'::text), substring(s.contact_email, '@(.*)$'::text))`,
      ],
      keys: ['country', 'host'],
    },
    {
      promise: 'what is computed from groups that look the same when they are equal',
      sql: `SELECT date_trunc('day', r.created_at)::date AS day, count(*) FROM review r GROUP BY date_trunc('day', r.created_at)`,
      key: ['day'],
      paths: [`local: review r (date_trunc('day'::text, r.created_at)::date)`],
      keys: ['day'],
    },
    {
      promise: 'the window of an expression that is the key',
      sql: `SELECT DISTINCT ON (lower(p.status)) lower(p.status) AS status, p.sku FROM product p ORDER BY lower(p.status), p.pk_product`,
      key: ['status'],
      paths: ['local: product p (lower(p.status))'],
      keys: ['status'],
    },
    {
      promise: 'a WITH query stands where it is read',
      sql: `WITH n AS (SELECT fk_product, count(*) AS n FROM review GROUP BY 1)
            SELECT p.pk_product, n.n FROM product p LEFT JOIN n ON n.fk_product = p.pk_product`,
      paths: ['local: product p (p.pk_product)', 'local: review (review.fk_product = pk_product)'],
    },
    {
      promise: 'views are expanded',
      setup: `CREATE VIEW stock (product, free) AS SELECT fk_product, quantity - reserved FROM inventory;
              CREATE VIEW both_ AS SELECT p.pk_product AS a, to_jsonb(p.name) AS b, stock.free FROM product p
                JOIN stock ON stock.product = p.pk_product`,
      sql: 'SELECT a, b, free FROM both_',
      paths: ['local: product p (p.pk_product)', 'local: inventory (inventory.fk_product = a)'],
      keys: ['a'],
    },
    {
      promise: 'the whole row of a subquery, a WITH query, VALUES or a function has fixed columns',
      sql: `WITH k AS (SELECT * FROM inventory)
            SELECT p.pk_product, (SELECT jsonb_agg(x ORDER BY x.pk_review) FROM (SELECT * FROM review) x WHERE x.fk_product = p.pk_product) AS a,
                   (SELECT jsonb_agg(k ORDER BY k.pk_inventory) FROM k WHERE k.fk_product = p.pk_product) AS b,
                   (SELECT to_jsonb(v) FROM (VALUES (p.name, 2)) v (a, b)) AS c,
                   (SELECT jsonb_agg(e ORDER BY e.key) FROM jsonb_each(to_jsonb(p.name)) e) AS d FROM product p`,
      paths: [
        'local: product p (p.pk_product)',
        'local: review (review.fk_product = pk_product)',
        'local: inventory (inventory.fk_product = pk_product)',
      ],
    },
    {
      promise: 'a name of 63 bytes twice on a path, whose copy the server would cut to the same name',
      setup: 'CREATE TABLE t (id int PRIMARY KEY, up int, l int); CREATE TABLE l (id int)',
      sql: `SELECT k.id, y.n FROM t k LEFT JOIN (SELECT "${long}".id, "${long}".up FROM t "${long}") x ON x.id = k.up
            LEFT JOIN (SELECT "${long}".id, l.id AS n FROM t "${long}" JOIN l ON l.id = "${long}".l) y ON y.id = x.up`,
      paths: [
        'local: t k (k.id)',
        `mapped: t ${long} → t k (k.up = ${long}.id)`,
        `mapped: t ${long} → t ${long} (${long}.up = ${long}.id) → t k (k.up = ${long}.id)`,
        `mapped: l → t ${long} (${long}.l = l.id) → t ${long} (${long}.up = ${long}.id) → t k (k.up = ${long}.id)`,
      ],
    },
    {
      promise: 'a text search configuration named in the definition is none of the names that may change',
      sql: "SELECT p.pk_product, to_tsvector('english', p.name) AS words FROM product p",
      paths: ['local: product p (p.pk_product)'],
    },
    {
      promise: 'a type that would be refused does no harm in a column that is not read',
      setup:
        'CREATE TABLE t (id int PRIMARY KEY, "(" int, rc regclass); CREATE TABLE u (id int, x int, rt regtype)',
      sql: 'SELECT t.id, u.x FROM t JOIN u USING (id) LEFT JOIN (u AS v JOIN t AS w ON w.id = v.x) ON v.id = t.id',
      paths: [
        'local: t (t.id)',
        'local: u (u.id = id)',
        'local: u v (v.id = id)',
        'mapped: t w → u v (v.x = w.id)',
      ],
    },
    {
      promise: 'text and varchar are equal as text',
      setup: 'CREATE TABLE t (code varchar(5) PRIMARY KEY); CREATE TABLE u (ref text, n int)',
      sql: 'SELECT t.code, (SELECT sum(u.n) FROM u WHERE u.ref = t.code) FROM t',
      paths: ['local: t (t.code)', 'local: u (u.ref = code)'],
    },
    {
      promise: 'a bigint that refers to an integer goes through the table: casting it could fail',
      setup: 'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (ref bigint, n int)',
      sql: 'SELECT t.id, (SELECT sum(u.n) FROM u WHERE u.ref = t.id) FROM t',
      paths: ['local: t (t.id)', 'mapped: u → t (t.id = u.ref)'],
    },
    {
      promise: 'an equality under a collation that makes different strings equal is no identity',
      setup: `CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
              CREATE TABLE t (code text COLLATE ci PRIMARY KEY); CREATE TABLE u (ref text COLLATE ci, n int)`,
      sql: 'SELECT t.code, (SELECT sum(u.n) FROM u WHERE u.ref = t.code) FROM t',
      paths: ['local: t (t.code)', 'mapped: u → t (t.code = u.ref)'],
    },
    {
      promise: 'composite keys and links',
      setup: `CREATE TABLE o (shop int, no int, PRIMARY KEY (shop, no));
              CREATE TABLE l (shop int, no int, line int, item int, PRIMARY KEY (shop, no, line));
              CREATE TABLE it (shop int, id int, name text, PRIMARY KEY (shop, id))`,
      sql: `SELECT o.no, o.shop, (SELECT jsonb_agg(it.name ORDER BY l.line) FROM l JOIN it ON it.shop = l.shop AND it.id = l.item
                                  WHERE l.shop = o.shop AND l.no = o.no) FROM o`,
      paths: [
        'local: o (o.shop, o.no)',
        'local: l (l.shop = shop, l.no = no)',
        'mapped: it → l (l.shop = it.shop and l.item = it.id)',
      ],
      keys: ['shop', 'no'],
    },
    {
      promise: 'what EXISTS says of a row must hold for it: a table in the middle is a way',
      sql: `SELECT c.pk_category, (SELECT jsonb_agg(s.name ORDER BY s.pk_supplier) FROM supplier s
              WHERE EXISTS (SELECT 1 FROM product p WHERE p.fk_supplier = s.pk_supplier AND p.fk_category = c.pk_category)) AS suppliers
            FROM category c`,
      paths: [
        'local: category c (c.pk_category)',
        'mapped: supplier s → product p (p.fk_supplier = s.pk_supplier)',
        'local: product p (p.fk_category = pk_category)',
      ],
    },
    {
      promise: 'and so does IN, through what its subquery is linked by',
      sql: `SELECT c.pk_category, (SELECT jsonb_agg(s.name ORDER BY s.pk_supplier) FROM supplier s
              WHERE s.pk_supplier IN (SELECT p.fk_supplier FROM product p WHERE p.fk_category = c.pk_category)) AS suppliers
            FROM category c`,
      paths: [
        'local: category c (c.pk_category)',
        'mapped: supplier s → product p (p.fk_supplier = s.pk_supplier)',
        'local: product p (p.fk_category = pk_category)',
      ],
    },
    {
      promise: 'a key of two tables, of which one refers to the other',
      sql: `SELECT p.pk_product, r.pk_review, p.name FROM product p JOIN review r ON r.fk_product = p.pk_product`,
      key: ['pk_product', 'pk_review'],
      paths: [
        'mapped: product p → review r (r.fk_product = p.pk_product)',
        'local: review r (r.fk_product = pk_product, r.pk_review)',
      ],
    },
    {
      promise: 'a nullable column that a condition shows to be filled can be the key',
      sql: 'SELECT p.fk_supplier, count(*) FROM product p JOIN supplier s ON s.pk_supplier = p.fk_supplier GROUP BY p.fk_supplier',
      paths: ['local: product p (p.fk_supplier)', 'local: supplier s (s.pk_supplier = fk_supplier)'],
    },
    {
      promise: 'pinned settings make these exact',
      sql: `SELECT p.pk_product, to_char(p.created_at, 'YYYY'), date_trunc('day', p.created_at), p.created_at::date,
                   p.created_at + interval '1 day' AS b, extract(epoch FROM p.created_at), concat(p.name, 1), p.name || 1 AS a,
                   format('%s', p.sku), row_to_json(ROW(p.sku, p.*)), age(p.updated_at, p.created_at), p.created_at AT TIME ZONE 'Asia/Tokyo'
            FROM product p`,
      paths: ['local: product p (p.pk_product)'],
    },
  ];

  test.each(accepted)('$promise', async ({ promise: _, sql, paths, keys, ...options }) => {
    const plan = await compileAlone(client, 'shop', sql, options);
    expect(pathsOf(plan)).toEqual(paths);
    if (keys !== undefined) expect(plan.key.map(({ name }) => name)).toEqual(keys);
  });

  test.each([
    ['SELECT p.pk_product, count(*) OVER (PARTITION BY p.fk_category) AS n FROM product p', true],
    ['SELECT p.pk_product, count(*) OVER (PARTITION BY p.name, p.pk_product) AS n FROM product p', undefined],
    [
      'SELECT COALESCE(p.pk_product, s.pk_supplier) AS pk_product FROM product p FULL JOIN supplier s ON s.pk_supplier = p.pk_product',
      true,
    ],
    ['SELECT pk_product, name FROM product UNION SELECT pk_supplier, name FROM supplier', undefined],
    ['SELECT DISTINCT ON (p.pk_product) p.pk_product, p.name FROM product p', undefined],
    ['SELECT pk_product, name FROM product EXCEPT SELECT pk_supplier, name FROM supplier', true],
    ['SELECT pk_product, name FROM product INTERSECT SELECT pk_supplier, name FROM supplier', undefined],
    [
      `SELECT p.pk_product FROM product p
       WHERE EXISTS (SELECT s.name FROM supplier s WHERE s.pk_supplier = p.fk_supplier EXCEPT SELECT 'none')`,
      undefined,
    ],
  ])('of %s it is known whether one key costs as much as all', async (sql, isComputedWhole) => {
    const plan = await compileAlone(client, 'shop', sql, { key: ['pk_product'] });
    expect(plan.isComputedWhole).toBe(isComputedWhole);
    // What PostgreSQL itself makes of it: the condition stands at the table, and not above the window or the join.
    await client.query('BEGIN');
    await client.query(
      `SET LOCAL search_path = shop; SET LOCAL enable_seqscan = off; CREATE VIEW v_x AS ${sql}`,
    );
    const { rows } = await client.query<{ 'QUERY PLAN': string }>(
      'EXPLAIN SELECT * FROM v_x WHERE pk_product = 1',
    );
    await client.query('ROLLBACK');
    const lines = rows.map((row) => row['QUERY PLAN']);
    expect(lines.some((line) => /Index Cond: \(.*pk_\w+ = 1\)/.test(line))).toBe(isComputedWhole !== true);
  });

  test('every key query runs against images with the link columns and no more', async () => {
    for (const { sql, setup, key } of accepted) {
      await client.query('BEGIN');
      await client.query('SET LOCAL search_path = shop');
      if (setup !== undefined) await client.query(setup);
      const plan = await compileIn(client, 'shop', sql, key === undefined ? {} : { key });
      for (const { linkColumns, occurrences } of plan.sources) {
        const images = linkColumns.map(({ name, type }) => `NULL::${type} AS "${name}"`).join(', ');
        for (const { keyQuery } of occurrences) {
          const { fields } = await client.query(`WITH changed AS (SELECT ${images}) ${keyQuery}`);
          expect(fields.map(({ name }) => name)).toEqual(plan.key.map(({ name }) => name));
        }
      }
      await client.query('ROLLBACK');
    }
  });

  test('a tview is a source like a table, of its own kind', async () => {
    const plan = await compileAlone(
      client,
      'shop',
      `SELECT c.pk_category, (SELECT jsonb_agg(t.data ORDER BY t.pk_product) FROM tv_product t WHERE t.fk_category = c.pk_category)
       FROM category c`,
      {
        setup: 'CREATE TABLE tv_product (pk_product int PRIMARY KEY, fk_category int, data jsonb)',
        tviews: ['tv_product'],
      },
    );
    expect(plan.sources.map(({ table, kind }) => [table.name, kind])).toEqual([
      ['category', 'table'],
      ['tv_product', 'tview'],
    ]);
  });

  test('a virtual generated column stands for every stored one', async ({ skip }) => {
    if (inject('serverVersion') < 18) skip('virtual generated columns came with PostgreSQL 18');
    const plan = await compileAlone(client, 'shop', 'SELECT g.id, g.twice FROM g', {
      setup: 'CREATE TABLE g (id int PRIMARY KEY, x int, twice int GENERATED ALWAYS AS (x * 2) VIRTUAL)',
    });
    expect(plan.sources[0]?.referencedColumns).toEqual(['id', 'x']);
  });
});

describe('advice', () => {
  test('is given where the order of an aggregate is left open', async () => {
    const plan = await compileAlone(
      client,
      'shop',
      `SELECT p.pk_product, (SELECT jsonb_agg(r.title) FROM review r WHERE r.fk_product = p.pk_product),
              (SELECT jsonb_agg(DISTINCT r.title) FROM review r WHERE r.fk_product = p.pk_product) AS titles,
              (SELECT string_agg(r.title, ',' ORDER BY r.pk_review) FROM review r WHERE r.fk_product = p.pk_product),
              (SELECT array_agg(x.title) FROM (SELECT r.title FROM review r WHERE r.fk_product = p.pk_product ORDER BY r.pk_review) x),
              ARRAY(SELECT r.title FROM review r WHERE r.fk_product = p.pk_product)
       FROM product p`,
    );
    expect(plan.advice.map(({ message }) => message)).toEqual([
      'jsonb_agg() without ORDER BY in the definition: the order of its elements is not determined',
      'ARRAY(SELECT …) without ORDER BY in the definition: the order of its elements is not determined',
    ]);
  });

  test('is given where the order decides which rows are kept, or what a window sees', async () => {
    const plan = await compileAlone(
      client,
      'shop',
      `SELECT DISTINCT ON (r.fk_product) r.fk_product, row_number() OVER w AS a, lag(r.title) OVER (PARTITION BY r.fk_product) AS b,
              jsonb_agg(r.title) OVER (w ORDER BY r.pk_review) AS c, rank() OVER w AS d, row_number() OVER o AS e
       FROM review r WINDOW w AS (PARTITION BY r.rating), o AS (PARTITION BY r.rating ORDER BY r.pk_review)
       ORDER BY r.fk_product LIMIT 5`,
      { key: ['fk_product'], fullRefresh: '*' },
    );
    expect(plan.advice.map(({ message }) => message)).toEqual([
      'row_number() OVER a window without ORDER BY in the definition: which row it sees is not determined',
      'lag() OVER a window without ORDER BY in the definition: which row it sees is not determined',
      'DISTINCT ON without a further ORDER BY in the definition: which row of a group is kept is not determined',
    ]);
  });

  test('is given where equal keys, float rounding or an arbitrary pick decide', async ({ skip }) => {
    if (inject('serverVersion') < 16) skip('any_value and JSON_ARRAYAGG came with PostgreSQL 16');
    const plan = await compileAlone(
      client,
      'shop',
      `SELECT t.id, any_value(u.x) AS a, sum(u.f) AS b, avg(u.r) AS c, stddev_pop(u.f) AS d, jsonb_object_agg(u.k, u.x) AS e,
              json_object_agg_unique(u.k, u.x) AS f, JSON_ARRAYAGG(u.x) AS g, JSON_OBJECTAGG(u.k: u.x) AS h,
              any_value(u.x ORDER BY u.id) AS i, sum(u.x) AS j, avg(u.f::numeric) AS k, jsonb_object_agg(u.k, u.x ORDER BY u.id) AS l,
              jsonb_object_agg_unique(u.k, u.x) AS m, JSON_ARRAYAGG(u.x ORDER BY u.id) AS n, max(u.f) AS o,
              JSON_OBJECTAGG(u.k: u.x WITH UNIQUE RETURNING jsonb) AS p
       FROM t JOIN u ON u.t = t.id GROUP BY t.id`,
      {
        setup: `CREATE TABLE t (id int PRIMARY KEY);
                CREATE TABLE u (id int PRIMARY KEY, t int, x int, f float8, r real, k text); CREATE INDEX ON u (t)`,
      },
    );
    expect(new Set(plan.advice.map(({ kind }) => kind))).toEqual(new Set(['unordered-aggregate']));
    expect(plan.advice.map(({ message }) => message).sort()).toEqual([
      'any_value() without ORDER BY in the definition: which value it picks is not determined',
      'avg(real) in the definition: its last digits depend on the order of the rows',
      'json_arrayagg() without ORDER BY in the definition: the order of its elements is not determined',
      'json_object_agg_unique() without ORDER BY in the definition: the order of its members is not determined',
      'json_objectagg() without ORDER BY in the definition: the order of its members is not determined',
      'jsonb_object_agg() without ORDER BY in the definition: which of the values of a repeated key is last is not determined',
      'stddev_pop(double precision) in the definition: its last digits depend on the order of the rows',
      'sum(double precision) in the definition: its last digits depend on the order of the rows',
    ]);
  });

  test('is given where one of several forms of equal values is shown', async () => {
    const plan = await compileAlone(
      client,
      'shop',
      `SELECT u.n, max(u.n) AS a, min(u.c) AS b, max(u.i) AS c, max(u.scaled) AS d, max(u.id) AS e,
              (SELECT jsonb_agg(x.j ORDER BY x.j) FROM (SELECT w.j FROM u w WHERE w.n = u.n GROUP BY w.j) x) AS f,
              (SELECT count(*) FROM (SELECT w.n, w.id FROM u w WHERE w.n = u.n GROUP BY w.id, w.n) x) AS g
       FROM u GROUP BY u.n`,
      {
        setup: `CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                CREATE TABLE u (id int PRIMARY KEY, n numeric NOT NULL, c text COLLATE ci, i interval, scaled numeric(6, 2), j jsonb);
                CREATE INDEX ON u (n)`,
      },
    );
    const effect = 'in the definition: which of several equal values it shows is not determined';
    expect(plan.advice.map(({ message }) => message).sort()).toEqual([
      `GROUP BY j ${effect}`,
      `GROUP BY n ${effect}`,
      `max(i) ${effect}`,
      `max(n) ${effect}`,
      `min(c) ${effect}`,
    ]);
  });

  test('names the index on an array that is missing, in the form in which a key query uses it', async () => {
    const sql =
      'SELECT t.id, (SELECT count(*) FROM product p WHERE p.pk_product = ANY (t.products)) AS n FROM t';
    const setup = 'CREATE TABLE t (id int PRIMARY KEY, products int[])';
    const { advice, sources } = await compileAlone(client, 'shop', sql, { setup });
    expect(advice).toMatchObject([{ hint: 'CREATE INDEX ON "shop"."t" USING gin ("products");' }]);
    const queries = sources.flatMap(({ occurrences }) => occurrences.map(({ keyQuery }) => keyQuery));
    expect(queries).toContainEqual(expect.stringContaining('@>'));
    const created = await compileAlone(client, 'shop', sql, { setup: `${setup}; ${advice[0]!.hint}` });
    expect(created.advice).toEqual([]);
  });

  test('names the index on an expression that is missing, and finds it once its statement has run', async () => {
    const sql = `SELECT lower(t.mail) AS mail, t.n / 10 AS ten, CASE WHEN t.mail LIKE 'a%' THEN 'a' ELSE 'b' END AS c
                 FROM t GROUP BY 1, 2, 3`;
    const setup =
      'CREATE TABLE t (id int PRIMARY KEY, mail text NOT NULL, n int NOT NULL); CREATE INDEX ON t (lower(mail))';
    const { advice } = await compileAlone(client, 'shop', sql, { setup });
    expect(advice).toMatchObject([
      {
        kind: 'missing-index',
        message: `table shop.t has no index on (lower(mail), (n / 10), CASE WHEN (mail ~~ 'a%'::text) THEN 'a'::text ELSE 'b'::text END), by which rows are recomputed`,
      },
    ]);
    const created = await compileAlone(client, 'shop', sql, { setup: `${setup}; ${advice[0]!.hint}` });
    expect(created.advice).toEqual([]);
  });

  test.each([
    {
      of: 'what SQL has a syntax for',
      keys: [
        'extract(year FROM t.d)',
        'btrim(t.v)',
        'substring(t.v FROM 2)',
        "trim(both 'x' FROM t.mail)",
        "substring(t.mail, '@(.*)$')",
      ],
    },
    {
      of: 'what is beside what depends on the time zone',
      keys: ['t.ts::date', 't.n', "date_trunc('day', t.ts, 'Europe/Berlin')"],
      index: `CREATE INDEX ON "shop"."t" ("n", (date_trunc('day'::text, "ts", 'Europe/Berlin'::text)));`,
    },
  ])('finds the index on $of once its statement has run', async ({ keys, index }) => {
    const names = keys.map((_, i) => `k${i + 1}`);
    const sql = `SELECT ${keys.map((one, i) => `${one} AS k${i + 1}`)} FROM t WHERE ${keys.map((one) => `${one} IS NOT NULL`).join(' AND ')}`;
    const setup =
      'CREATE TABLE t (id int PRIMARY KEY, mail text NOT NULL, v varchar(9) NOT NULL, n int NOT NULL, d date NOT NULL, ts timestamptz NOT NULL)';
    const { advice } = await compileAlone(client, 'shop', sql, { setup, key: names });
    expect(advice).toMatchObject([
      {
        kind: 'missing-index',
        // On what depends on a named zone, PostgreSQL has an index since 16.
        hint: (inject('serverVersion') < 16 ? undefined : index) ?? expect.stringMatching(/^CREATE INDEX/),
      },
    ]);
    const created = await compileAlone(client, 'shop', sql, {
      setup: `${setup}; ${advice[0]!.hint}`,
      key: names,
    });
    expect(created.advice).toEqual([]);
  });

  test.each([
    "date_trunc('day', t.ts)",
    "date_trunc('month', t.d)",
    't.ts::date',
    't.d::text',
    '(t.ts > t.d)',
    'concat(t.mail, t.id)',
    "COALESCE(to_char(t.d, 'YYYY'), '')",
  ])('names no index where there can be none: %s', async (key) => {
    const setup =
      'CREATE TABLE t (id int PRIMARY KEY, mail text NOT NULL, d date NOT NULL, ts timestamptz NOT NULL)';
    const { advice } = await compileAlone(client, 'shop', `SELECT ${key} AS k FROM t`, { setup, key: ['k'] });
    expect(advice).toMatchObject([
      {
        kind: 'missing-index',
        hint: expect.stringMatching(/^PostgreSQL has no index on what depends on a setting/),
      },
    ]);
    const create = compileAlone(client, 'shop', 'SELECT t.id FROM t', {
      setup: `${setup}; CREATE INDEX ON t ((${key}))`,
    });
    await expect(create).rejects.toThrow('must be marked IMMUTABLE');
  });

  test('is given where equal keys that are computed can look different', async () => {
    const setup = 'CREATE TABLE t (id int PRIMARY KEY, n numeric NOT NULL, m numeric(6, 2) NOT NULL)';
    const of = async (key: string) =>
      (
        await compileAlone(client, 'shop', `SELECT ${key} AS k, count(*) FROM t GROUP BY 1`, { setup })
      ).advice.filter(({ kind }) => kind === 'unordered-aggregate');
    expect(await of('t.n * 2')).toMatchObject([
      {
        message: expect.stringMatching(
          /^GROUP BY \(t\.n \* 2::numeric\) in the definition: which of several equal values it shows/,
        ),
      },
    ]);
    expect(await of('t.m * 2')).toEqual([]);
    expect(await of('round(t.n, 2)')).toEqual([]);
    expect(await of('floor(t.n)::int')).toEqual([]);
    expect(await of('t.n::text')).toEqual([]);
  });

  test('names the index that is missing, and its statement runs', async () => {
    const plan = await compileAlone(
      client,
      'shop',
      'SELECT t.id, (SELECT count(*) FROM u WHERE u.a = t.a AND u.b = t.b) FROM t',
      {
        setup:
          'CREATE TABLE t (id int PRIMARY KEY, a int, b int); CREATE TABLE u (a int, b int); CREATE INDEX ON u (b, a, a)',
      },
    );
    expect(plan.advice).toEqual([
      {
        kind: 'missing-index',
        message: 'table shop.t has no index on (a, b), by which changes are mapped to keys',
        hint: 'CREATE INDEX ON "shop"."t" ("a", "b");',
      },
    ]);
  });
});
