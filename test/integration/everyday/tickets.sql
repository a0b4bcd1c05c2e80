-- A tracker of tickets: tickets are numbered within their project, and a board shows them by status.

CREATE TYPE status AS ENUM ('open', 'doing', 'review', 'done');

CREATE DOMAIN points AS int CHECK (VALUE BETWEEN 0 AND 100);

CREATE TABLE project (
  key text PRIMARY KEY,
  name text NOT NULL,
  archived boolean NOT NULL DEFAULT false
);

CREATE TABLE person (
  id int PRIMARY KEY,
  name text NOT NULL,
  team text
);

CREATE TABLE ticket (
  project text REFERENCES project ON UPDATE CASCADE ON DELETE CASCADE,
  number int,
  title text NOT NULL,
  status status NOT NULL DEFAULT 'open',
  points points,
  due date,
  assignee int REFERENCES person ON DELETE SET NULL,
  PRIMARY KEY (project, number)
);

CREATE INDEX ON ticket (assignee);

CREATE TABLE label (
  id int PRIMARY KEY,
  name text NOT NULL,
  colour text NOT NULL DEFAULT 'grey'
);

CREATE TABLE ticket_label (
  project text,
  number int,
  label_id int REFERENCES label ON DELETE CASCADE,
  PRIMARY KEY (project, number, label_id),
  FOREIGN KEY (project, number) REFERENCES ticket ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE blocks (
  project text,
  number int,
  blocker_project text,
  blocker_number int,
  PRIMARY KEY (project, number, blocker_project, blocker_number),
  FOREIGN KEY (project, number) REFERENCES ticket ON UPDATE CASCADE ON DELETE CASCADE,
  FOREIGN KEY (blocker_project, blocker_number) REFERENCES ticket ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE event (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  project text NOT NULL,
  number int NOT NULL,
  at timestamptz NOT NULL,
  status status NOT NULL,
  FOREIGN KEY (project, number) REFERENCES ticket ON UPDATE CASCADE ON DELETE CASCADE
);

INSERT INTO project VALUES ('WEB', 'Website', false), ('OPS', 'Operations', false), ('OLD', 'Old', true);

INSERT INTO person VALUES (1, 'Ina', 'web'), (2, 'Jo', 'ops'), (3, 'Kit', NULL);

INSERT INTO ticket
VALUES ('WEB', 1, 'Header', 'done', 3, '2024-01-10', 1), ('WEB', 2, 'Footer', 'doing', 5, '2024-02-01', 1),
       ('WEB', 3, 'Search', 'open', 8, NULL, NULL), ('OPS', 1, 'Backups', 'review', 2, '2024-01-20', 2);

INSERT INTO label VALUES (1, 'bug', 'red'), (2, 'idea', 'green');

INSERT INTO ticket_label VALUES ('WEB', 2, 1), ('WEB', 3, 2), ('OPS', 1, 1);

INSERT INTO blocks VALUES ('WEB', 3, 'WEB', 2), ('WEB', 2, 'OPS', 1);

INSERT INTO event (project, number, at, status)
VALUES ('WEB', 1, '2024-01-01', 'open'), ('WEB', 1, '2024-01-05', 'doing'), ('WEB', 1, '2024-01-09', 'done'), ('OPS', 1, '2024-01-02', 'open');

-- A ticket with its labels, and what keeps it from going on.
CREATE TVIEW tv_ticket AS
SELECT
  t.project,
  t.number,
  jsonb_build_object(
    'id', format('%s-%s', t.project, t.number),
    'title', t.title,
    'status', t.status,
    'points', t.points,
    'assignee', p.name,
    'labels', ARRAY(
      SELECT l.name
      FROM ticket_label tl
      JOIN label l ON l.id = tl.label_id
      WHERE tl.project = t.project AND tl.number = t.number
      ORDER BY l.name, l.id
    ),
    'blocked_by', (
      SELECT jsonb_agg(b.blocker_project || '-' || b.blocker_number ORDER BY b.blocker_project, b.blocker_number)
      FROM blocks b
      JOIN ticket o ON o.project = b.blocker_project AND o.number = b.blocker_number
      WHERE (b.project, b.number) = (t.project, t.number) AND o.status <> 'done'
    )
  ) AS data
FROM ticket t
LEFT JOIN person p ON p.id = t.assignee
WHERE EXISTS (SELECT FROM project x WHERE x.key = t.project AND NOT x.archived);

-- The board: a row for each column of it.
CREATE TVIEW tv_board AS
SELECT
  t.project,
  t.status,
  count(*) AS tickets,
  sum(t.points) AS points,
  jsonb_agg(jsonb_build_object('number', t.number, 'title', t.title) ORDER BY t.due NULLS LAST, t.number) AS cards
FROM ticket t
GROUP BY t.project, t.status;

-- Who has how much to do.
CREATE TVIEW tv_person AS
SELECT
  p.id,
  p.name,
  count(t.number) FILTER (WHERE t.status IN ('open', 'doing')) AS to_do,
  count(t.number) FILTER (WHERE t.status = 'done') AS done,
  COALESCE(sum(t.points) FILTER (WHERE t.status <> 'done'), 0) AS points,
  min(t.due) FILTER (WHERE t.status <> 'done') AS next_due
FROM person p
LEFT JOIN ticket t ON t.assignee = p.id
GROUP BY p.id;

-- Each step of a ticket, and how long it had been where it was.
CREATE TVIEW tv_event AS
SELECT
  e.id,
  e.project,
  e.number,
  e.status,
  lag(e.status) OVER w AS came_from,
  e.at - lag(e.at) OVER w AS after,
  row_number() OVER w AS step
FROM event e
WINDOW w AS (PARTITION BY e.project, e.number ORDER BY e.at, e.id);

-- A project is blocked if each of its open tickets is.
CREATE TVIEW tv_project AS
WITH open_ticket AS (
  SELECT t.project, t.number FROM ticket t WHERE t.status <> 'done'
)
SELECT
  p.key,
  p.name,
  (SELECT count(*) FROM open_ticket o WHERE o.project = p.key) AS open,
  NOT EXISTS (
    SELECT FROM open_ticket o
    WHERE o.project = p.key AND NOT EXISTS (SELECT FROM blocks b WHERE b.project = o.project AND b.number = o.number)
  ) AS is_blocked,
  (SELECT string_agg(DISTINCT a.team, ', ' ORDER BY a.team) FROM ticket t JOIN person a ON a.id = t.assignee WHERE t.project = p.key) AS teams
FROM project p
WHERE NOT p.archived;

-- What is late is known to the clock, which changes no table.
-- refused: CURRENT_DATE is not supported in a tview
-- way out: in the query that reads the tview
CREATE TVIEW tv_late AS
SELECT t.project, t.number, t.title FROM ticket t WHERE t.due < CURRENT_DATE AND t.status <> 'done';

CREATE TVIEW tv_late AS
SELECT t.project, t.number, t.title, t.due FROM ticket t WHERE t.due IS NOT NULL AND t.status <> 'done';

-- Work.
BEGIN;
INSERT INTO ticket VALUES ('OPS', 2, 'Alerts', 'open', 13, '2024-03-01', 3);
INSERT INTO event (project, number, at, status) VALUES ('OPS', 2, '2024-02-01', 'open');
INSERT INTO ticket_label VALUES ('OPS', 2, 2);
COMMIT;
UPDATE ticket SET status = 'doing' WHERE project = 'WEB' AND number = 3;
UPDATE ticket SET assignee = 3 WHERE project = 'WEB' AND number = 2;
UPDATE ticket SET title = 'Backups, tested', points = NULL WHERE project = 'OPS' AND number = 1;
UPDATE ticket SET due = NULL WHERE project = 'OPS' AND number = 1;
UPDATE ticket SET status = 'done' WHERE project = 'OPS' AND number = 1;
INSERT INTO event (project, number, at, status) VALUES ('WEB', 1, '2024-01-07', 'review');
UPDATE event SET at = '2024-01-03' WHERE status = 'doing';
UPDATE event SET project = 'WEB', number = 1 WHERE project = 'OPS' AND number = 1;
DELETE FROM event WHERE status = 'review';
INSERT INTO blocks VALUES ('OPS', 2, 'OPS', 1);
DELETE FROM blocks WHERE project = 'WEB' AND number = 2;
INSERT INTO blocks VALUES ('OPS', 2, 'WEB', 2), ('WEB', 3, 'WEB', 2) ON CONFLICT DO NOTHING;
UPDATE ticket_label SET label_id = 1 WHERE label_id = 2 AND project = 'OPS';
UPDATE label SET name = 'defect', colour = 'crimson' WHERE id = 1;
UPDATE person SET name = 'Kitty', team = 'web' WHERE id = 3;
INSERT INTO person VALUES (4, 'Lou', 'ops');
UPDATE project SET archived = NOT archived WHERE key IN ('OPS', 'OLD');
UPDATE project SET name = 'Web' WHERE key = 'WEB';

-- A ticket is given another number, a project another key: both cascade.
UPDATE ticket SET number = 30 WHERE project = 'WEB' AND number = 3;
UPDATE project SET key = 'SITE' WHERE key = 'WEB';
BEGIN;
UPDATE ticket SET status = 'done';
SAVEPOINT sure;
DELETE FROM project;
ROLLBACK TO SAVEPOINT sure;
DELETE FROM person WHERE id = 1;
COMMIT;
DELETE FROM label WHERE id = 1;
DELETE FROM project WHERE key = 'SITE';
