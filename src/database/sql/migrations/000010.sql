-- Flush ends a claim itself: a call of another function is what a transaction of one row feels.
DROP FUNCTION tviews.release();

-- Fires once per row. The first firing takes every row of the transaction from its own on; the others find their row gone.
-- A flush can make new rows (a user's trigger on a tv_ table may write a source): they queue new firings, and COMMIT
-- goes on firing until there are none.
--
-- By the index, whatever the planner makes of a table that was empty when it was vacuumed last: what others have left there
-- since is read from end to end otherwise. Flush has that setting its own way again.
CREATE OR REPLACE FUNCTION tviews.flush_queue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
  taken jsonb;
  done boolean;
BEGIN
  -- By the whole index: a scan of (tx) alone would step over every row this transaction has deleted already, at each of n
  -- firings.
  IF NOT EXISTS (SELECT FROM tviews.queue AS q WHERE q.tx = NEW.tx AND q.queued_at = NEW.queued_at) THEN
    RETURN NULL;
  END IF;
  WITH gone AS (
    DELETE FROM tviews.queue AS q WHERE q.tx = NEW.tx AND q.queued_at >= NEW.queued_at RETURNING q.change
  )
  SELECT jsonb_agg(gone.change) INTO taken FROM gone;
  -- An assignment is evaluated by itself, where PERFORM would run a query.
  done := tviews.flush(taken, false) IS NOT NULL;
  RETURN NULL;
END
$$;
