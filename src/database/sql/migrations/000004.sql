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

-- Refresh functions are generated with one argument more; the old ones would stay beside the new.
DO $$
DECLARE
  old regprocedure;
BEGIN
  FOR old IN
    SELECT p.oid
    FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = 'tviews'::regnamespace AND p.proname ~ '^refresh_' AND p.pronargs = 1
  LOOP
    EXECUTE format('DROP FUNCTION %s', old);
  END LOOP;
END
$$;

-- What transactions that kept their snapshot changed, to be looked at again with one that has seen everything committed
-- before them. Logged, and written by the transaction itself: there if and only if it committed.
CREATE TABLE tviews.repair (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  changes jsonb NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now()
);

-- Works off the oldest, and says how many there were: 0 when nothing was left to do. One per transaction, so that nothing is
-- locked longer than a writer would lock it; whoever wants all of them done calls again until it gives 0. Another who
-- is at the same one is waited for: what this caller's own COMMIT left is done when it gives 0.
CREATE FUNCTION tviews.repair() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  pending bigint;
  oldest bigint;
  taken jsonb;
BEGIN
  IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    RAISE active_sql_transaction USING
      MESSAGE = 'tviews.repair() must be called in a READ COMMITTED transaction',
      HINT = 'One that keeps its snapshot would leave the same to be looked at again.';
  END IF;
  SELECT count(*), min(r.id) INTO pending, oldest FROM tviews.repair AS r;
  IF pending = 0 THEN
    RETURN 0;
  END IF;
  DELETE FROM tviews.repair AS r WHERE r.id = oldest RETURNING r.changes INTO taken;
  IF FOUND THEN
    PERFORM tviews.flush(taken, false);
  END IF;
  RETURN pending;
END
$$;
