import { readFileSync } from 'node:fs';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { RefusedDefinition } from '../../../src/errors/errors.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { compileAlone } from './kit.ts';

const shop = readFileSync(new URL('shop.sql', import.meta.url), 'utf8');
let database: FreshDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await freshDatabase({ schema: 'shop', sql: `SET search_path = shop; ${shop}` });
  client = await database.client();
});
afterAll(() => database.drop());

interface Refused {
  /** What is promised, where the statement does not say it. */
  readonly promise?: string;
  readonly sql: string;
  readonly message: string | RegExp;
  /** The first major version that can parse it. */
  readonly since?: number;
  readonly detail?: RegExp;
  readonly setup?: string;
  readonly key?: readonly string[];
  readonly name?: string;
  readonly tviews?: readonly string[];
}

/** As the only column, k. */
function computedKeys(
  cases: readonly (readonly [what: string, sql: string, setup?: string, since?: number])[],
): Refused[] {
  return cases.map(([what, sql, setup, since]) => ({
    promise: `a key ${what}`,
    sql,
    ...(setup !== undefined && { setup }),
    ...(since !== undefined && { since }),
    key: ['k'],
    message: 'key column "k" is computed',
  }));
}

const p = 'SELECT p.pk_product, p.name FROM product p';
const unlinked = (table: string, alias: string) => `table shop.${table} (${alias}) is not linked to the key`;

