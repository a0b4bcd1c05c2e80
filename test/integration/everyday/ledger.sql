-- A ledger: accounts, transfers, entries that are never changed (but for mistakes), balances that are computed.

CREATE TYPE account_kind AS ENUM ('asset', 'liability', 'income', 'expense');

CREATE TABLE currency (
  code char(3) PRIMARY KEY,
  rate numeric(12, 6) NOT NULL
);

CREATE TABLE holder (
  id int PRIMARY KEY,
  name text NOT NULL
);

CREATE TABLE account (
  id int PRIMARY KEY,
  holder_id int REFERENCES holder ON DELETE RESTRICT,
  kind account_kind NOT NULL,
  currency char(3) NOT NULL REFERENCES currency,
  iban text UNIQUE,
  closed boolean NOT NULL DEFAULT false
);

CREATE TABLE transfer (
  id bigint PRIMARY KEY,
  memo text,
  booked_on date NOT NULL,
  UNIQUE (id, booked_on)
);

CREATE TABLE entry (
  id bigint PRIMARY KEY,
  transfer_id bigint NOT NULL,
  booked_on date NOT NULL,
  account_id int NOT NULL REFERENCES account,
  amount numeric(14, 2) NOT NULL CHECK (amount <> 0),
  FOREIGN KEY (transfer_id, booked_on) REFERENCES transfer (id, booked_on) ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);

CREATE INDEX ON entry (account_id);

INSERT INTO currency VALUES ('EUR', 1), ('USD', 0.92), ('JPY', 0.0061);

INSERT INTO holder VALUES (1, 'Mia'), (2, 'Noah');

INSERT INTO account
VALUES (1, 1, 'asset', 'EUR', 'NL01', false), (2, 1, 'asset', 'USD', NULL, false), (3, 2, 'asset', 'EUR', 'NL02', false),
       (4, NULL, 'income', 'EUR', NULL, false);

INSERT INTO transfer VALUES (1, 'opening', '2024-01-01'), (2, 'rent', '2024-01-03'), (3, NULL, '2024-01-04');

INSERT INTO entry
VALUES (1, 1, '2024-01-01', 1, 1000), (2, 1, '2024-01-01', 4, -1000), (3, 2, '2024-01-03', 1, -400),
       (4, 2, '2024-01-03', 3, 400), (5, 3, '2024-01-04', 2, 10);

CREATE VIEW posting AS
SELECT e.id, e.account_id, e.amount, e.booked_on, t.memo, t.id AS transfer_id
FROM entry e
JOIN transfer t ON t.id = e.transfer_id;

-- Balances.
CREATE TVIEW tv_account AS
SELECT
  a.id,
  a.iban,
  a.currency,
  COALESCE(sum(p.amount), 0) AS balance,
  COALESCE(round(sum(p.amount) * c.rate, 2), 0) AS in_euro,
  count(p.id) AS postings,
  count(p.id) FILTER (WHERE p.memo IS NULL) AS unexplained,
  max(p.booked_on) AS last
FROM account a
JOIN currency c ON c.code = a.currency
LEFT JOIN posting p ON p.account_id = a.id
WHERE NOT a.closed
GROUP BY a.id, c.rate;

-- The statement of an account, with the balance after each posting.
CREATE TVIEW tv_statement WITH (key = 'account_id') AS
SELECT
  s.account_id,
  jsonb_agg(jsonb_build_object('on', s.booked_on, 'memo', s.memo, 'amount', s.amount, 'balance', s.balance) ORDER BY s.booked_on, s.id) AS lines
FROM (
  SELECT
    p.id,
    p.account_id,
    p.booked_on,
    p.memo,
    p.amount,
    sum(p.amount) OVER (PARTITION BY p.account_id ORDER BY p.booked_on, p.id ROWS UNBOUNDED PRECEDING) AS balance
  FROM posting p
) s
GROUP BY s.account_id;

-- Who has paid whom.
CREATE TVIEW tv_transfer AS
SELECT
  t.id,
  t.booked_on,
  COALESCE(t.memo, 'no memo') AS memo,
  payer.name AS payer,
  payee.name AS payee,
  (SELECT sum(e.amount) FROM entry e WHERE e.transfer_id = t.id AND e.amount > 0) AS amount
FROM transfer t
LEFT JOIN LATERAL (
  SELECT h.name
  FROM entry e JOIN account a ON a.id = e.account_id JOIN holder h ON h.id = a.holder_id
  WHERE e.transfer_id = t.id AND e.amount < 0
  ORDER BY e.id LIMIT 1
) payer ON true
LEFT JOIN LATERAL (
  SELECT h.name
  FROM entry e JOIN account a ON a.id = e.account_id JOIN holder h ON h.id = a.holder_id
  WHERE e.transfer_id = t.id AND e.amount > 0
  ORDER BY e.id LIMIT 1
) payee ON true;

