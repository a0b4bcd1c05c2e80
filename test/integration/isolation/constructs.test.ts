/** Windows, set operations, FULL JOIN, DISTINCT ON, a constant key: rows that meet in ways no foreign key tells of. */
import { checkShapes } from './check.ts';
import { claimed, writer } from './shape.ts';

const prices = `
  CREATE TABLE tb_price (id int PRIMARY KEY, category int NOT NULL, amount int NOT NULL);
  CREATE INDEX ON tb_price (category);
  INSERT INTO tb_price VALUES (1, 1, 10), (2, 1, 20), (3, 2, 30);
`;
const ranked =
  'SELECT p.id, p.category, rank() OVER (PARTITION BY p.category ORDER BY p.amount) AS place FROM tb_price p';
const dearest = `
  SELECT DISTINCT ON (p.category) p.category, p.amount, p.id FROM tb_price p ORDER BY p.category, p.amount DESC, p.id`;
const first = `
  SELECT x.category, x.id FROM (
    SELECT p.category, p.id, row_number() OVER (PARTITION BY p.category ORDER BY p.amount, p.id) AS place FROM tb_price p
  ) x WHERE x.place = 1`;
const tens = 'SELECT p.amount / 10 AS ten, count(*) AS prices, max(p.id) AS last FROM tb_price p GROUP BY 1';
const total = 'SELECT 1 AS one, count(*) AS prices, sum(p.amount) AS amount FROM tb_price p';

const messages = `
  CREATE TABLE tb_author (id int PRIMARY KEY, name text NOT NULL);
  CREATE TABLE tb_post (id int PRIMARY KEY, author int);
  CREATE TABLE tb_page (id int PRIMARY KEY, author int);
  CREATE INDEX ON tb_post (author);
  CREATE INDEX ON tb_page (author);
  CREATE TABLE tb_list (id int PRIMARY KEY, authors int[]);
  INSERT INTO tb_author VALUES (1, 'one'), (2, 'two');
  INSERT INTO tb_list VALUES (1, '{1}');
  INSERT INTO tb_post VALUES (1, 1);
  INSERT INTO tb_page VALUES (1, 2);
`;
const written = `
  SELECT u.kind, u.id, a.name FROM (
    SELECT 'post' AS kind, p.id, p.author FROM tb_post p UNION ALL SELECT 'page', p.id, p.author FROM tb_page p
  ) u LEFT JOIN tb_author a ON a.id = u.author`;
const perAuthor = `
  SELECT u.author, count(*) AS written FROM (SELECT author FROM tb_post UNION ALL SELECT author FROM tb_page) u
  WHERE u.author IS NOT NULL GROUP BY u.author`;
const unpaged = `
  SELECT p.author, p.id FROM tb_post p WHERE p.author IS NOT NULL
  EXCEPT SELECT p.author, p.id FROM tb_page p WHERE p.author IS NOT NULL`;
const named = `
  SELECT l.id, (SELECT string_agg(a.name, ', ' ORDER BY a.id) FROM tb_author a WHERE a.id = ANY (l.authors)) AS names FROM tb_list l`;
const sides = `
  CREATE TABLE tb_left (id int PRIMARY KEY, ref int);
  CREATE TABLE tb_right (id int PRIMARY KEY, name text NOT NULL);
  CREATE INDEX ON tb_left (ref);
  INSERT INTO tb_left VALUES (1, 101);
  INSERT INTO tb_right VALUES (101, 'one');
`;
const both = `
  SELECT COALESCE(l.id, r.id) AS id, l.ref, r.name FROM tb_left l FULL JOIN tb_right r ON r.id = l.ref`;
const merged = 'SELECT id, p.author AS post, q.author AS page FROM tb_post p FULL JOIN tb_page q USING (id)';