const clauses: readonly Refused[] = [
  {
    promise: 'more set operations than are looked into one by one',
    sql: `SELECT p.pk_product FROM product p WHERE ${Array.from(
      { length: 6 },
      (_, i) =>
        `p.pk_product IN (SELECT fk_product FROM review WHERE rating = ${i} UNION SELECT fk_product FROM inventory)`,
    ).join(' AND ')}`,
    message: 'UNION in the definition is not supported in a tview',
  },
  {
    promise: 'a branch whose key is computed',
    sql: `${p} UNION ALL SELECT r.pk_review / r.rating, r.title FROM review r`,
    key: ['pk_product'],
    message: 'key column "pk_product" is computed',
  },
  {
    promise: 'a branch whose key may be null',
    sql: `${p} EXCEPT SELECT p.fk_supplier, p.name FROM product p`,
    key: ['pk_product'],
    message: 'key column "pk_product" may be null',
  },
  {
    promise: 'LIMIT of a set operation',
    sql: `SELECT x.pk_product FROM (${p} UNION ALL ${p} LIMIT 5) x`,
    key: ['pk_product'],
    message: 'key column "pk_product" is computed',
  },
  {
    promise: 'a key that DISTINCT ON does not name: which row of a group is the first depends on the others',
    sql: 'SELECT DISTINCT ON (p.name) p.pk_product FROM product p',
    key: ['pk_product'],
    message: 'key column "pk_product" is computed',
    detail: /a column that a query with DISTINCT ON is not distinct on/,
  },
  {
    sql: `SELECT p.pk_product, x.n FROM product p
          LEFT JOIN (SELECT DISTINCT ON (r.rating) r.rating, r.fk_product, r.title AS n FROM review r ORDER BY 1, 2, 3) x
            ON x.fk_product = p.pk_product`,
    message: unlinked('review', 'r'),
    detail: /DISTINCT ON/,
  },
  ...[
    'EXISTS (SELECT count(*) FROM product q WHERE q.fk_supplier = s.pk_supplier AND q.fk_category = p.fk_category)',
    'EXISTS (SELECT 1 FROM product q WHERE q.fk_supplier = s.pk_supplier AND q.fk_category = p.fk_category HAVING count(*) = 0)',
    'NOT EXISTS (SELECT 1 FROM product q WHERE q.fk_supplier = s.pk_supplier AND q.fk_category = p.fk_category)',
    's.pk_supplier NOT IN (SELECT q.fk_supplier FROM product q WHERE q.fk_category = p.fk_category)',
    's.pk_supplier IN (SELECT max(q.fk_supplier) FROM product q WHERE q.fk_category = p.fk_category)',
    '(s.name IS NULL OR s.pk_supplier IN (SELECT q.fk_supplier FROM product q WHERE q.fk_category = p.fk_category))',
  ].map((condition) => ({
    promise: `a condition that says nothing of the row it is on: ${condition}`,
    sql: `SELECT p.pk_product, (SELECT count(*) FROM supplier s WHERE ${condition}) AS n FROM product p`,
    message: unlinked('supplier', 's'),
  })),
  { sql: `${p} ORDER BY 1 LIMIT 3`, message: /^LIMIT and OFFSET at the top level/ },
  { sql: `${p} OFFSET 3`, message: /^LIMIT and OFFSET at the top level/ },
  { sql: `${p} FOR UPDATE`, message: /^FOR UPDATE or FOR SHARE in the definition/ },
  {
    sql: 'SELECT p.pk_product, row_number() OVER (ORDER BY p.pk_product) FROM product p',
    message: /^window functions in the definition whose partition is not bounded/,
  },
  {
    promise: 'a window whose partition may be null: nulls are peers, and equal nothing',
    sql: 'SELECT p.pk_product, count(*) OVER (PARTITION BY p.fk_supplier) AS n FROM product p',
    message: /^window functions in the definition whose partition is not bounded/,
  },
  {
    promise: 'a window whose partition is computed',
    sql: 'SELECT p.pk_product, sum(p.base_price) OVER w FROM product p WINDOW w AS (PARTITION BY lower(p.name))',
    message: /^window functions/,
  },
  {
    promise: 'a window whose partition is of the nullable side of an outer join',
    sql: `SELECT p.pk_product, count(*) OVER (PARTITION BY i.pk_inventory) AS n
          FROM product p LEFT JOIN inventory i ON i.fk_product = p.pk_product`,
    message: /^window functions/,
  },
  {
    promise: 'the same, where it is called otherwise beside ROLLUP, and is not null there',
    sql: `SELECT q.k, sum(count(*)) OVER (PARTITION BY q.v) AS n
          FROM (SELECT DISTINCT p.pk_product AS k, p.pk_product AS v FROM product p) q GROUP BY q.k, ROLLUP (q.v)`,
    key: ['k'],
    message: 'key column "k" is computed',
  },
  {
    promise: 'a key that is null in the rows that ROLLUP adds, and not where it is called otherwise',
    sql: `SELECT q.v AS k, count(*) AS n
          FROM (SELECT DISTINCT p.pk_product AS k, p.pk_product AS v FROM product p) q GROUP BY q.k, ROLLUP (q.v)`,
    key: ['k'],
    message: /^key column "k" is computed/,
  },
  {
    promise: 'a window whose partition is null in the rows that ROLLUP adds',
    sql: `SELECT x.a, x.n FROM (SELECT p.pk_product AS a, p.fk_category, sum(count(*)) OVER (PARTITION BY p.fk_category) AS n
          FROM product p GROUP BY p.pk_product, ROLLUP (p.fk_category)) x WHERE x.fk_category IS NULL`,
    key: ['a'],
    message: /^window functions/,
  },
  {
    promise: 'a number that has become a float on its way',
    setup: 'CREATE TABLE t (id int PRIMARY KEY, n bigint, r real)',
    sql: 'SELECT p.pk_product, (SELECT count(*) FROM (SELECT t.n FROM t UNION ALL SELECT u.r FROM t u) x WHERE x.n = p.pk_product) FROM product p',
    message: unlinked('t', 't'),
    detail: /x\.n, which is a number that has become a float/,
  },
  {
    promise: 'a partition of numbers that have become floats',
    setup: 'CREATE TABLE t (id int PRIMARY KEY, n bigint NOT NULL, r real NOT NULL)',
    sql: `SELECT x.id, x.kind, rank() OVER (PARTITION BY x.n ORDER BY x.id)
          FROM (SELECT 1 AS kind, t.id, t.n FROM t UNION ALL SELECT 2, u.id, u.r FROM t u) x`,
    key: ['id', 'kind'],
    message: /^window functions/,
  },
  {
    promise: 'two arrays that share an element',
    setup: 'CREATE TABLE t (id int PRIMARY KEY, xs int[]); CREATE TABLE u (id int PRIMARY KEY, xs int[])',
    sql: 'SELECT t.id, (SELECT count(*) FROM u, unnest(u.xs) AS a(x) WHERE EXISTS (SELECT FROM unnest(t.xs) AS b(x) WHERE b.x = a.x)) FROM t',
    message: unlinked('u', 'u'),
  },
  {
    promise: 'an array of which no element is equal',
    setup: 'CREATE TABLE t (id int PRIMARY KEY, xs int[])',
    sql: 'SELECT t.id, (SELECT count(*) FROM product p WHERE p.pk_product <> ALL (t.xs)) FROM t',
    message: unlinked('product', 'p'),
  },
  {
    promise: 'an element of an array as a key',
    setup: 'CREATE TABLE t (id int PRIMARY KEY, xs int[] NOT NULL)',
    sql: 'SELECT u.x, count(*) FROM t, unnest(t.xs) AS u(x) GROUP BY u.x',
    key: ['x'],
    message: 'key column "x" is computed',
    detail: /an element of an array/,
  },
  {
    promise: 'DISTINCT ON what is null in some groups, as a key that nobody has named',
    sql: `SELECT DISTINCT ON (p.pk_product, p.fk_category) p.pk_product AS a, p.fk_category AS b FROM product p GROUP BY p.pk_product, ROLLUP (p.fk_category)`,
    message: 'the definition has no key',
  },
  {
    promise: 'a column beside ROLLUP that DISTINCT ON does not name',
    sql: `SELECT DISTINCT ON (p.fk_category) p.pk_product, p.fk_category FROM product p GROUP BY p.pk_product, ROLLUP (p.fk_category)`,
    key: ['pk_product'],
    message: 'key column "pk_product" is computed',
    detail: /DISTINCT ON/,
  },
  {
    promise: 'windows of more partitions than are looked at one by one',
    sql: `SELECT p.pk_product, ${['pk_product', 'fk_category', 'name', 'pk_product, p.name'].map((column, i) => `count(*) OVER (PARTITION BY p.${column}) AS c${i}`).join(', ')}
          FROM product p WHERE p.name IS NOT NULL AND p.fk_category IS NOT NULL`,
    message: /^window functions/,
  },
  {
    sql: 'SELECT p.pk_product, JSON_ARRAYAGG(p.name) OVER () AS n FROM product p',
    message: /^window functions/,
    since: 16,
  },
  {
    sql: 'SELECT p.fk_category, p.status, count(*) FROM product p GROUP BY ROLLUP (p.fk_category, p.status)',
    key: ['fk_category'],
    message: 'key column "fk_category" is computed',
    detail: /a column of a query with GROUPING SETS, ROLLUP or CUBE/,
  },
  {
    sql: `WITH RECURSIVE t AS (SELECT pk_category, name FROM category WHERE fk_parent_category IS NULL
            UNION ALL SELECT c.pk_category, c.name FROM category c JOIN t ON t.pk_category = c.fk_parent_category)
          SELECT pk_category, name FROM t`,
    message: 'WITH RECURSIVE t in the definition is not supported in a tview',
  },
  {
    sql: 'SELECT v.fk_category, v.n FROM v',
    setup: 'CREATE VIEW v AS SELECT fk_category, count(*) AS n FROM product GROUP BY CUBE (fk_category)',
    key: ['fk_category'],
    message: 'key column "fk_category" is computed',
  },
];