-- Transfers that do not add up, for whoever has to look at them.
CREATE TVIEW tv_unbalanced WITH (key = 'transfer_id') AS
SELECT e.transfer_id, sum(e.amount) AS off_by, array_agg(e.id ORDER BY e.id) AS entries
FROM entry e
GROUP BY e.transfer_id
HAVING sum(e.amount) <> 0;

-- The trial balance: debit and credit by kind of account and currency.
CREATE TVIEW tv_trial_balance AS
SELECT
  a.kind,
  a.currency,
  COALESCE(sum(e.amount) FILTER (WHERE e.amount > 0), 0) AS debit,
  COALESCE(-sum(e.amount) FILTER (WHERE e.amount < 0), 0) AS credit
FROM account a
JOIN entry e ON e.account_id = a.id
GROUP BY a.kind, a.currency;

-- How each account closed each day. The account is an entry's and the day a transfer's: one transaction may delete both.
-- refused: the key (account_id, booked_on) is spread over app.entry (e) and app.transfer (t)
-- way out: the table that links the two
CREATE TVIEW tv_closing WITH (key = 'account_id, booked_on') AS
SELECT e.account_id, t.booked_on, sum(e.amount) AS moved, count(DISTINCT t.memo) AS memos
FROM entry e
JOIN transfer t ON t.id = e.transfer_id
GROUP BY e.account_id, t.booked_on;

CREATE TVIEW tv_closing WITH (key = 'account_id, booked_on') AS
SELECT e.account_id, e.booked_on, sum(e.amount) AS moved, count(DISTINCT t.memo) AS memos
FROM entry e
JOIN transfer t ON t.id = e.transfer_id
GROUP BY e.account_id, e.booked_on;

-- The last posting of each account.
CREATE TVIEW tv_last_posting WITH (key = 'account_id') AS
SELECT DISTINCT ON (e.account_id) e.account_id, e.booked_on, e.amount, t.memo
FROM entry e
JOIN transfer t ON t.id = e.transfer_id
ORDER BY e.account_id, e.booked_on DESC, e.id DESC;

UPDATE transfer SET memo = 'interest' WHERE id = 3;

-- Banking. The entries first: their transfer is checked at COMMIT.
BEGIN;
INSERT INTO entry VALUES (10, 10, '2024-01-05', 3, -50), (11, 10, '2024-01-05', 1, 50);
INSERT INTO transfer VALUES (10, 'lunch', '2024-01-05');
COMMIT;
INSERT INTO transfer VALUES (11, 'fee', '2024-01-06');
INSERT INTO entry VALUES (12, 11, '2024-01-06', 1, -2.50);
INSERT INTO entry VALUES (13, 11, '2024-01-06', 2, 2.50);
UPDATE entry SET amount = 11 WHERE id = 5;
UPDATE entry SET account_id = 3 WHERE id = 11;
UPDATE transfer SET memo = 'January''s rent' WHERE id = 2;
UPDATE transfer SET booked_on = '2023-12-31' WHERE id = 2;
BEGIN;
SAVEPOINT attempt;
INSERT INTO entry VALUES (14, 3, '2024-01-04', 1, -11);
ROLLBACK TO SAVEPOINT attempt;
INSERT INTO entry VALUES (14, 3, '2024-01-04', 3, -11);
COMMIT;
UPDATE currency SET rate = 0.95 WHERE code = 'USD';
INSERT INTO account VALUES (5, 2, 'liability', 'USD', 'NL05', false);
INSERT INTO entry VALUES (16, 3, '2024-01-04', 5, 3);
UPDATE account SET closed = true WHERE id = 2;
UPDATE account SET closed = false, iban = 'NL99' WHERE id = 2;
UPDATE account SET kind = 'expense', currency = 'USD' WHERE id = 4;
UPDATE account SET holder_id = 2 WHERE id = 1;
INSERT INTO holder VALUES (3, 'Olga');
UPDATE holder SET name = 'Noa' WHERE id = 2;
DELETE FROM entry WHERE account_id = 5;
DELETE FROM account WHERE id = 5;

-- A transfer is booked to another account and another day, and a wrong one goes with its entries.
BEGIN;
UPDATE entry SET account_id = 2 WHERE id = 10;
UPDATE transfer SET booked_on = booked_on + 30, memo = NULL WHERE id = 10;
COMMIT;
DELETE FROM transfer WHERE id = 11;
INSERT INTO entry VALUES (5, 3, '2024-01-04', 2, 1), (15, 1, '2024-01-01', 2, 7) ON CONFLICT (id) DO UPDATE SET amount = EXCLUDED.amount;
DELETE FROM entry WHERE account_id = 4;
BEGIN;
DELETE FROM transfer WHERE id IN (1, 3);
UPDATE entry SET amount = -amount;
ROLLBACK;
DELETE FROM entry WHERE account_id = 2;
TRUNCATE entry;
