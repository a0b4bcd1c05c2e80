-- Ten tables, large enough that to read one as a whole cannot be mistaken for anything else, each link with an index.
CREATE TABLE account (id int PRIMARY KEY, name text NOT NULL, plan text NOT NULL DEFAULT 'free');
CREATE TABLE person (id int PRIMARY KEY, account_id int NOT NULL REFERENCES account, name text NOT NULL);
CREATE TABLE project (id int PRIMARY KEY, account_id int NOT NULL REFERENCES account, name text NOT NULL, is_open bool NOT NULL DEFAULT true);
CREATE TABLE team (id int PRIMARY KEY, project_id int NOT NULL REFERENCES project, name text NOT NULL);
CREATE TABLE membership (
  team_id int REFERENCES team,
  person_id int REFERENCES person,
  role text NOT NULL DEFAULT 'member',
  PRIMARY KEY (team_id, person_id)
);
CREATE TABLE task (
  id int PRIMARY KEY,
  project_id int NOT NULL REFERENCES project,
  parent_id int REFERENCES task,
  assignee_id int REFERENCES person,
  title text NOT NULL,
  state text NOT NULL DEFAULT 'open',
  points int NOT NULL DEFAULT 1
);
CREATE TABLE comment (
  id int PRIMARY KEY,
  task_id int NOT NULL REFERENCES task ON DELETE CASCADE,
  author_id int NOT NULL REFERENCES person,
  body text NOT NULL
);
CREATE TABLE attachment (id int PRIMARY KEY, comment_id int NOT NULL REFERENCES comment ON DELETE CASCADE, bytes int NOT NULL);
CREATE TABLE label (id int PRIMARY KEY, account_id int NOT NULL REFERENCES account, name text NOT NULL);
CREATE TABLE task_label (task_id int REFERENCES task ON DELETE CASCADE, label_id int REFERENCES label, PRIMARY KEY (task_id, label_id));

CREATE INDEX ON person (account_id);
CREATE INDEX ON project (account_id);
CREATE INDEX ON team (project_id);
CREATE INDEX ON membership (person_id);
CREATE INDEX ON task (project_id);
CREATE INDEX ON task (parent_id);
CREATE INDEX ON task (assignee_id);
CREATE INDEX ON comment (task_id);
CREATE INDEX ON comment (author_id);
CREATE INDEX ON attachment (comment_id);
CREATE INDEX ON label (account_id);
CREATE INDEX ON task_label (label_id);

-- Spread, so that no table's order helps: 7919 has no divisor in common with the numbers of rows.
INSERT INTO account SELECT i, 'account ' || i FROM generate_series(1, 4000) AS i;
INSERT INTO person SELECT i, 1 + i * 7919 % 4000, 'person ' || i FROM generate_series(1, 12000) AS i;
INSERT INTO project SELECT i, 1 + i * 7919 % 4000, 'project ' || i FROM generate_series(1, 8000) AS i;
INSERT INTO team SELECT i, 1 + i * 7919 % 8000, 'team ' || i FROM generate_series(1, 12000) AS i;
INSERT INTO membership SELECT 1 + i % 12000, 1 + i * 7919 % 12000 FROM generate_series(1, 24000) AS i ON CONFLICT DO NOTHING;
INSERT INTO task
SELECT i, 1 + i * 7919 % 8000, CASE WHEN i > 8000 THEN 1 + i * 7919 % 8000 END, 1 + i * 7919 % 12000, 'task ' || i
FROM generate_series(1, 20000) AS i;
INSERT INTO comment SELECT i, 1 + i * 7919 % 20000, 1 + i * 6007 % 12000, 'comment ' || i FROM generate_series(1, 40000) AS i;
INSERT INTO attachment SELECT i, 1 + i * 7919 % 40000, i FROM generate_series(1, 20000) AS i;
INSERT INTO label SELECT i, 1 + i * 7919 % 4000, 'label ' || i FROM generate_series(1, 12000) AS i;
INSERT INTO task_label SELECT 1 + i % 20000, 1 + i * 7919 % 12000 FROM generate_series(1, 40000) AS i ON CONFLICT DO NOTHING;
ANALYZE;