const joins: readonly Refused[] = [
  {
    promise: 'a key from the nullable side of a RIGHT JOIN',
    sql: 'SELECT p.pk_product FROM product p RIGHT JOIN category c ON c.pk_category = p.fk_category',
    key: ['pk_product'],
    message: 'key column "pk_product" comes from the nullable side of an outer join',
  },
  {
    promise: 'a key that a subquery takes from outside of its outer join, and that is null without a partner',
    sql: `SELECT x.id FROM product p
          LEFT JOIN LATERAL (SELECT p.pk_product AS id FROM review r WHERE r.fk_product = p.pk_product LIMIT 1) x ON true`,
    key: ['id'],
    message: 'key column "id" is computed',
  },
  {
    promise: 'the same under a name that a join gives it',
    sql: `SELECT x.id FROM product p
          LEFT JOIN LATERAL (SELECT p.pk_product AS id, r.pk_review FROM review r WHERE r.fk_product = p.pk_product) x ON true`,
    key: ['id'],
    message: 'key column "id" is computed',
    detail: /nullable side of an outer join/,
  },
  {
    sql: 'SELECT p.pk_product FROM product p FULL JOIN category c ON c.pk_category = p.fk_category',
    key: ['pk_product'],
    message: 'key column "pk_product" comes from the nullable side of an outer join',
  },
  {
    promise:
      'a key that is one side of a FULL JOIN or the other, where the first may be null while it is there',
    sql: `SELECT COALESCE(p.fk_supplier, s.pk_supplier) AS id FROM product p
          FULL JOIN supplier s ON s.pk_supplier = p.fk_supplier`,
    key: ['id'],
    message: 'key column "id" is computed',
  },
  {
    sql: 'SELECT p.pk_product, c.name FROM product p CROSS JOIN category c',
    message: unlinked('category', 'c'),
  },
  {
    sql: 'SELECT p.pk_product, c.name FROM product p JOIN category c ON c.pk_category < p.fk_category',
    message: unlinked('category', 'c'),
  },
  {
    sql: 'SELECT p.pk_product, c.name FROM product p JOIN category c ON c.pk_category = p.fk_category OR c.name = p.name',
    message: unlinked('category', 'c'),
  },
  {
    sql: 'SELECT p.pk_product, c.name FROM product p JOIN category c ON c.pk_category IS NOT DISTINCT FROM p.fk_category',
    message: unlinked('category', 'c'),
  },
  {
    sql: 'SELECT p.pk_product, c.name FROM product p JOIN category c ON lower(c.name) = p.name',
    message: unlinked('category', 'c'),
    detail: /compares the result of a function/,
  },
  {
    sql: 'SELECT p.pk_product, (SELECT count(*) FROM category) FROM product p',
    message: unlinked('category', 'category'),
  },
  {
    sql: `${p} WHERE EXISTS (SELECT FROM category c WHERE c.name = 'x')`,
    message: unlinked('category', 'c'),
  },
  {
    sql: `${p} WHERE p.fk_category NOT IN (SELECT pk_category FROM category)`,
    message: unlinked('category', 'category'),
  },
  {
    sql: `${p} WHERE (p.fk_category, p.name) NOT IN (SELECT pk_category, name FROM category)`,
    message: unlinked('category', 'category'),
  },
  {
    promise: 'rows that are compared by their order',
    sql: `${p} WHERE (p.fk_category, p.name) >= ANY (SELECT pk_category, name FROM category)`,
    message: unlinked('category', 'category'),
  },
  {
    sql: 'SELECT p.pk_product, p.fk_category IN (SELECT pk_category FROM category) FROM product p',
    message: unlinked('category', 'category'),
  },
  {
    sql: `${p} WHERE p.fk_category > ALL (SELECT pk_category FROM category)`,
    message: unlinked('category', 'category'),
  },
  {
    sql: `${p} WHERE p.fk_category = ALL (SELECT pk_category FROM category)`,
    message: unlinked('category', 'category'),
  },
  {
    sql: `${p} WHERE p.fk_category IN (SELECT pk_category FROM category ORDER BY name LIMIT 1)`,
    message: unlinked('category', 'category'),
  },
  {
    // R8: a newer review removes the row of the one that was the newest.
    sql: `SELECT r.pk_review FROM review r
          JOIN (SELECT fk_product, max(pk_review) AS last FROM review GROUP BY fk_product) m ON m.last = r.pk_review`,
    message: unlinked('review', 'review'),
    detail: /m\.last, which is an expression/,
  },
  {
    sql: `SELECT p.pk_product FROM product p JOIN (SELECT * FROM review ORDER BY rating LIMIT 5) r ON r.fk_product = p.pk_product`,
    message: unlinked('review', 'review'),
    detail: /LIMIT/,
  },
  {
    // A link must not run from the preserved side to the nullable one: a is there whether or not b is.
    sql: `SELECT p.pk_product, x.n FROM product p
          LEFT JOIN (SELECT s.fk_product, r.pk_review AS n FROM review r LEFT JOIN inventory s ON s.pk_inventory = r.user_number) x
            ON x.fk_product = p.pk_product`,
    message: unlinked('review', 'r'),
  },
  {
    sql: 'SELECT p.pk_product, c.name FROM product p LEFT JOIN category c ON true WHERE p.pk_product = 1',
    message: unlinked('category', 'c'),
  },
];

