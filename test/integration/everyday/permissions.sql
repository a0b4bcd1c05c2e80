-- Permissions: users in groups, groups in groups, roles that grant, documents that are shared.

CREATE TYPE access AS ENUM ('read', 'write', 'own');

CREATE TABLE users (
  id int PRIMARY KEY,
  name text NOT NULL,
  disabled_at timestamptz
);

CREATE TABLE groups (
  id int PRIMARY KEY,
  name text NOT NULL UNIQUE
);

-- Every group is in itself, and in the groups above: whoever changes the tree keeps this.
CREATE TABLE group_closure (
  ancestor_id int REFERENCES groups ON DELETE CASCADE,
  group_id int REFERENCES groups ON DELETE CASCADE,
  PRIMARY KEY (ancestor_id, group_id)
);

CREATE TABLE membership (
  group_id int REFERENCES groups ON DELETE CASCADE,
  user_id int REFERENCES users ON DELETE CASCADE,
  is_admin boolean NOT NULL DEFAULT false,
  PRIMARY KEY (group_id, user_id)
);

CREATE TABLE role (
  name text PRIMARY KEY,
  permissions text[] NOT NULL DEFAULT '{}'
);

CREATE TABLE group_role (
  group_id int REFERENCES groups ON DELETE CASCADE,
  role text REFERENCES role ON UPDATE CASCADE ON DELETE CASCADE,
  PRIMARY KEY (group_id, role)
);

CREATE TABLE document (
  id int PRIMARY KEY,
  owner_id int NOT NULL REFERENCES users ON DELETE CASCADE,
  title text NOT NULL,
  is_public boolean NOT NULL DEFAULT false
);

CREATE TABLE user_grant (
  document_id int REFERENCES document ON DELETE CASCADE,
  user_id int REFERENCES users ON DELETE CASCADE,
  access access NOT NULL,
  PRIMARY KEY (document_id, user_id)
);

CREATE TABLE group_grant (
  document_id int REFERENCES document ON DELETE CASCADE,
  group_id int REFERENCES groups ON DELETE CASCADE,
  access access NOT NULL,
  PRIMARY KEY (document_id, group_id)
);

INSERT INTO users VALUES (1, 'ada', NULL), (2, 'bo', NULL), (3, 'cy', NULL), (4, 'dee', '2024-01-01');

INSERT INTO groups VALUES (1, 'all'), (2, 'staff'), (3, 'ops');

INSERT INTO group_closure VALUES (1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3);

INSERT INTO membership VALUES (1, 1, false), (2, 2, true), (3, 3, false), (3, 4, false);

INSERT INTO role VALUES ('viewer', '{view}'), ('editor', '{view,edit}'), ('unused', '{nothing}');

INSERT INTO group_role VALUES (1, 'viewer'), (2, 'editor');

INSERT INTO document VALUES (1, 1, 'Plan', false), (2, 2, 'Budget', false), (3, 1, 'Menu', true);

INSERT INTO user_grant VALUES (2, 1, 'read'), (1, 4, 'write');

INSERT INTO group_grant VALUES (1, 2, 'write'), (2, 3, 'read');

-- Who may do what with which document. The document is a grant's and the user a membership's.
-- refused: is spread over
-- way out: the table that links the two
CREATE TVIEW tv_access WITH (key = 'document_id, user_id') AS
SELECT g.document_id, m.user_id, max(g.access) AS access
FROM group_grant g
JOIN group_closure c ON c.ancestor_id = g.group_id
JOIN membership m ON m.group_id = c.group_id
GROUP BY g.document_id, m.user_id;

-- A row for each document serves the same question.
CREATE TVIEW tv_access AS
SELECT
  d.id,
  d.title,
  (
    SELECT jsonb_object_agg(best.user_id, best.access ORDER BY best.user_id)
    FROM (
      SELECT every.user_id, max(every.access) AS access
      FROM (
        SELECT d.owner_id AS user_id, 'own'::access AS access
        UNION ALL
        SELECT u.user_id, u.access FROM user_grant u WHERE u.document_id = d.id
        UNION ALL
        SELECT m.user_id, g.access
        FROM group_grant g
        JOIN group_closure c ON c.ancestor_id = g.group_id
        JOIN membership m ON m.group_id = c.group_id
        WHERE g.document_id = d.id
      ) every
      JOIN users u ON u.id = every.user_id AND u.disabled_at IS NULL
      GROUP BY every.user_id
    ) best
  ) AS users
FROM document d;

-- What a user may do.
CREATE TVIEW tv_user AS
SELECT
  u.id,
  u.name,
  (
    SELECT COALESCE(array_agg(DISTINCT permission.name ORDER BY permission.name), '{}')
    FROM membership m
    JOIN group_closure c ON c.group_id = m.group_id
    JOIN group_role gr ON gr.group_id = c.ancestor_id
    JOIN role r ON r.name = gr.role
    CROSS JOIN LATERAL unnest(r.permissions) AS permission (name)
    WHERE m.user_id = u.id
  ) AS permissions,
  (SELECT bool_or(m.is_admin) FROM membership m WHERE m.user_id = u.id) AS is_admin
FROM users u
WHERE u.disabled_at IS NULL;

