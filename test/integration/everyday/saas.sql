-- Software as a service: every key begins with its tenant; subscriptions, invoices, what is used by the month.

CREATE TABLE tenant (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  settings jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE plan (
  code text PRIMARY KEY,
  monthly_cents int NOT NULL,
  included int NOT NULL
);

CREATE TABLE subscription (
  tenant_id uuid REFERENCES tenant ON DELETE CASCADE,
  id int,
  plan text NOT NULL REFERENCES plan ON UPDATE CASCADE,
  seats int NOT NULL DEFAULT 1,
  active daterange NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

CREATE TABLE app_user (
  tenant_id uuid REFERENCES tenant ON DELETE CASCADE,
  id int,
  email text NOT NULL,
  PRIMARY KEY (tenant_id, id)
);

CREATE TABLE project (
  tenant_id uuid REFERENCES tenant ON DELETE CASCADE,
  id int,
  name text NOT NULL,
  lead_id int,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, lead_id) REFERENCES app_user
);

CREATE TABLE api_usage (
  tenant_id uuid,
  project_id int,
  month date,
  calls int NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, project_id, month),
  FOREIGN KEY (tenant_id, project_id) REFERENCES project ON DELETE CASCADE
);

CREATE TABLE invoice (
  tenant_id uuid REFERENCES tenant ON DELETE CASCADE,
  number int,
  issued_on date NOT NULL,
  paid_on date,
  PRIMARY KEY (tenant_id, number)
);

CREATE TABLE invoice_line (
  tenant_id uuid,
  number int,
  line int,
  text text NOT NULL,
  cents int NOT NULL,
  PRIMARY KEY (tenant_id, number, line),
  FOREIGN KEY (tenant_id, number) REFERENCES invoice ON UPDATE CASCADE ON DELETE CASCADE
);

INSERT INTO tenant
VALUES ('aaaaaaaa-0000-0000-0000-000000000000', 'Alpha', '{"theme": {"dark": true}}'), ('bbbbbbbb-0000-0000-0000-000000000000', 'Beta', '{}');

INSERT INTO plan VALUES ('free', 0, 100), ('pro', 2900, 10000);

INSERT INTO subscription
VALUES ('aaaaaaaa-0000-0000-0000-000000000000', 1, 'pro', 5, '[2024-01-01,)'), ('bbbbbbbb-0000-0000-0000-000000000000', 1, 'free', 1, '[2024-02-01,)');

INSERT INTO app_user
VALUES ('aaaaaaaa-0000-0000-0000-000000000000', 1, 'al@alpha.test'), ('aaaaaaaa-0000-0000-0000-000000000000', 2, 'ally@alpha.test'),
       ('bbbbbbbb-0000-0000-0000-000000000000', 1, 'bo@beta.test');

INSERT INTO project
VALUES ('aaaaaaaa-0000-0000-0000-000000000000', 1, 'Apollo', 1), ('aaaaaaaa-0000-0000-0000-000000000000', 2, 'Artemis', NULL),
       ('bbbbbbbb-0000-0000-0000-000000000000', 1, 'Basic', 1);

INSERT INTO api_usage
VALUES ('aaaaaaaa-0000-0000-0000-000000000000', 1, '2024-01-01', 9000), ('aaaaaaaa-0000-0000-0000-000000000000', 2, '2024-01-01', 2500),
       ('bbbbbbbb-0000-0000-0000-000000000000', 1, '2024-02-01', 50);

INSERT INTO invoice
VALUES ('aaaaaaaa-0000-0000-0000-000000000000', 1, '2024-02-01', '2024-02-10'), ('aaaaaaaa-0000-0000-0000-000000000000', 2, '2024-03-01', NULL);

INSERT INTO invoice_line
VALUES ('aaaaaaaa-0000-0000-0000-000000000000', 1, 1, 'seats', 14500), ('aaaaaaaa-0000-0000-0000-000000000000', 2, 1, 'seats', 14500),
       ('aaaaaaaa-0000-0000-0000-000000000000', 2, 2, 'overage', 75);