const keys: readonly Refused[] = [
  { sql: "VALUES (1, 'x')", message: 'the definition reads no table' },
  {
    sql: 'SELECT v.column1 FROM v',
    setup: 'CREATE VIEW v AS VALUES (1), (2)',
    key: ['column1'],
    message: 'the definition reads no table',
  },
  { sql: 'SELECT p.name FROM product p', message: 'the definition has no key' },
  {
    sql: 'SELECT count(*) AS n FROM product p GROUP BY lower(p.sku)',
    message: 'the definition has no key',
  },
  ...computedKeys([
    [
      'of two tables',
      'SELECT p.fk_category + r.rating AS k FROM product p JOIN review r ON r.fk_product = p.pk_product GROUP BY 1',
    ],
    ['that can fail: a cast of text', 'SELECT p.sku::int AS k FROM product p'],
    ['that can fail: a division', 'SELECT 100 / p.fk_category AS k FROM product p'],
    ['that can fail: a division by nothing', 'SELECT p.fk_category / 0 AS k FROM product p'],
    ['that can fail: a length', 'SELECT substr(p.name, 1, p.fk_category) AS k FROM product p'],
    ['that is an aggregate', 'SELECT max(p.fk_category) AS k FROM product p'],
    ['that is an aggregate over groups', 'SELECT max(p.name) AS k FROM product p GROUP BY p.fk_category'],
    ['that returns a set', "SELECT regexp_split_to_table(p.name, ' ') AS k FROM product p"],
    ['that is a window', 'SELECT lag(p.pk_product, 1, 0) OVER (ORDER BY p.pk_product) AS k FROM product p'],
    [
      'over a subquery',
      'SELECT (SELECT count(*) FROM review r WHERE r.fk_product = p.pk_product) + p.pk_product AS k FROM product p',
    ],
    [
      'of one of several equal values',
      'SELECT n.price::text AS k FROM (SELECT p.base_price * 1.0 AS price FROM product p GROUP BY 1) n',
    ],
    [
      'of one of several equal groups',
      'SELECT (p.base_price * 1.0)::text AS k FROM product p GROUP BY p.base_price * 1.0',
    ],
    [
      'of one of several equal columns',
      'SELECT x.n::text AS k FROM (SELECT DISTINCT t.n FROM t) x',
      'CREATE TABLE t (id int PRIMARY KEY, n numeric NOT NULL)',
    ],
    [
      'of one of several equal columns that are grouped by',
      'SELECT t.n::text AS k FROM t GROUP BY t.n',
      'CREATE TABLE t (id int PRIMARY KEY, n numeric NOT NULL)',
    ],
    [
      'of one of several equal texts',
      'SELECT x.n || x.n AS k FROM (SELECT t.n FROM t GROUP BY t.n) x',
      `CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
       CREATE TABLE t (id int PRIMARY KEY, n text COLLATE ci NOT NULL)`,
    ],
    [
      'that can fail: on what was never read of a json',
      "SELECT COALESCE(t.n ->> 'a', '-') AS k FROM t",
      'CREATE TABLE t (id int PRIMARY KEY, n json NOT NULL)',
    ],
    ['that can fail: at the end of a pattern', "SELECT p.name LIKE 'abc\\' AS k FROM product p"],
    [
      'that can fail: on the number of a match',
      "SELECT regexp_replace(p.name, 'a', 'b', 1, p.fk_category) AS k FROM product p",
      '',
      15,
    ],
    [
      'that can fail: on rows that nothing compares',
      'SELECT t.a = t.b AS k FROM t',
      'CREATE TYPE pair AS (x int, y json); CREATE TABLE t (id int PRIMARY KEY, a pair NOT NULL, b pair NOT NULL)',
    ],
    [
      "of a float's digits, which are the session's in an index",
      'SELECT t.n::text AS k FROM t',
      'CREATE TABLE t (id int PRIMARY KEY, n float8 NOT NULL)',
    ],
    [
      'of a column that UNION converts',
      'SELECT x.d::text AS k FROM (SELECT t.d FROM t UNION ALL SELECT t.ts FROM t) x',
      'CREATE TABLE t (id int PRIMARY KEY, d date NOT NULL, ts timestamp NOT NULL)',
    ],
    [
      'of a text that UNION gives the collation of another',
      'SELECT lower(v.n) AS k FROM v',
      `CREATE TABLE t (a text COLLATE "C" NOT NULL, b text NOT NULL); CREATE VIEW v AS SELECT t.a AS n FROM t UNION ALL SELECT t.b FROM t`,
    ],
    [
      'of a column that USING converts',
      'SELECT d::text AS k FROM t LEFT JOIN (SELECT t.ts AS d FROM t) y USING (d)',
      'CREATE TABLE t (id int PRIMARY KEY, d date NOT NULL, ts timestamp NOT NULL)',
    ],
    [
      'of an array',
      'SELECT length(t.n[1]) AS k FROM t',
      'CREATE TABLE t (id int PRIMARY KEY, n text[] NOT NULL)',
    ],
  ]),
  {
    promise: 'an expression that loses digits on its way',
    sql: `SELECT x.k FROM (SELECT t.b + 1 AS k FROM t UNION ALL SELECT t.r * 1::real FROM t) x UNION ALL SELECT t.f * 1::float8 FROM t`,
    setup: 'CREATE TABLE t (id int PRIMARY KEY, b bigint NOT NULL, r real NOT NULL, f float8 NOT NULL)',
    key: ['k'],
    message: 'key column "k" is computed, and converted to double precision',
    detail: /\(t\.b \+ 1\) may be another number then\.$/,
  },
  {
    promise: 'an expression that is null where its column is',
    sql: 'SELECT lower(s.country) AS k, count(*) FROM supplier s GROUP BY 1',
    key: ['k'],
    message: 'key column "k" may be null',
    detail: /^Column s\.country has no NOT NULL constraint/,
  },
  {
    promise: 'an expression that can be null although its column is not',
    sql: "SELECT to_char(p.created_at, 'YYYY-MM') AS k, count(*) FROM product p GROUP BY 1",
    key: ['k'],
    message: 'key column "k" may be null',
    detail: /^to_char\(p\.created_at, 'YYYY-MM'::text\) can be NULL/,
  },
  {
    promise: 'an expression of the nullable side of an outer join, which is never null',
    sql: `SELECT COALESCE(s.country, '-') AS k, count(*) FROM product p LEFT JOIN supplier s ON s.pk_supplier = p.fk_supplier GROUP BY 1`,
    key: ['k'],
    message: 'key column "k" comes from the nullable side of an outer join',
  },
  {
    promise: 'an expression beside a column of another table',
    sql: `SELECT s.pk_supplier AS a, lower(p.sku) AS b FROM product p JOIN supplier s ON s.name = p.name`,
    key: ['a', 'b'],
    message: 'the key (a, b) is spread over shop.supplier (s) and shop.product (p)',
  },
  { sql: 'SELECT count(*) FROM product p', message: 'the definition has no key' },
  {
    promise: 'a primary key that another table has in another branch',
    sql: `${p} UNION ALL SELECT s.pk_supplier, s.name FROM supplier s`,
    message: 'the definition has no key',
  },
  { sql: p, key: ['id'], message: 'key column "id" is not among the columns of the definition' },
  { sql: 'SELECT p.pk_product / random() AS pk_x FROM product p', message: /is volatile$/ },
  {
    sql: 'SELECT p.pk_product, i.pk_inventory FROM product p LEFT JOIN inventory i ON i.fk_product = p.pk_product',
    key: ['pk_inventory'],
    message: 'key column "pk_inventory" comes from the nullable side of an outer join',
  },
  {
    sql: 'SELECT p.fk_supplier, count(*) FROM product p GROUP BY p.fk_supplier',
    message: 'key column "fk_supplier" may be null',
  },
  {
    promise:
      'a group by a column that the primary key beside it does not decide: the row that it refers to may be missing',
    sql: `SELECT p.pk_product, s.name, count(*) FROM product p LEFT JOIN supplier s ON s.pk_supplier = p.fk_supplier
          GROUP BY p.pk_product, s.name`,
    message: 'key column "name" comes from the nullable side of an outer join',
  },
  {
    promise: 'a group by a column of another table, although it has the primary key of one',
    sql: `SELECT p.pk_product, i.quantity, count(*) FROM product p JOIN inventory i ON i.warehouse = p.status
          GROUP BY p.pk_product, i.quantity`,
    message: 'the key (pk_product, quantity) is spread over shop.product (p) and shop.inventory (i)',
  },
  {
    sql: 'SELECT t.tags FROM t',
    setup: 'CREATE TABLE t (tags text[] PRIMARY KEY)',
    message: 'key column "tags" has type text[], which cannot be a key',
  },
  {
    sql: 'SELECT t.j FROM t',
    setup: 'CREATE TABLE t (j json NOT NULL)',
    key: ['j'],
    message: 'key column "j" has type json, which cannot be a key',
  },
  {
    // Neither row has the whole key: when one transaction deletes both, each key query finds the other gone.
    sql: 'SELECT a.pk_product, b.pk_supplier FROM product a JOIN supplier b ON b.name = a.name',
    key: ['pk_product', 'pk_supplier'],
    message: 'the key (pk_product, pk_supplier) is spread over shop.product (a) and shop.supplier (b)',
  },
];