checkShapes([
  {
    name: 'a row comes into a partition, and another one of it takes another place',
    tables: prices,
    tviews: { tv_price: ranked },
    sessions: [
      claimed(writer('INSERT INTO tb_price VALUES (9, 1, 25)')),
      writer('UPDATE tb_price SET amount = 40 WHERE id = 1'),
    ],
    guards: [['far']],
  },
  {
    name: 'a row moves into a partition in which another one changes',
    tables: prices,
    tviews: { tv_price: ranked },
    sessions: [
      writer('UPDATE tb_price SET category = 1 WHERE id = 3'),
      writer('UPDATE tb_price SET amount = 50 WHERE id = 2'),
    ],
    guards: [['far']],
  },
  {
    name: 'two rows that may be the first of their group',
    tables: prices,
    tviews: { tv_dearest: dearest, tv_first: first },
    options: { tv_dearest: { key: ['category'] }, tv_first: { key: ['category'] } },
    sessions: [
      writer('INSERT INTO tb_price VALUES (8, 1, 80), (6, 1, 2)'),
      writer('INSERT INTO tb_price VALUES (9, 1, 90), (7, 1, 1)'),
    ],
    guards: [['key']],
  },
  {
    name: 'two rows of a definition with one row',
    tables: prices,
    tviews: { tv_total: total },
    options: { tv_total: { key: ['one'] } },
    sessions: [writer('INSERT INTO tb_price VALUES (8, 1, 80)'), writer('DELETE FROM tb_price WHERE id = 1')],
    guards: [['key']],
  },
  {
    name: 'a row of the second branch comes to a row that is renamed',
    tables: messages,
    tviews: { tv_written: written },
    options: { tv_written: { key: ['kind', 'id'] } },
    sessions: [
      writer('INSERT INTO tb_page VALUES (9, 1)'),
      writer(`UPDATE tb_author SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'rows of two branches come into one group',
    tables: messages,
    tviews: { tv_author: perAuthor },
    sessions: [writer('INSERT INTO tb_page VALUES (9, 2)'), writer('INSERT INTO tb_post VALUES (9, 2)')],
    guards: [['key']],
  },
  {
    name: 'a row comes while the one comes that takes it away',
    tables: messages,
    tviews: { tv_unpaged: unpaged },
    options: { tv_unpaged: { key: ['author', 'id'] } },
    sessions: [writer('INSERT INTO tb_post VALUES (9, 2)'), writer('INSERT INTO tb_page VALUES (9, 2)')],
    guards: [['key']],
  },
  {
    name: 'somebody is named in a list while that name changes',
    tables: messages,
    tviews: { tv_list: named },
    sessions: [
      writer(`UPDATE tb_list SET authors = '{1,2}' WHERE id = 1`),
      writer(`UPDATE tb_author SET name = 'renamed' WHERE id = 2`),
    ],
    // An array has many values: the tview is one lock.
    guards: [['tview']],
  },
  {
    name: 'two rows come into a group that is computed from them',
    tables: prices,
    tviews: { tv_ten: tens },
    options: { tv_ten: { key: ['ten'] } },
    sessions: [
      writer('INSERT INTO tb_price VALUES (8, 1, 87)'),
      writer('UPDATE tb_price SET amount = 84 WHERE id = 1'),
    ],
    guards: [['key']],
  },
  {
    name: 'the two sides of a FULL JOIN come, and the row of one alone must go',
    tables: sides,
    tviews: { tv_both: both },
    options: { tv_both: { key: ['id'] } },
    sessions: [
      writer('INSERT INTO tb_left VALUES (9, 109)'),
      writer(`INSERT INTO tb_right VALUES (109, 'nine')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'the two sides of a FULL JOIN … USING come to one key',
    tables: messages,
    tviews: { tv_merged: merged },
    options: { tv_merged: { key: ['id'] } },
    sessions: [writer('INSERT INTO tb_post VALUES (9, 1)'), writer('INSERT INTO tb_page VALUES (9, 2)')],
    guards: [['key']],
  },
]);
