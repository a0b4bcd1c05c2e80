-- Customers to be: companies, contacts, deals on their way through stages; nothing is deleted for good.

CREATE TYPE stage AS ENUM ('lead', 'offer', 'won', 'lost');

CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');

CREATE TABLE company (
  id int PRIMARY KEY,
  name text NOT NULL,
  vat_id text,
  deleted_at timestamptz
);

CREATE TABLE contact (
  id int PRIMARY KEY,
  company_id int REFERENCES company ON DELETE SET NULL,
  name text NOT NULL,
  email email NOT NULL,
  deleted_at timestamptz
);

CREATE TABLE seller (
  id int PRIMARY KEY,
  name text NOT NULL,
  quota numeric(12, 2) NOT NULL
);

CREATE TABLE deal (
  id int PRIMARY KEY,
  company_id int NOT NULL REFERENCES company ON DELETE CASCADE,
  seller_id int NOT NULL REFERENCES seller,
  stage stage NOT NULL DEFAULT 'lead',
  amount numeric(12, 2) NOT NULL,
  probability real NOT NULL DEFAULT 0.5
);

CREATE TABLE activity (
  id int PRIMARY KEY,
  contact_id int REFERENCES contact ON DELETE CASCADE,
  deal_id int REFERENCES deal ON DELETE CASCADE,
  kind text NOT NULL,
  at timestamp NOT NULL,
  CHECK (num_nonnulls(contact_id, deal_id) = 1)
);

INSERT INTO company VALUES (1, 'Acme', 'NL1', NULL), (2, 'Bolt', NULL, NULL), (3, 'Gone', NULL, '2023-01-01');

INSERT INTO contact VALUES (1, 1, 'Ann', 'ann@acme.test', NULL), (2, 1, 'Abe', 'abe@acme.test', NULL), (3, 2, 'Ann B', 'ann@acme.test', NULL);

INSERT INTO seller VALUES (1, 'Sue', 1000), (2, 'Tim', 2000);

INSERT INTO deal VALUES (1, 1, 1, 'offer', 500, 0.5), (2, 1, 2, 'won', 900, 1), (3, 2, 1, 'lead', 100, 0.1);

INSERT INTO activity VALUES (1, 1, NULL, 'call', '2024-01-01 10:00'), (2, NULL, 1, 'mail', '2024-01-02 11:00'), (3, 3, NULL, 'call', '2024-01-03 12:00');

CREATE VIEW live_company AS SELECT id, name, vat_id FROM company WHERE deleted_at IS NULL;

CREATE VIEW live_contact AS
SELECT c.id, c.company_id, c.name, c.email FROM contact c WHERE c.deleted_at IS NULL;

-- A company with its people, its deals, and the last thing that happened.
CREATE TVIEW tv_company AS
SELECT
  c.id,
  jsonb_build_object(
    'name', c.name,
    'vat', COALESCE(c.vat_id, 'unknown'),
    'contacts', (SELECT jsonb_agg(jsonb_build_object('name', p.name, 'email', p.email) ORDER BY p.name, p.id) FROM live_contact p WHERE p.company_id = c.id),
    'open', (SELECT COALESCE(sum(d.amount), 0) FROM deal d WHERE d.company_id = c.id AND d.stage IN ('lead', 'offer')),
    'won', (SELECT count(*) FROM deal d WHERE d.company_id = c.id AND d.stage = 'won'),
    'last', (
      SELECT max(a.at)
      FROM activity a
      JOIN live_contact p ON p.id = a.contact_id
      WHERE p.company_id = c.id
    )
  ) AS data
FROM live_company c;

-- The pipeline: a seller's deals by stage.
CREATE TVIEW tv_pipeline AS
SELECT
  d.seller_id,
  d.stage,
  s.name AS seller,
  count(*) AS deals,
  sum(d.amount) AS amount,
  sum(round(d.amount * d.probability::numeric, 2)) AS expected
FROM deal d
JOIN seller s ON s.id = d.seller_id
GROUP BY d.seller_id, d.stage, s.name;