-- The front page of a tenant.
CREATE TVIEW tv_tenant AS
SELECT
  t.id,
  t.name,
  (t.settings #>> '{theme,dark}')::boolean AS is_dark,
  (SELECT count(*) FROM app_user u WHERE u.tenant_id = t.id) AS users,
  (SELECT COALESCE(sum(s.seats), 0) FROM subscription s WHERE s.tenant_id = t.id AND upper_inf(s.active)) AS seats,
  (SELECT jsonb_agg(p.name ORDER BY p.name, p.id) FROM project p WHERE p.tenant_id = t.id) AS projects
FROM tenant t;

-- What a tenant has used in a month, and what its plan includes.
CREATE TVIEW tv_month AS
SELECT
  u.tenant_id,
  u.month,
  sum(u.calls) AS calls,
  (
    SELECT COALESCE(sum(p.included * s.seats), 0)
    FROM subscription s
    JOIN plan p ON p.code = s.plan
    WHERE s.tenant_id = u.tenant_id AND s.active @> u.month
  ) AS included,
  jsonb_object_agg(p.name, u.calls ORDER BY p.id) AS by_project
FROM api_usage u
JOIN project p ON p.tenant_id = u.tenant_id AND p.id = u.project_id
GROUP BY u.tenant_id, u.month;

-- Invoices with their lines and sums.
CREATE TVIEW tv_invoice AS
SELECT
  i.tenant_id,
  i.number,
  jsonb_build_object(
    'to', t.name,
    'issued', i.issued_on,
    'due', i.issued_on + 30,
    'paid', i.paid_on IS NOT NULL,
    'total', (SELECT sum(l.cents) FROM invoice_line l WHERE (l.tenant_id, l.number) = (i.tenant_id, i.number)),
    'lines', (
      SELECT jsonb_agg(jsonb_build_object('text', l.text, 'euro', round(l.cents / 100.0, 2)) ORDER BY l.line)
      FROM invoice_line l
      WHERE l.tenant_id = i.tenant_id AND l.number = i.number
    )
  ) AS data
FROM invoice i
JOIN tenant t ON t.id = i.tenant_id;

-- Plans: what they bring in by the month.
CREATE TVIEW tv_plan AS
SELECT p.code, count(DISTINCT s.tenant_id) AS tenants, COALESCE(sum(s.seats), 0) * p.monthly_cents AS monthly
FROM plan p
LEFT JOIN subscription s ON s.plan = p.code AND upper_inf(s.active)
GROUP BY p.code;

-- A project under its tenant's name, with whoever leads it and the months of the most calls.
CREATE TVIEW tv_project AS
SELECT
  p.tenant_id,
  p.id,
  p.name,
  t.name AS tenant,
  u.email AS lead,
  best.months
FROM project p
JOIN tenant t ON t.id = p.tenant_id
LEFT JOIN app_user u USING (tenant_id)
LEFT JOIN LATERAL (
  SELECT array_agg(b.month ORDER BY b.calls DESC, b.month) AS months
  FROM (
    SELECT a.month, a.calls FROM api_usage a
    WHERE a.tenant_id = p.tenant_id AND a.project_id = p.id
    ORDER BY a.calls DESC, a.month LIMIT 2
  ) b
) best ON true
WHERE u.id IS NOT DISTINCT FROM p.lead_id;

-- All that is owed, in one row. It is always there.
-- always there
CREATE TVIEW tv_owed WITH (key = 'id') AS
SELECT 1 AS id, COALESCE(sum(l.cents), 0) AS cents, count(DISTINCT l.tenant_id) AS tenants
FROM invoice i
JOIN invoice_line l USING (tenant_id, number)
WHERE i.paid_on IS NULL;

-- Tenants sign up, use, pay, leave.
BEGIN;
INSERT INTO tenant VALUES ('cccccccc-0000-0000-0000-000000000000', 'Gamma');
INSERT INTO app_user VALUES ('cccccccc-0000-0000-0000-000000000000', 1, 'g@gamma.test');
INSERT INTO subscription VALUES ('cccccccc-0000-0000-0000-000000000000', 1, 'pro', 2, '[2024-03-01,)');
INSERT INTO project VALUES ('cccccccc-0000-0000-0000-000000000000', 1, 'Go', 1);
COMMIT;
INSERT INTO api_usage VALUES ('cccccccc-0000-0000-0000-000000000000', 1, '2024-03-01', 10), ('aaaaaaaa-0000-0000-0000-000000000000', 1, '2024-01-01', 1)
ON CONFLICT (tenant_id, project_id, month) DO UPDATE SET calls = api_usage.calls + EXCLUDED.calls;
UPDATE api_usage SET month = '2024-02-01' WHERE project_id = 2;
UPDATE api_usage SET project_id = 2 WHERE project_id = 1 AND tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000';
INSERT INTO plan VALUES ('team', 1900, 1000);
UPDATE subscription SET plan = 'team' WHERE tenant_id = 'bbbbbbbb-0000-0000-0000-000000000000';
UPDATE subscription SET seats = seats * 2;
UPDATE subscription SET active = '[2024-01-01,2024-01-15)' WHERE tenant_id = 'aaaaaaaa-0000-0000-0000-000000000000';
UPDATE plan SET monthly_cents = 3900, included = 20000 WHERE code = 'pro';
UPDATE plan SET code = 'business' WHERE code = 'pro';
DELETE FROM plan WHERE code = 'free';
UPDATE tenant SET name = 'Alpha AG', settings = jsonb_set(settings, '{theme,dark}', 'false') WHERE name = 'Alpha';
UPDATE app_user SET email = 'allie@alpha.test' WHERE id = 2;
INSERT INTO app_user VALUES ('bbbbbbbb-0000-0000-0000-000000000000', 2, 'bea@beta.test');
UPDATE app_user SET email = 'al@alpha.example' WHERE email = 'al@alpha.test';
UPDATE project SET lead_id = 2 WHERE id = 1 AND tenant_id <> 'cccccccc-0000-0000-0000-000000000000';
UPDATE project SET name = 'Zeus', lead_id = 1 WHERE id = 2;
INSERT INTO invoice VALUES ('bbbbbbbb-0000-0000-0000-000000000000', 1, '2024-03-01');
INSERT INTO invoice_line VALUES ('bbbbbbbb-0000-0000-0000-000000000000', 1, 1, 'seat', 1900);
UPDATE invoice_line SET cents = cents - 100, text = 'seats, less a rebate' WHERE line = 1;
UPDATE invoice SET paid_on = '2024-03-05' WHERE number = 2;
UPDATE invoice SET number = 3 WHERE number = 2;
UPDATE invoice SET issued_on = '2024-03-02' WHERE number = 1;
BEGIN;
DELETE FROM invoice_line WHERE line = 2;
SAVEPOINT s;
DELETE FROM tenant;
ROLLBACK TO SAVEPOINT s;
DELETE FROM tenant WHERE name = 'Beta';
COMMIT;
DELETE FROM project WHERE id = 2;
DELETE FROM subscription;
DELETE FROM invoice WHERE number = 3;
TRUNCATE api_usage;
UPDATE plan SET code = code || '!';