const computations: readonly Refused[] = [
  {
    sql: 'SELECT p.pk_product, c.xmin FROM product p JOIN category c ON c.pk_category = p.fk_category',
    message: 'column c.xmin is not supported in a tview',
  },
  {
    sql: `${p} WHERE p.created_at > now()`,
    message: 'function now() in the definition depends on the clock',
  },
  { sql: `${p} WHERE p.created_at > clock_timestamp()`, message: /depends on the clock/ },
  { sql: 'SELECT p.pk_product, age(p.created_at) FROM product p', message: /depends on the clock/ },
  { sql: `${p} WHERE p.created_at > current_date`, message: 'CURRENT_DATE is not supported in a tview' },
  {
    sql: `${p} WHERE p.created_at > current_timestamp(3)`,
    message: 'CURRENT_TIMESTAMP is not supported in a tview',
  },
  { sql: `${p} WHERE p.name = current_user`, message: 'CURRENT_USER is not supported in a tview' },
  { sql: `${p} WHERE p.name = current_setting('a.b')`, message: /depends on the session or the catalog/ },
  {
    sql: 'SELECT p.pk_product, random() FROM product p',
    message: 'function random() in the definition is volatile',
  },
  { sql: 'SELECT p.pk_product, gen_random_uuid() AS u FROM product p', message: /is volatile/ },
  { sql: 'SELECT p.pk_product, p.tableoid FROM product p', message: /^column p?\.?tableoid/ },
  { sql: 'SELECT p.pk_product, to_tsvector(p.name) FROM product p', message: /depends on the session/ },
  {
    sql: 'SELECT p.pk_product, p.name::date AS d FROM product p',
    message: 'a conversion of text to date in the definition is not supported in a tview',
  },
  {
    sql: 'SELECT p.pk_product, p.name::regclass AS d FROM product p',
    message: /depends on the session or the catalog|conversion of text to regclass/,
  },
  {
    sql: 'SELECT p.pk_product, f(p.pk_product) FROM product p',
    setup: 'CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql RETURN 1',
    message: "function shop.f(integer) in the definition is not one of PostgreSQL's own",
  },
  {
    sql: 'SELECT v.pk_product, v.f FROM v',
    setup:
      'CREATE FUNCTION f(int) RETURNS int LANGUAGE sql RETURN 1; CREATE VIEW v AS SELECT pk_product, f(pk_product) FROM product',
    message: "function shop.f(integer) in view shop.v is not one of PostgreSQL's own",
  },
  {
    sql: 'SELECT p.fk_category, m(p.name) FROM product p GROUP BY 1',
    setup: 'CREATE AGGREGATE m (text) (SFUNC = textcat, STYPE = text)',
    message: "function shop.m(text) in the definition is not one of PostgreSQL's own",
  },
  {
    sql: 'SELECT p.pk_product, p.name === p.sku AS same FROM product p',
    setup: 'CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)',
    message: "operator shop.===(text,text) in the definition is not one of PostgreSQL's own",
  },
  {
    sql: "SELECT t.id, t.tz AT TIME ZONE 'Europe/Paris' AS local FROM t",
    setup: 'CREATE TABLE t (id int PRIMARY KEY, tz timetz)',
    message: 'function timezone(text,time with time zone) in the definition depends on the clock',
  },
];

