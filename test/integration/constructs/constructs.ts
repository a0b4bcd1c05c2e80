/**
 * What definitions can be made of: each construct once, over a table `item` that stands for any kind of source. `{item}` is its name; box and line
 * are ordinary tables beside it, with line referring to item and item to box.
 */

export interface Construct {
  readonly group: string;
  readonly name: string;
  readonly sql: string;
  /** `id` by default. */
  readonly key?: string;
  /** What it needs beside the tables. */
  readonly setup?: string;
  /** The first major version that has it. */
  readonly since?: number;
  /** One of those that are played over every kind of source. */
  readonly isSample: boolean;
}

type Row = readonly [name: string, sql: string, more?: Pick<Construct, 'key' | 'setup' | 'since'>];

/** Each fifth, and so some of every group. */
const sampled = 5;

const inGroup = (group: string, rows: readonly Row[]): Construct[] =>
  rows.map(([name, sql, more], place) => ({
    group,
    name,
    sql,
    ...more,
    isSample: place % sampled === 0,
  }));

const joins: readonly Row[] = [
  [
    'inner join, to what refers',
    'SELECT i.id, i.name, b.name AS box FROM {item} i JOIN box b ON b.id = i.box',
  ],
  ['inner join, to what is referred to', 'SELECT l.id, i.name FROM line l JOIN {item} i ON i.id = l.item'],
  ['left join', 'SELECT l.id, i.name FROM line l LEFT JOIN {item} i ON i.id = l.item AND i.n > 0'],
  ['right join', 'SELECT l.id, i.name FROM {item} i RIGHT JOIN line l ON l.item = i.id'],
  ['full join', 'SELECT id, i.name, l.quantity FROM {item} i FULL JOIN line l USING (id)'],
  ['cross join', 'SELECT l.id, i.name FROM line l CROSS JOIN {item} i WHERE i.id = 1'],
  [
    'cross join, equality in WHERE',
    'SELECT l.id, i.name FROM line l CROSS JOIN {item} i WHERE i.id = l.item',
  ],
  [
    'join by a range',
    'SELECT l.id, sum(i.n) AS n FROM line l JOIN {item} i ON i.n <= l.quantity GROUP BY l.id',
  ],
  ['self-join', 'SELECT i.id, u.name AS up FROM {item} i LEFT JOIN {item} u ON u.id = i.up'],
  [
    'one source in three roles',
    `SELECT l.id, a.name AS one, b.name AS other, (SELECT count(*) FROM {item} c WHERE c.box = l.box) AS all_of_box
     FROM line l JOIN {item} a ON a.id = l.item LEFT JOIN {item} b ON b.id = l.other`,
  ],
  ['USING', 'SELECT id, i.name, l.quantity FROM {item} i JOIN line l USING (id)'],
  [
    'NATURAL JOIN',
    'SELECT id, name, quantity FROM (SELECT id, name FROM {item}) a NATURAL JOIN (SELECT id, quantity FROM line) b',
  ],
];

