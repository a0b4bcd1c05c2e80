-- The static part of schema tviews: registry, queue, claim. What depends on the tviews is generated (generate.ts).
-- Runs once, in the transaction of migrate.ts, in a schema that exists and is ours.

CREATE TABLE tviews.migration (
  number integer PRIMARY KEY,
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tviews.setting (
  name text PRIMARY KEY,
  value text NOT NULL
);

INSERT INTO tviews.setting (name, value)
VALUES
  ('lock_space', '1953916265'),
  ('notice_bytes', '65536'),
  ('full_refresh_share', '0.15'),
  ('schema_version', '1');

-- Whoever knows it is a proxy. gen_random_uuid draws on the server's strong random source and needs no extension.
CREATE TABLE tviews.secret (
  value bytea NOT NULL
);

INSERT INTO tviews.secret (value)
VALUES (sha256(decode(replace(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')));

-- A tview always has a greater id than the tviews it reads: ids are never reused and a tview that is read is never
-- replaced. So ascending ids are both the lock order and the order of dependency.
CREATE TABLE tviews.tview (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  schema text NOT NULL,
  name text NOT NULL,
  relation regclass NOT NULL UNIQUE,
  view regclass NOT NULL UNIQUE,
  key_columns text[] NOT NULL,
  -- The equality operator of each key column's default index, as written between two operands: = or OPERATOR(schema.=).
  key_operators text[] NOT NULL,
  -- The key as the statement gave it; null where it was derived.
  requested_key text[],
  definition text NOT NULL,
  plan jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (schema, name)
);

CREATE TABLE tviews.source (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  relation regclass NOT NULL UNIQUE,
  kind text NOT NULL CHECK (kind IN ('table', 'tview')),
  -- The union over the tviews that read it: [{"name": …, "type": …, "collation": …}, …].
  link_columns jsonb NOT NULL DEFAULT '[]'
);

CREATE TABLE tviews.tview_source (
  tview integer NOT NULL REFERENCES tviews.tview ON DELETE CASCADE,
  source integer NOT NULL REFERENCES tviews.source ON DELETE CASCADE,
  PRIMARY KEY (tview, source)
);

-- What unclaimed transactions owe until their COMMIT. Every row is deleted by the transaction that wrote it, before it
-- ends: no other transaction ever sees one, committed or not. So a crash, which empties an unlogged table, can lose
-- nothing: a transaction in progress is gone with its rows, and a prepared or committed one had none left, because the
-- deferred trigger runs before PREPARE and before COMMIT. Never a temporary table: it would forbid PREPARE TRANSACTION.
CREATE UNLOGGED TABLE tviews.queue (
  tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
  id bigint GENERATED ALWAYS AS IDENTITY,
  change jsonb NOT NULL,
  PRIMARY KEY (tx, id)
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_threshold = 2000000000);

-- Fires once per row. The first firing takes every row of the transaction from its own on; the others find their row gone.
-- A flush can make new rows (a user's trigger on a tv_ table may write a source): they queue new firings, and COMMIT
-- goes on firing until there are none.
CREATE FUNCTION tviews.flush_queue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  taken jsonb;
BEGIN
  -- By the whole primary key: a scan of (tx) alone would step over every row this transaction has deleted already, at
  -- each of n firings.
  IF NOT EXISTS (SELECT FROM tviews.queue AS q WHERE q.tx = NEW.tx AND q.id = NEW.id) THEN
    RETURN NULL;
  END IF;
  WITH gone AS (
    DELETE FROM tviews.queue AS q WHERE q.tx = NEW.tx AND q.id >= NEW.id RETURNING q.change
  )
  SELECT jsonb_agg(gone.change) INTO taken FROM gone;
  PERFORM tviews.flush(taken, false);
  RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER flush AFTER INSERT ON tviews.queue
DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION tviews.flush_queue();

-- Memory of this session that its user cannot write: currval gives what setval left in this very session. Unlogged where
-- there is such a thing (15): otherwise the setval of a claim would give the transaction an xid and a WAL record.
DO $$
BEGIN
  IF current_setting('server_version_num')::integer >= 150000 THEN
    CREATE UNLOGGED SEQUENCE tviews.claimed;
  ELSE
    CREATE SEQUENCE tviews.claimed;
  END IF;
END
$$;

-- The mark of the proxy on this transaction: its changes go to whoever reads this connection, who flushes before COMMIT.
CREATE FUNCTION tviews.claim(secret bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- Digests, so that the time the comparison takes says nothing about the secret.
  IF secret IS NULL OR NOT EXISTS (SELECT FROM tviews.secret AS s WHERE sha256(s.value) = sha256(claim.secret)) THEN
    RAISE insufficient_privilege USING
      MESSAGE = 'permission denied to claim a transaction',
      HINT = 'Only a tview-proxy that has read the secret of this database may claim.';
  END IF;
  IF current_setting('transaction_read_only') = 'on' THEN
    RETURN;
  END IF;
  PERFORM set_config('tviews.claim', 'on', true);
  PERFORM setval('tviews.claimed', (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint);
END
$$;

-- Is this transaction claimed? Asked only when tviews.claim says so; that setting alone proves nothing, anyone may SET it.
-- Only capture functions call it, so theirs are the rights and the search_path: one more of each would double its time.
CREATE FUNCTION tviews.is_claimed() RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
  RETURN currval('tviews.claimed') = (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint;
EXCEPTION
  -- No claim ever in this session: somebody set tviews.claim by hand.
  WHEN object_not_in_prerequisite_state THEN
    RETURN false;
END
$$;

-- Not undone by ROLLBACK TO or a later SET: a change after this goes to the queue, whatever the user does. Whatever
-- tviews.claim says, too: who switches it off before the last flush and on again in a trigger at COMMIT would lose a change.
-- A transaction made read only since the claim cannot write any more, so it needs no release.
CREATE FUNCTION tviews.release() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF current_setting('transaction_read_only') = 'off' THEN
    PERFORM set_config('tviews.claim', 'off', true);
    PERFORM setval('tviews.claimed', 1);
  END IF;
END
$$;

-- On every tv_ table. A guard against mistakes: rights on the table are what protects it from others.
CREATE FUNCTION tviews.refuse_write() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE object_not_in_prerequisite_state USING
    MESSAGE = format('cannot write tview %I.%I: it is maintained', TG_TABLE_SCHEMA, TG_TABLE_NAME),
    HINT = 'Write the tables its definition reads; it follows in the same transaction.';
END
$$;