const types: readonly Refused[] = [
  {
    sql: 'SELECT p.pk_product, p.name::tstzrange AS r FROM product p',
    message: 'a conversion of text to tstzrange in the definition is not supported in a tview',
  },
  {
    sql: 'SELECT p.pk_product, p.name::datemultirange AS r FROM product p',
    message: 'a conversion of text to datemultirange in the definition is not supported in a tview',
  },
  {
    sql: 'SELECT p.pk_product, (p.name::pair)::text AS r FROM product p',
    setup: 'CREATE DOMAIN moment AS timestamptz; CREATE TYPE pair AS (n int, at moment[])',
    message: 'a conversion of text to shop.pair in the definition is not supported in a tview',
  },
  {
    sql: "SELECT t.id, JSON_VALUE(t.j, '$.d' RETURNING timestamptz) AS d FROM t",
    setup: 'CREATE TABLE t (id int PRIMARY KEY, j jsonb)',
    since: 17,
    message: 'a conversion of text to timestamp with time zone in the definition is not supported in a tview',
  },
  {
    sql: "SELECT t.id, JSON_QUERY(t.j, '$.d' RETURNING pair) AS d FROM t",
    setup: 'CREATE TYPE pair AS (n int, at date); CREATE TABLE t (id int PRIMARY KEY, j jsonb)',
    since: 17,
    message: 'a conversion of text to shop.pair in the definition is not supported in a tview',
  },
  {
    promise: 'a name of the catalog that a column shows',
    sql: 'SELECT t.id, t.rc::text AS name FROM t',
    setup: 'CREATE TABLE t (id int PRIMARY KEY, rc regclass)',
    message: 'type regclass in the definition is not supported in a tview',
  },
  {
    promise: 'a name of the catalog inside a document',
    sql: "SELECT t.id, jsonb_build_object('types', t.rt) AS data FROM t",
    setup: 'CREATE TABLE t (id int PRIMARY KEY, rt regtype[])',
    message: 'type regtype in the definition is not supported in a tview',
  },
  {
    promise: 'a cast to json of others, which JSON functions call unseen',
    sql: "SELECT t.id, jsonb_build_object('m', t.m) AS data FROM t",
    setup: `CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (id int PRIMARY KEY, m mood[]);
            CREATE FUNCTION cj(mood) RETURNS json LANGUAGE sql RETURN (SELECT to_json(name) FROM category LIMIT 1);
            CREATE CAST (mood AS json) WITH FUNCTION cj(mood)`,
    message: 'type shop.mood in the definition has a cast to json of its own',
  },
];

const wholeRows: readonly Refused[] = [
  'SELECT c.pk_category, to_jsonb(c) AS data FROM category c',
  'SELECT c.pk_category, c AS data FROM category c',
  'SELECT c.pk_category FROM category c WHERE c IS NOT NULL',
  'SELECT c.pk_category, (SELECT count(k) FROM category k WHERE k.fk_parent_category = c.pk_category) AS n FROM category c',
  'SELECT c.pk_category, row_to_json(ROW(c)) AS data FROM category c',
  'SELECT c.pk_category, c::text AS data FROM category c',
  'SELECT c.pk_category FROM category c ORDER BY c',
  'SELECT c.pk_category FROM category c GROUP BY c.pk_category, c',
  'SELECT c.pk_category FROM category c WHERE c IN (SELECT k FROM category k WHERE k.pk_category = c.pk_category)',
  'SELECT c.pk_category, (SELECT jsonb_agg(k ORDER BY k.id) FROM category k WHERE k.fk_parent_category = c.pk_category) AS d FROM category c',
].map((sql) => ({
  sql,
  message: /^the whole row of shop\.category \([ck]\) in the definition is not supported in a tview$/,
}));

