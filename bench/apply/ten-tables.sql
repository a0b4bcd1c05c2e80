-- Ten tables with a hundred rows each: what is measured is deriving and installing, not filling.
CREATE SCHEMA work;
CREATE TABLE work.account (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE work.person (id int PRIMARY KEY, account_id int NOT NULL REFERENCES work.account, name text NOT NULL);
CREATE TABLE work.project (id int PRIMARY KEY, account_id int NOT NULL REFERENCES work.account, name text NOT NULL);
CREATE TABLE work.team (id int PRIMARY KEY, project_id int NOT NULL REFERENCES work.project, name text NOT NULL);
CREATE TABLE work.membership (team_id int REFERENCES work.team, person_id int REFERENCES work.person, PRIMARY KEY (team_id, person_id));
CREATE TABLE work.task (id int PRIMARY KEY, project_id int NOT NULL REFERENCES work.project, title text NOT NULL);
CREATE TABLE work.comment (
  id int PRIMARY KEY,
  task_id int NOT NULL REFERENCES work.task,
  author_id int NOT NULL REFERENCES work.person,
  body text NOT NULL
);
CREATE TABLE work.attachment (id int PRIMARY KEY, comment_id int NOT NULL REFERENCES work.comment, bytes int NOT NULL);
CREATE TABLE work.label (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE work.task_label (task_id int REFERENCES work.task, label_id int REFERENCES work.label, PRIMARY KEY (task_id, label_id));

INSERT INTO work.account SELECT i, 'account ' || i FROM generate_series(1, 100) AS i;
INSERT INTO work.person SELECT i, i, 'person ' || i FROM generate_series(1, 100) AS i;
INSERT INTO work.project SELECT i, i, 'project ' || i FROM generate_series(1, 100) AS i;
INSERT INTO work.team SELECT i, i, 'team ' || i FROM generate_series(1, 100) AS i;
INSERT INTO work.membership SELECT i, i FROM generate_series(1, 100) AS i;
INSERT INTO work.task SELECT i, i, 'task ' || i FROM generate_series(1, 100) AS i;
INSERT INTO work.comment SELECT i, i, i, 'comment ' || i FROM generate_series(1, 100) AS i;
INSERT INTO work.attachment SELECT i, i, i FROM generate_series(1, 100) AS i;
INSERT INTO work.label SELECT i, 'label ' || i FROM generate_series(1, 100) AS i;
INSERT INTO work.task_label SELECT i, i FROM generate_series(1, 100) AS i;
ANALYZE;
