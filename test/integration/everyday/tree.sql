-- Trees: a table of contents with its closure, and who reports to whom.

CREATE TABLE page (
  id int PRIMARY KEY,
  parent_id int REFERENCES page ON DELETE CASCADE,
  title text NOT NULL,
  words int NOT NULL DEFAULT 0,
  path text NOT NULL
);

CREATE TABLE page_closure (
  ancestor int REFERENCES page ON DELETE CASCADE,
  descendant int REFERENCES page ON DELETE CASCADE,
  depth int NOT NULL,
  PRIMARY KEY (ancestor, descendant)
);

CREATE INDEX ON page_closure (descendant);

CREATE TABLE employee (
  id int PRIMARY KEY,
  boss_id int REFERENCES employee ON DELETE SET NULL,
  name text NOT NULL,
  salary int NOT NULL
);

INSERT INTO page
VALUES (1, NULL, 'Manual', 10, '1'), (2, 1, 'Install', 20, '1.2'), (3, 1, 'Use', 5, '1.3'), (4, 2, 'Linux', 40, '1.2.4');

INSERT INTO page_closure
VALUES (1, 1, 0), (2, 2, 0), (3, 3, 0), (4, 4, 0), (1, 2, 1), (1, 3, 1), (2, 4, 1), (1, 4, 2);

INSERT INTO employee VALUES (1, NULL, 'Zoe', 100), (2, 1, 'Yan', 80), (3, 1, 'Xia', 80), (4, 2, 'Wim', 50), (5, 2, 'Vic', 55);

-- A page with the way to it and what is below it.
CREATE TVIEW tv_page AS
SELECT
  p.id,
  p.title,
  (
    SELECT jsonb_agg(a.title ORDER BY c.depth DESC)
    FROM page_closure c
    JOIN page a ON a.id = c.ancestor
    WHERE c.descendant = p.id AND c.depth > 0
  ) AS breadcrumb,
  (SELECT jsonb_agg(jsonb_build_object('id', k.id, 'title', k.title) ORDER BY k.title, k.id) FROM page k WHERE k.parent_id = p.id) AS children
FROM page p;

-- Sizes of subtrees.
CREATE TVIEW tv_size WITH (key = 'id') AS
SELECT c.ancestor AS id, count(*) AS pages, sum(p.words) AS words, max(c.depth) AS depth
FROM page_closure c
JOIN page p ON p.id = c.descendant
GROUP BY c.ancestor;

-- The same breadcrumb from paths: a prefix is no equality.
-- refused: table app.page (a) is not linked to the key
-- way out: by an equality of columns
CREATE TVIEW tv_trail AS
SELECT p.id, (SELECT string_agg(a.title, ' / ' ORDER BY length(a.path)) FROM page a WHERE p.path LIKE a.path || '%') AS trail
FROM page p;

CREATE TVIEW tv_trail WITH (full_refresh = 'page') AS
SELECT p.id, (SELECT string_agg(a.title, ' / ' ORDER BY length(a.path)) FROM page a WHERE p.path LIKE a.path || '%') AS trail
FROM page p;

-- Everybody below somebody, by recursion: rarely changed, so it may be computed whole.
-- refused: WITH RECURSIVE below in the definition is not supported in a tview
-- way out: WITH (full_refresh =
CREATE TVIEW tv_below AS
WITH RECURSIVE below (boss_id, id, level) AS (
  SELECT e.boss_id, e.id, 1 FROM employee e WHERE e.boss_id IS NOT NULL
  UNION ALL
  SELECT b.boss_id, e.id, b.level + 1 FROM below b JOIN employee e ON e.boss_id = b.id
)
SELECT boss_id, count(*) AS people, max(level) AS levels FROM below GROUP BY boss_id;

CREATE TVIEW tv_below WITH (key = 'boss_id', full_refresh = 'employee') AS
WITH RECURSIVE below (boss_id, id, level) AS (
  SELECT e.boss_id, e.id, 1 FROM employee e WHERE e.boss_id IS NOT NULL
  UNION ALL
  SELECT b.boss_id, e.id, b.level + 1 FROM below b JOIN employee e ON e.boss_id = b.id
)
SELECT boss_id, count(*) AS people, max(level) AS levels FROM below GROUP BY boss_id;

-- An employee beside the boss, the boss's boss, and those of the same boss.
CREATE TVIEW tv_employee AS
SELECT
  e.id,
  e.name,
  b.name AS boss,
  bb.name AS boss_of_boss,
  (SELECT array_agg(s.name ORDER BY s.name) FROM employee s WHERE s.boss_id = e.boss_id AND s.id <> e.id) AS peers,
  rank() OVER (PARTITION BY e.id ORDER BY e.salary) AS alone
FROM employee e
LEFT JOIN employee b ON b.id = e.boss_id
LEFT JOIN employee bb ON bb.id = b.boss_id;

-- How teams are paid, and who in them earns most.
CREATE TVIEW tv_team WITH (key = 'boss_id') AS
SELECT DISTINCT
  e.boss_id,
  b.name AS boss,
  avg(e.salary) OVER w AS average,
  first_value(e.name) OVER (PARTITION BY e.boss_id ORDER BY e.salary DESC, e.id) AS best_paid
FROM employee e
JOIN employee b ON b.id = e.boss_id
WHERE e.boss_id IS NOT NULL
WINDOW w AS (PARTITION BY e.boss_id);

-- Pages are written, moved, removed.
UPDATE page SET title = 'Installation', words = 25 WHERE id = 2;
BEGIN;
INSERT INTO page VALUES (5, 3, 'Query', 7, '1.3.5');
INSERT INTO page_closure SELECT ancestor, 5, depth + 1 FROM page_closure WHERE descendant = 3 UNION ALL SELECT 5, 5, 0;
COMMIT;
BEGIN;
UPDATE page SET parent_id = 3, path = '1.3.4' WHERE id = 4;
DELETE FROM page_closure WHERE descendant = 4 AND depth > 0;
INSERT INTO page_closure SELECT ancestor, 4, depth + 1 FROM page_closure WHERE descendant = 3;
SAVEPOINT s;
UPDATE page SET title = 'nothing', words = 0;
ROLLBACK TO SAVEPOINT s;
COMMIT;
UPDATE page SET parent_id = NULL WHERE id = 2;
DELETE FROM page_closure WHERE descendant = 2 AND ancestor = 1;
UPDATE page_closure SET depth = 9 WHERE ancestor = 1 AND descendant = 4;
DELETE FROM page WHERE id = 3;
INSERT INTO page VALUES (1, NULL, 'Handbook', 12, '1'), (6, 1, 'Index', 1, '1.6')
ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title, words = EXCLUDED.words;

-- People come, change teams, leave.
INSERT INTO employee VALUES (6, 4, 'Uma', 30);
UPDATE employee SET boss_id = 3 WHERE id = 4;
UPDATE employee SET name = 'Yann', salary = 85 WHERE id = 2;
UPDATE employee SET salary = salary + 10 WHERE boss_id IS NOT NULL;
BEGIN;
UPDATE employee SET boss_id = 1 WHERE boss_id = 2;
DELETE FROM employee WHERE id = 2;
COMMIT;
DELETE FROM employee WHERE id = 3;
DELETE FROM employee WHERE boss_id = 1;
TRUNCATE page, page_closure;