-- The documents a user finds on the first page: own ones, and those that are shared.
CREATE TVIEW tv_desk AS
SELECT u.id, u.name, COALESCE(own.titles, '[]') AS own, COALESCE(shared.titles, '[]') AS shared
FROM users u
LEFT JOIN (
  SELECT d.owner_id, jsonb_agg(d.title ORDER BY d.title, d.id) AS titles FROM document d GROUP BY d.owner_id
) own ON own.owner_id = u.id
LEFT JOIN (
  SELECT g.user_id, jsonb_agg(d.title ORDER BY d.title, d.id) AS titles
  FROM user_grant g
  JOIN document d ON d.id = g.document_id
  GROUP BY g.user_id
) shared ON shared.user_id = u.id;

-- Groups with all that are in them, also through other groups.
CREATE TVIEW tv_group AS
WITH member AS MATERIALIZED (
  SELECT c.ancestor_id, m.user_id
  FROM group_closure c
  JOIN membership m ON m.group_id = c.group_id
)
SELECT g.id, g.name, count(DISTINCT member.user_id) AS members, array_agg(DISTINCT u.name ORDER BY u.name) FILTER (WHERE u.disabled_at IS NULL) AS names
FROM groups g
LEFT JOIN member ON member.ancestor_id = g.id
LEFT JOIN users u ON u.id = member.user_id
GROUP BY g.id;

-- Roles nobody needs. NOT EXISTS is linked by its equality.
CREATE TVIEW tv_unused_role WITH (key = 'name') AS
SELECT r.name, r.permissions FROM role r WHERE NOT EXISTS (SELECT FROM group_role g WHERE g.role = r.name);

-- Public documents, by a condition that nothing but the document decides; and whether somebody may write them who is in no group.
CREATE TVIEW tv_public AS
SELECT
  d.id,
  d.title,
  EXISTS (
    SELECT FROM user_grant g
    WHERE g.document_id = d.id AND g.access >= 'write' AND g.user_id NOT IN (SELECT m.user_id FROM membership m WHERE m.user_id = g.user_id)
  ) AS is_loose
FROM document d
WHERE d.is_public;

-- Changes of every kind.
DELETE FROM group_closure WHERE ancestor_id = 2 AND group_id = 3;
INSERT INTO group_closure VALUES (2, 3);
INSERT INTO document VALUES (4, 3, 'Notes', false);
INSERT INTO membership VALUES (3, 1, true);
UPDATE membership SET is_admin = true WHERE user_id = 3;
UPDATE membership SET group_id = 2 WHERE user_id = 3;
DELETE FROM membership WHERE user_id = 1 AND group_id = 3;
INSERT INTO role VALUES ('auditor', '{audit}'), ('viewer', '{view,list}') ON CONFLICT (name) DO UPDATE SET permissions = EXCLUDED.permissions;
INSERT INTO group_role VALUES (3, 'auditor');
UPDATE role SET name = 'reviser' WHERE name = 'editor';
UPDATE group_role SET group_id = 2 WHERE role = 'auditor';
DELETE FROM group_role WHERE role = 'viewer';
UPDATE role SET permissions = permissions || 'more'::text WHERE name = 'viewer';
UPDATE document SET owner_id = 3 WHERE id = 1;
UPDATE document SET is_public = true, title = 'The plan' WHERE id = 1;
UPDATE document SET title = 'The bill of fare' WHERE id = 3;
INSERT INTO user_grant VALUES (1, 3, 'read'), (3, 2, 'write');
UPDATE user_grant SET access = 'own' WHERE document_id = 2;
UPDATE user_grant SET user_id = 2 WHERE document_id = 2;
UPDATE user_grant SET document_id = 3 WHERE user_id = 4;
INSERT INTO membership VALUES (1, 4, false);
DELETE FROM membership WHERE user_id IN (2, 4);
UPDATE user_grant SET access = 'read' WHERE document_id = 3;
INSERT INTO group_grant VALUES (3, 1, 'read') ON CONFLICT DO NOTHING;
UPDATE group_grant SET access = 'read' WHERE document_id = 1;
DELETE FROM group_grant WHERE document_id = 2;
UPDATE users SET disabled_at = NULL WHERE id = 4;
UPDATE users SET disabled_at = '2024-02-02' WHERE id = 1;
INSERT INTO users VALUES (5, 'eve');
UPDATE users SET name = 'bobo' WHERE id = 2;

-- A group moves from one to another, with those that are in it; a new one comes.
DELETE FROM group_closure WHERE ancestor_id = 2 AND group_id = 3;
BEGIN;
INSERT INTO membership VALUES (3, 5, false);
INSERT INTO group_closure VALUES (2, 3);
SAVEPOINT wrong;
DELETE FROM group_closure WHERE group_id = 1;
ROLLBACK TO SAVEPOINT wrong;
COMMIT;
INSERT INTO groups VALUES (4, 'guests');
UPDATE groups SET name = 'everybody' WHERE id = 1;
BEGIN;
INSERT INTO group_closure VALUES (4, 4), (1, 4);
INSERT INTO membership SELECT 4, id FROM users ON CONFLICT DO NOTHING;
COMMIT;
DELETE FROM groups WHERE id = 2;
DELETE FROM users WHERE id IN (2, 3);
DELETE FROM document WHERE is_public;
DELETE FROM role;