const sources: readonly Refused[] = [
  {
    promise: 'the whole row of a join under an alias, of which DROP COLUMN takes a column away',
    sql: 'SELECT j.pk_product, to_jsonb(j) AS data FROM (product p JOIN inventory i ON i.fk_product = p.pk_product) AS j',
    message: 'the whole row of a join (j) in the definition is not supported in a tview',
  },
  {
    promise: 'the whole row of a view, whose columns are not fixed either',
    sql: 'SELECT w.pk_product, to_jsonb(w) AS data FROM w',
    setup: 'CREATE VIEW w AS SELECT pk_product FROM product',
    message: 'the whole row of shop.w (w) in the definition is not supported in a tview',
  },
  {
    promise: 'a table that inherits: its parent shows neither which rows are its own nor all of its columns',
    sql: 'SELECT k.id FROM k',
    setup: 'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE k (PRIMARY KEY (id)) INHERITS (t)',
    message: 'inheriting table shop.k (k) is not supported in a tview',
  },
  {
    promise: 'the primary key of a table that others inherit from, as a key nobody has named',
    sql: 'SELECT t.id FROM t',
    setup: 'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE k () INHERITS (t)',
    message: 'the definition has no key',
    detail: /inherit from it/,
  },
  {
    promise: 'columns shown because the primary key of such a table is grouped by',
    sql: 'SELECT t.id, t.name FROM t GROUP BY t.id',
    setup: 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE k () INHERITS (t)',
    key: ['id'],
    message: 'GROUP BY the primary key of shop.t is not supported in a tview',
  },
  {
    promise: 'the same in a view below',
    sql: 'SELECT w.id, w.name FROM w',
    setup: `CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE k () INHERITS (t);
            CREATE VIEW w AS SELECT t.id, t.name FROM t GROUP BY t.id`,
    key: ['id'],
    message: 'GROUP BY the primary key of shop.t is not supported in a tview',
  },
  {
    sql: 'SELECT t.id FROM ONLY t',
    setup: 'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE k () INHERITS (t)',
    key: ['id'],
    message: 'ONLY shop.t (t) is not supported in a tview',
  },
  {
    sql: 'SELECT t.id FROM ONLY t',
    setup: 'CREATE TABLE t (id int PRIMARY KEY) PARTITION BY HASH (id)',
    message: 'ONLY shop.t (t) is not supported in a tview',
  },
  {
    promise: 'virtual columns of such a table, which an heir may compute from columns of its own',
    sql: 'SELECT t.id, t.v FROM t',
    setup: `CREATE TABLE t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id) VIRTUAL);
            CREATE TABLE k (x int, v int GENERATED ALWAYS AS (x) VIRTUAL) INHERITS (t)`,
    key: ['id'],
    message: 'virtual generated columns of shop.t are not supported in a tview',
    since: 18,
  },
  {
    promise: 'a temporary table among the heirs, which other sessions do not see',
    sql: 'SELECT t.id FROM t',
    setup: 'CREATE TABLE t (id int PRIMARY KEY); CREATE TEMPORARY TABLE mine () INHERITS (t)',
    key: ['id'],
    message: /^table shop\.t \(t\) is not supported in a tview: pg_temp_\d+\.mine is a temporary table$/,
  },
  {
    sql: 'SELECT x.id FROM tv_x x',
    setup: 'CREATE TABLE tv_x (id int PRIMARY KEY); CREATE TABLE k () INHERITS (tv_x)',
    name: 'reader',
    tviews: ['tv_x'],
    key: ['id'],
    message: 'tview with partitions or heirs shop.tv_x (x) is not supported in a tview',
  },
  {
    sql: 'SELECT m.pk_product FROM m',
    setup: 'CREATE MATERIALIZED VIEW m AS SELECT pk_product FROM product',
    key: ['pk_product'],
    message: /^materialized view shop.m/,
  },
  {
    sql: 'SELECT t.id FROM t',
    setup: 'CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t ENABLE ROW LEVEL SECURITY',
    message: /^table with row level security shop.t/,
  },
  {
    sql: 'SELECT c.oid FROM pg_class c',
    message: 'system catalog pg_catalog.pg_class (c) is not supported in a tview',
  },
  { sql: `${p} TABLESAMPLE BERNOULLI (10)`, message: 'TABLESAMPLE is not supported in a tview' },
  {
    sql: `SELECT p.pk_product, x.a FROM product p, JSON_TABLE(p.name::jsonb, '$' COLUMNS (a date PATH '$.a')) x`,
    message: 'a conversion of text to date in the definition is not supported in a tview',
    since: 17,
  },
  {
    sql: `SELECT p.pk_product, x.a FROM product p, XMLTABLE('/a' PASSING xmlparse(DOCUMENT p.name) COLUMNS a timestamptz PATH '@b') x`,
    message: 'a conversion of text to timestamp with time zone in the definition is not supported in a tview',
  },
  {
    sql: `SELECT p.pk_product, x.a FROM product p, XMLTABLE('/a' PASSING xmlparse(DOCUMENT p.name) COLUMNS a xid8 PATH '@b', "x) " int, b shape PATH '@c') x`,
    setup: 'CREATE DOMAIN shape AS regclass',
    message: /shape|regclass/,
  },
  {
    sql: `WITH unread AS (SELECT * FROM category) ${p}`,
    message: /^relation shop.category is read in a way/,
  },
  {
    sql: 'SELECT id FROM tv_x',
    setup: 'CREATE TABLE tv_x (id int PRIMARY KEY)',
    message: 'the definition of shop.tv_x reads shop.tv_x',
  },
  {
    sql: 'SELECT g.twice FROM g',
    setup: 'CREATE TABLE g (x int, twice int NOT NULL GENERATED ALWAYS AS (x * 2) VIRTUAL)',
    key: ['twice'],
    message: /./,
    since: 18,
  },
];