const subqueries: readonly Row[] = [
  [
    'derived table',
    'SELECT b.id, x.n FROM box b LEFT JOIN (SELECT box, sum(n) AS n FROM {item} GROUP BY box) x ON x.box = b.id',
  ],
  [
    'LATERAL with ORDER BY … LIMIT',
    'SELECT b.id, x.name FROM box b LEFT JOIN LATERAL (SELECT i.name FROM {item} i WHERE i.box = b.id ORDER BY i.n DESC, i.id LIMIT 1) x ON true',
  ],
  [
    'WITH',
    'WITH x AS (SELECT id, box, name FROM {item} WHERE n > 0) SELECT x.id, x.name, b.name AS box FROM x JOIN box b ON b.id = x.box',
  ],
  [
    'WITH … AS MATERIALIZED, read twice',
    `WITH x AS MATERIALIZED (SELECT box, n FROM {item})
     SELECT b.id, (SELECT sum(x.n) FROM x WHERE x.box = b.id) AS n, EXISTS (SELECT FROM x WHERE x.box = b.id AND x.n > 5) AS many FROM box b`,
  ],
  [
    'WITH RECURSIVE',
    `WITH RECURSIVE x (id, root) AS (SELECT id, id FROM {item} WHERE up IS NULL
       UNION ALL SELECT i.id, x.root FROM x JOIN {item} i ON i.up = x.id) SELECT id, root FROM x`,
  ],
  [
    'scalar subquery, correlated',
    'SELECT b.id, (SELECT max(i.n) FROM {item} i WHERE i.box = b.id) AS n FROM box b',
  ],
  ['scalar subquery, uncorrelated', 'SELECT b.id, (SELECT max(i.n) FROM {item} i) AS n FROM box b'],
  [
    'EXISTS',
    'SELECT b.id, b.name FROM box b WHERE EXISTS (SELECT FROM {item} i WHERE i.box = b.id AND i.n > 0)',
  ],
  [
    'NOT EXISTS',
    'SELECT b.id, b.name FROM box b WHERE NOT EXISTS (SELECT FROM {item} i WHERE i.box = b.id AND i.n > 0)',
  ],
  [
    'EXISTS under OR',
    "SELECT b.id, b.name FROM box b WHERE b.name = 'all' OR EXISTS (SELECT FROM {item} i WHERE i.box = b.id)",
  ],
  [
    'EXISTS, uncorrelated',
    'SELECT b.id, b.name FROM box b WHERE EXISTS (SELECT FROM {item} i WHERE i.n > 90)',
  ],
  ['IN', 'SELECT l.id, l.quantity FROM line l WHERE l.item IN (SELECT i.id FROM {item} i WHERE i.n > 0)'],
  [
    'IN of several columns',
    'SELECT l.id, l.quantity FROM line l WHERE (l.item, l.box) IN (SELECT i.id, i.box FROM {item} i)',
  ],
  [
    'IN in the select list',
    'SELECT l.id, l.item IN (SELECT i.id FROM {item} i WHERE i.n > 0) AS found FROM line l',
  ],
  [
    'NOT IN',
    'SELECT l.id, l.quantity FROM line l WHERE l.item NOT IN (SELECT i.id FROM {item} i WHERE i.n > 0)',
  ],
  [
    'NOT IN, correlated',
    'SELECT l.id, l.quantity FROM line l WHERE 7 NOT IN (SELECT i.n FROM {item} i WHERE i.id = l.item)',
  ],
  ['= ANY (SELECT …)', 'SELECT l.id, l.quantity FROM line l WHERE l.item = ANY (SELECT i.id FROM {item} i)'],
  [
    '> ALL (SELECT …)',
    'SELECT l.id, l.quantity FROM line l WHERE l.quantity > ALL (SELECT i.n FROM {item} i)',
  ],
  [
    '> ALL (SELECT …), correlated',
    'SELECT l.id, l.quantity FROM line l WHERE l.quantity > ALL (SELECT i.n FROM {item} i WHERE i.box = l.box)',
  ],
  [
    'ARRAY(SELECT …)',
    'SELECT b.id, ARRAY(SELECT i.name FROM {item} i WHERE i.box = b.id ORDER BY i.name, i.id) AS names FROM box b',
  ],
];

const groups: readonly Row[] = [
  [
    'GROUP BY',
    'SELECT i.box, count(*) AS items FROM {item} i WHERE i.box IS NOT NULL GROUP BY i.box',
    { key: 'box' },
  ],
  [
    'GROUP BY an expression',
    'SELECT i.n / 10 AS ten, count(*) AS items FROM {item} i GROUP BY i.n / 10',
    { key: 'ten' },
  ],
  [
    'GROUP BY an expression, in a subquery',
    `SELECT b.id, (SELECT jsonb_object_agg(x.ten, x.items ORDER BY x.ten) FROM (
       SELECT i.n / 10 AS ten, count(*) AS items FROM {item} i WHERE i.box = b.id GROUP BY 1) x) AS data FROM box b`,
  ],
  [
    'HAVING',
    'SELECT i.box, sum(i.n) AS n FROM {item} i WHERE i.box IS NOT NULL GROUP BY i.box HAVING sum(i.n) > 3',
    { key: 'box' },
  ],
  [
    'ROLLUP',
    'SELECT COALESCE(i.box, 0) AS box, grouping(i.box) AS level, count(*) AS items FROM {item} i WHERE i.box > 0 GROUP BY ROLLUP (i.box)',
    { key: 'box' },
  ],
  [
    'GROUPING SETS beside the key',
    'SELECT i.box, count(*) AS items FROM {item} i WHERE i.box IS NOT NULL GROUP BY i.box, GROUPING SETS ((i.mood), ()) HAVING grouping(i.mood) = 1',
    { key: 'box' },
  ],
  [
    'ordered aggregate',
    "SELECT b.id, string_agg(i.name, ', ' ORDER BY i.name, i.id) AS names FROM box b LEFT JOIN {item} i ON i.box = b.id GROUP BY b.id",
  ],
  [
    'aggregate with FILTER',
    'SELECT b.id, count(*) FILTER (WHERE i.n > 3) AS many FROM box b LEFT JOIN {item} i ON i.box = b.id GROUP BY b.id',
  ],
  [
    'aggregate of DISTINCT',
    'SELECT b.id, count(DISTINCT i.mood) AS moods FROM box b LEFT JOIN {item} i ON i.box = b.id GROUP BY b.id',
  ],
  [
    'ordered-set aggregate',
    'SELECT b.id, percentile_disc(0.5) WITHIN GROUP (ORDER BY i.n) AS n FROM box b LEFT JOIN {item} i ON i.box = b.id GROUP BY b.id',
  ],
  [
    'user-defined aggregate',
    'SELECT b.id, total(i.n) AS n FROM box b LEFT JOIN {item} i ON i.box = b.id GROUP BY b.id',
    { setup: 'CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int, INITCOND = 0)' },
  ],
  [
    'DISTINCT',
    'SELECT DISTINCT i.box, b.name FROM {item} i JOIN box b ON b.id = i.box WHERE i.box IS NOT NULL',
    { key: 'box' },
  ],
  [
    'DISTINCT ON',
    'SELECT DISTINCT ON (i.box) i.box, i.name FROM {item} i WHERE i.box IS NOT NULL ORDER BY i.box, i.n DESC, i.id',
    { key: 'box' },
  ],
];

