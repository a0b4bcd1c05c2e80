-- Since when writes of its sources are nothing to a tview (tviews suspend); null where it is kept in step.
ALTER TABLE tviews.tview ADD COLUMN suspended_at timestamptz;

-- For a flush that is no writer's, until its transaction ends. Whoever makes tviews, and flush with them, waits for writers by
-- their locks on the sources; of this one nothing else tells him, and what it writes with the flush of before would reach no tview that is new.
CREATE FUNCTION tviews.exclude_registry_changes() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(s.value::integer, 0) FROM tviews.setting AS s WHERE s.name = 'lock_space';
END
$$;

CREATE OR REPLACE FUNCTION tviews.repair_record(record uuid) RETURNS void
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
  -- Before the table is read, at which the server hears of a flush that was made anew while we waited.
  PERFORM tviews.exclude_registry_changes();
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
