-- Writers of sources end first, and new ones wait: a flush from before this would take other locks than one from after it.
DO $$
DECLARE
  source regclass;
BEGIN
  FOR source IN
    SELECT s.relation
    FROM tviews.source AS s
    JOIN pg_catalog.pg_class AS c ON c.oid = s.relation
    WHERE s.kind = 'table'
    ORDER BY s.relation::oid
  LOOP
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', source);
  END LOOP;
END
$$;

-- How flushes keep out of each other's way (decision 009): by locks on join values and keys, or by one lock per tview. What
-- is generated depends on it: "tviews init" after a change.
INSERT INTO tviews.setting (name, value) VALUES ('lock_protocol', 'value');

-- Refresh and compare functions are generated with other arguments; the old ones would stay beside the new.
DO $$
DECLARE
  old regprocedure;
BEGIN
  FOR old IN
    SELECT p.oid
    FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = 'tviews'::regnamespace AND p.proname ~ '^(refresh|compare)_'
  LOOP
    EXECUTE format('DROP FUNCTION %s', old);
  END LOOP;
END
$$;

-- Changes have a member more ("k"), which a proxy from before this does not know: it would not take such a change for one, and
-- flush nothing. So the claim says what the proxy understands, and its mark is another one.
CREATE FUNCTION tviews.claim(secret bytea, version integer) RETURNS void
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
  IF version IS DISTINCT FROM 2 OR current_setting('transaction_read_only') = 'on' THEN
    RETURN;
  END IF;
  PERFORM set_config('tviews.claim', '2', true);
  PERFORM setval('tviews.claimed', (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint);
END
$$;

-- A proxy from before this, still running: it claims nothing, and the database flushes at COMMIT.
CREATE OR REPLACE FUNCTION tviews.claim(secret bytea) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
END
$$;

-- What transactions that kept their snapshot changed, to be looked at again with one that has seen everything committed
-- before them. Logged, and written by the transaction itself: there if and only if it committed. No sequence: it would be
-- what the writer's lastval() tells.
CREATE TABLE tviews.repair (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  changes jsonb NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Of the last attempt, where it failed: what the definition of one tview does must not keep the others' waiting.
  failed_at timestamptz,
  failure text
);

-- One record. Another who is at it is waited for: whoever recorded it has it done, or failed, when this is over.
CREATE FUNCTION tviews.repair_record(record uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  taken jsonb;
BEGIN
  IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    RAISE active_sql_transaction USING
      MESSAGE = 'repairs must be made in a READ COMMITTED transaction',
      HINT = 'One that keeps its snapshot would leave the same to be looked at again.';
  END IF;
  BEGIN
    DELETE FROM tviews.repair AS r WHERE r.id = record RETURNING r.changes INTO taken;
    IF FOUND THEN
      PERFORM tviews.flush(taken, false);
    END IF;
  EXCEPTION
    -- Goes through when it is tried again. The last two: a tview was replaced meanwhile, and its functions with it.
    WHEN transaction_rollback OR lock_not_available OR internal_error OR undefined_function THEN
      RAISE;
    WHEN OTHERS THEN
      UPDATE tviews.repair AS r SET failed_at = clock_timestamp(), failure = SQLERRM WHERE r.id = record;
  END;
END
$$;

-- Works off one, any, so that one that has to wait keeps no other waiting for long, and says how many there were: 0 when
-- nothing was left to do. One per transaction, so that nothing is locked longer than a writer would lock it; whoever wants
-- all of them done calls again until it gives 0. One that has failed is not tried again at once.
CREATE FUNCTION tviews.repair() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  pending bigint;
  one uuid;
BEGIN
  SELECT count(*), (array_agg(r.id ORDER BY random()))[1] INTO pending, one
  FROM tviews.repair AS r
  WHERE r.failed_at IS NULL OR r.failed_at < clock_timestamp() - interval '30 seconds';
  PERFORM tviews.repair_record(one);
  RETURN pending;
END
$$;