const sets: readonly Row[] = [
  [
    'UNION ALL',
    "SELECT 'i' AS kind, i.id, i.name FROM {item} i UNION ALL SELECT 'b', b.id, b.name FROM box b",
    { key: 'kind, id' },
  ],
  [
    'UNION',
    "SELECT 'i' AS kind, i.id, i.name FROM {item} i UNION SELECT 'b', b.id, b.name FROM box b",
    { key: 'kind, id' },
  ],
  [
    'INTERSECT',
    'SELECT i.id, i.box FROM {item} i INTERSECT SELECT l.item, l.box FROM line l WHERE l.item IS NOT NULL',
  ],
  ['INTERSECT ALL', 'SELECT i.id, i.box FROM {item} i INTERSECT ALL SELECT l.id, l.box FROM line l'],
  [
    'EXCEPT',
    'SELECT i.id, i.box FROM {item} i EXCEPT SELECT l.item, l.box FROM line l WHERE l.item IS NOT NULL',
  ],
  ['EXCEPT ALL', 'SELECT l.id, l.box FROM line l EXCEPT ALL SELECT i.id, i.box FROM {item} i'],
  [
    'UNION in a subquery',
    'SELECT b.id, (SELECT count(*) FROM (SELECT i.id FROM {item} i WHERE i.box = b.id UNION SELECT l.item FROM line l WHERE l.box = b.id) x) AS n FROM box b',
  ],
  [
    'window, PARTITION BY',
    'SELECT i.id, rank() OVER (PARTITION BY i.box ORDER BY i.n, i.id) AS place FROM {item} i WHERE i.box IS NOT NULL',
  ],
  ['window over everything', 'SELECT i.id, rank() OVER (ORDER BY i.n, i.id) AS place FROM {item} i'],
  ['LIMIT and OFFSET', 'SELECT i.id, i.name FROM {item} i ORDER BY i.n DESC, i.id LIMIT 2 OFFSET 1'],
  ['FETCH … WITH TIES', 'SELECT i.id, i.name FROM {item} i ORDER BY i.n DESC FETCH FIRST 2 ROWS WITH TIES'],
  [
    'FETCH … WITH TIES, correlated',
    `SELECT b.id, (SELECT string_agg(x.name, ', ' ORDER BY x.id) FROM (
       SELECT i.id, i.name FROM {item} i WHERE i.box = b.id ORDER BY i.n DESC FETCH FIRST 1 ROW WITH TIES) x) AS best FROM box b`,
  ],
];