-- How far sellers are, against their quota.
CREATE TVIEW tv_seller AS
SELECT
  s.id,
  s.name,
  round(100 * COALESCE(w.won, 0) / NULLIF(s.quota, 0)) AS percent,
  CASE WHEN COALESCE(w.won, 0) >= s.quota THEN 'made it' WHEN w.won IS NULL THEN 'nothing yet' ELSE 'on the way' END AS state
FROM seller s
LEFT JOIN (SELECT seller_id, sum(amount) AS won FROM deal WHERE stage = 'won' GROUP BY seller_id) w ON w.seller_id = s.id;

-- People entered twice.
CREATE TVIEW tv_double WITH (key = 'email') AS
SELECT p.email, count(*) AS times, jsonb_agg(jsonb_build_object('id', p.id, 'company', c.name) ORDER BY p.id) AS contacts
FROM live_contact p
LEFT JOIN live_company c ON c.id = p.company_id
GROUP BY p.email
HAVING count(*) > 1;

-- The same, with the letters' case left out of account.
CREATE TVIEW tv_address AS
SELECT lower(p.email) AS address, count(*) AS times, bool_and(p.deleted_at IS NOT NULL) AS is_gone FROM contact p GROUP BY lower(p.email);

-- What has happened, to contacts and to deals: one of two tables has the name.
CREATE TVIEW tv_activity AS
SELECT
  a.id,
  a.kind,
  to_char(a.at, 'DD Mon YYYY HH24:MI') AS at,
  COALESCE(p.name, format('%s (%s)', c.name, d.stage)) AS about
FROM activity a
LEFT JOIN contact p ON p.id = a.contact_id
LEFT JOIN deal d ON d.id = a.deal_id
LEFT JOIN company c ON c.id = d.company_id
WHERE p.deleted_at IS NULL;

-- A day's work.
INSERT INTO deal VALUES (4, 2, 2, 'offer', 250.50, 0.25);
UPDATE deal SET stage = 'won', probability = 1 WHERE id = 1;
UPDATE deal SET amount = 750 WHERE id = 1;
UPDATE deal SET seller_id = 2 WHERE id = 3;
UPDATE deal SET company_id = 1 WHERE id = 4;
BEGIN;
UPDATE deal SET stage = 'lost';
SAVEPOINT s;
UPDATE deal SET stage = 'won' WHERE id = 2;
ROLLBACK TO SAVEPOINT s;
UPDATE deal SET stage = 'offer' WHERE id = 4;
COMMIT;
INSERT INTO activity VALUES (4, 2, NULL, 'visit', '2024-01-04 09:30'), (5, NULL, 2, 'mail', '2024-01-05 09:30');
UPDATE activity SET at = '2024-02-01 08:00' WHERE id = 1;
UPDATE activity SET contact_id = NULL, deal_id = 2 WHERE id = 3;
DELETE FROM activity WHERE id = 2;
INSERT INTO contact VALUES (4, 2, 'Bob', 'BOB@bolt.test'), (5, 2, 'Bob', 'bob@bolt.test');
UPDATE contact SET email = 'bob@bolt.test' WHERE id = 4;
UPDATE contact SET company_id = 2 WHERE id = 1;
UPDATE contact SET deleted_at = '2024-03-01' WHERE id = 1;
UPDATE contact SET name = 'Abel' WHERE id = 2;
UPDATE contact SET deleted_at = NULL WHERE id = 1;
UPDATE company SET name = 'Bolt Ltd', vat_id = 'B9' WHERE id = 2;
UPDATE company SET deleted_at = '2024-03-02' WHERE id = 2;
UPDATE company SET deleted_at = NULL WHERE id IN (2, 3);
UPDATE company SET name = 'Acme Corp' WHERE id = 1;
UPDATE seller SET name = 'Susan', quota = 700 WHERE id = 1;
INSERT INTO seller VALUES (3, 'Una', 0) ON CONFLICT (id) DO NOTHING;
DELETE FROM seller WHERE id = 3;
INSERT INTO company VALUES (1, 'Acme', 'NL1'), (4, 'New', NULL) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, deleted_at = '2024-04-01';
BEGIN;
DELETE FROM contact WHERE id = 3;
DELETE FROM deal WHERE id = 1;
COMMIT;
DELETE FROM contact WHERE email LIKE 'bob%';
DELETE FROM company WHERE id = 1;
DELETE FROM deal;