describe.each([
  ['clauses', clauses],
  ['joins', joins],
  ['keys', keys],
  ['computations', computations],
  ['types', types],
  ['whole rows', wholeRows],
  ['sources', sources],
])('%s that cannot be kept exactly in step are refused', (_, table) => {
  test.for(table.map((row) => ({ title: row.promise ?? row.sql, ...row })))('$title', async ({
    sql,
    message,
    detail,
    since = 14,
    ...options
  }, { skip }) => {
    if (inject('serverVersion') < since) skip(`PostgreSQL ${since} came with it`);
    const error = await compileAlone(client, 'shop', sql, options).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(RefusedDefinition);
    const refused = error as RefusedDefinition;
    expect(refused.code).toBe('0A000');
    if (typeof message === 'string') expect(refused.message).toBe(message);
    else expect(refused.message).toMatch(message);
    // The reason and the way out are sentences.
    expect(refused.detail).toMatch(detail ?? /\.$/);
    expect(refused.hint).toMatch(/[.…]$/);
  });
});

test('a foreign table among the partitions, at any level, is refused by its name', async () => {
  const superuser = await database.client(database.superuser);
  // Without a handler: nothing is ever read from it.
  await superuser.query(`
    CREATE FOREIGN DATA WRAPPER elsewhere;
    CREATE SERVER far_away FOREIGN DATA WRAPPER elsewhere;
    GRANT USAGE ON FOREIGN SERVER far_away TO ${database.owner.role}`);
  const setup = `
    CREATE TABLE t (id int, x int) PARTITION BY LIST (id);
    CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1) PARTITION BY LIST (x);
    CREATE FOREIGN TABLE t1_1 PARTITION OF t1 FOR VALUES IN (1) SERVER far_away;
    CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2)`;
  const compiled = (sql: string) => compileAlone(client, 'shop', sql, { setup, key: ['id'] });
  await expect(compiled('SELECT t.id FROM t WHERE t.id IS NOT NULL')).rejects.toMatchObject({
    message: 'partitioned table shop.t (t) is not supported in a tview: shop.t1_1 is a foreign table',
    hint: 'Detach shop.t1_1.',
  });
  // Its neighbour is read without it.
  expect((await compiled('SELECT t2.id FROM t2 WHERE t2.id IS NOT NULL')).sources).toHaveLength(1);
});

test('what the hint says can be listed in full_refresh is accepted once it is', async () => {
  const lifted: string[] = [];
  for (const { sql, message: _, detail: __, since = 14, ...options } of [...clauses, ...joins, ...keys]) {
    if (inject('serverVersion') < since) continue;
    const refusalOf = async (fullRefresh: '*' | []): Promise<RefusedDefinition | undefined> =>
      await compileAlone(client, 'shop', sql, { ...options, fullRefresh }).then(
        () => undefined,
        (reason: unknown) => reason as RefusedDefinition,
      );
    const refused = await refusalOf([]);
    const stillRefused = await refusalOf('*');
    if (!refused?.hint?.includes('full_refresh')) expect(stillRefused?.message, sql).toBe(refused?.message);
    // What is left to say is which columns are the key.
    else if (stillRefused !== undefined) expect(stillRefused.message, sql).toBe('the definition has no key');
    else lifted.push(sql);
  }
  expect(lifted.length).toBeGreaterThan(20);
});

describe('what others can change later', () => {
  const messageOf = async (as: pg.Client, sql: string): Promise<string | undefined> =>
    await compileAlone(as, 'shop', sql).then(
      () => undefined,
      (error: unknown) => (error instanceof RefusedDefinition ? error.message : String(error)),
    );
  let superuser: pg.Client;

  beforeAll(async () => {
    await client.query(`GRANT CREATE ON SCHEMA shop TO ${database.app.role}`);
    const app = await database.client(database.app);
    await app.query(`
      CREATE VIEW theirs AS SELECT pk_product, name FROM product;
      CREATE DOMAIN their_number AS int;
      CREATE TYPE their_mood AS ENUM ('sad');
      GRANT ALL ON theirs TO PUBLIC`);
    await client.query(`
      CREATE TABLE uses (id int PRIMARY KEY, d their_number[], m their_mood, o int);
      CREATE VIEW ours AS SELECT id, o FROM uses; GRANT ALL ON ours TO PUBLIC`);
    superuser = await database.client(database.superuser);
    await superuser.query(`
      CREATE VIEW shop.administrators AS SELECT id, o FROM shop.uses; GRANT ALL ON shop.administrators TO PUBLIC`);
  });

  test.each([
    ['a view, by one that runs their code', 'SELECT pk_product, name FROM theirs', 'view shop.theirs'],
    ['a domain, by a CHECK', 'SELECT id, to_jsonb(d) AS data FROM uses', 'domain shop.their_number'],
    ['an enum, by a cast to json', 'SELECT id, to_jsonb(m) AS data FROM uses', 'type shop.their_mood'],
  ])('%s, is refused to who has more rights', async (_, sql, what) => {
    const refusal = `${what} belongs to role ${database.app.role}`;
    expect(await messageOf(client, sql)).toBe(refusal);
    // A superuser is a member of every role, and the one for whom it is worst.
    expect(await messageOf(superuser, sql)).toBe(refusal);
  });

  test('is accepted from the superuser, from the owner of the database and from oneself', async () => {
    for (const role of [client, superuser]) {
      expect(await messageOf(role, 'SELECT id, o FROM ours')).toBeUndefined();
      expect(await messageOf(role, 'SELECT id, o FROM administrators')).toBeUndefined();
    }
  });
});