const rows: readonly Row[] = [
  [
    'VALUES',
    "SELECT i.id, v.word FROM {item} i JOIN (VALUES (1, 'one'), (2, 'two')) AS v (n, word) ON v.n = i.n",
  ],
  [
    'unnest of a column',
    "SELECT i.id, (SELECT string_agg(t.tag, ',' ORDER BY t.place) FROM unnest(i.tags) WITH ORDINALITY AS t (tag, place)) AS tags FROM {item} i",
  ],
  [
    'other set-returning functions',
    'SELECT i.id, (SELECT sum(g.g) FROM generate_series(1, i.n) AS g (g)) AS n, (SELECT count(*) FROM jsonb_each(i.data)) AS keys FROM {item} i',
  ],
  [
    'join to unnest of an array of keys',
    "SELECT b.id, (SELECT string_agg(i.name, ',' ORDER BY i.id) FROM unnest(b.items) AS k (id) JOIN {item} i ON i.id = k.id) AS names FROM box b",
  ],
  [
    '= ANY (array column)',
    "SELECT b.id, (SELECT string_agg(i.name, ',' ORDER BY i.id) FROM {item} i WHERE i.id = ANY (b.items)) AS names FROM box b",
  ],
  [
    'JSON functions',
    "SELECT i.id, jsonb_build_object('a', i.data -> 'a', 'path', jsonb_path_query_first(i.data, '$.b[*]'), 'pretty', jsonb_pretty(i.data)) AS data FROM {item} i",
  ],
  [
    'JSON_TABLE',
    "SELECT i.id, x.a, (SELECT string_agg(y.n || ':' || y.v, ',' ORDER BY y.n) FROM JSON_TABLE(jsonb_build_object('l', jsonb_build_array(i.n, i.name)), '$' COLUMNS (NESTED PATH '$.l[*]' COLUMNS (n FOR ORDINALITY, v text PATH '$'))) y) AS l FROM {item} i LEFT JOIN JSON_TABLE(i.data, '$' COLUMNS (a int PATH '$.a')) x ON true",
    { since: 17 },
  ],
  [
    'XML functions',
    'SELECT i.id, xmlelement(name item, xmlattributes(i.n AS n), i.name)::text AS xml FROM {item} i',
  ],
  [
    'XMLTABLE',
    "SELECT i.id, x.n FROM {item} i, XMLTABLE('/a' PASSING xmlelement(name a, xmlattributes(i.n AS n)) COLUMNS n int PATH '@n') x",
  ],
  ['casts', 'SELECT i.id, i.n::numeric(10, 2) AS n, i.n::text AS text, i.mood::text AS mood FROM {item} i'],
  ['text cast to a date', 'SELECT i.id, i.name::date AS d FROM {item} i'],
  ['collations', 'SELECT i.id, i.name COLLATE "C" < \'m\' AS early FROM {item} i'],
  ['domains', 'SELECT i.id, i.price, i.price * 2 AS twice FROM {item} i'],
  ['enums', "SELECT i.id, i.mood, i.mood > 'calm' AS loud FROM {item} i"],
  [
    'ranges',
    'SELECT i.id, i.span, upper(i.span) - lower(i.span) AS width, i.span @> 3 AS three FROM {item} i',
  ],
  ['whole row of a table', 'SELECT i.id, to_jsonb(i) AS data FROM {item} i'],
  [
    'whole row of a subquery',
    'SELECT x.id, to_jsonb(x) AS data FROM (SELECT i.id, i.name, i.n FROM {item} i) x',
  ],
  ['a system column', 'SELECT i.id, i.ctid::text AS place FROM {item} i'],
  ['TABLESAMPLE', 'SELECT i.id FROM {item} i TABLESAMPLE BERNOULLI (10)'],
  ['FOR UPDATE', 'SELECT i.id FROM {item} i FOR UPDATE'],
];

const dependences: readonly Row[] = [
  ['immutable function', 'SELECT i.id, upper(left(i.name, 3)) AS short FROM {item} i'],
  [
    'stable function, by TimeZone',
    "SELECT i.id, i.at::text AS text, date_trunc('day', i.at) AS day FROM {item} i",
  ],
  [
    'stable function, by DateStyle',
    "SELECT i.id, i.day::text AS text, concat(i.day, '!') AS loud FROM {item} i",
  ],
  ['volatile function', 'SELECT i.id, random() AS r FROM {item} i'],
  [
    'user-defined function, immutable',
    'SELECT i.id, twice(i.n) AS n FROM {item} i',
    { setup: 'CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql RETURN $1 * 2' },
  ],
  [
    'function that reads tables',
    'SELECT b.id, items(b.id) AS n FROM box b JOIN {item} i ON i.id = b.id',
    {
      setup:
        'CREATE FUNCTION items(int) RETURNS bigint STABLE LANGUAGE sql RETURN (SELECT count(*) FROM line WHERE box = $1)',
    },
  ],
  ['now()', 'SELECT i.id FROM {item} i WHERE i.at < now()'],
  ['CURRENT_DATE', 'SELECT i.id FROM {item} i WHERE i.day < CURRENT_DATE'],
  ['CURRENT_USER', 'SELECT i.id FROM {item} i WHERE i.name = CURRENT_USER'],
  ['current_setting()', "SELECT i.id FROM {item} i WHERE i.name = current_setting('app.user', true)"],
  ['names of the catalog, by search_path', 'SELECT i.id, i.name::regclass::text AS r FROM {item} i'],
];

export const constructs: readonly Construct[] = [
  ...inGroup('Joins', joins),
  ...inGroup('Subqueries', subqueries),
  ...inGroup('Groups', groups),
  ...inGroup('Set operations, windows, limits', sets),
  ...inGroup('Rows and values', rows),
  ...inGroup('What it depends on beside rows', dependences),
];
