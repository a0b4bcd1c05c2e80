-- Writers of sources end first, and new ones wait: one that had written a source already, and came for the queue below while
-- we hold it, would wait for us as we wait for its source when capture is generated anew.
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

-- No sequence: nextval in the writer's session would be what the writer's lastval() tells.
--
-- Nothing depends on when a row was queued, nor on two having different times. It only says where in the index a firing
-- has to look, so that it need not step over the rows its transaction has deleted before. A row that seems older than it
-- is, because the clock was set back, is not taken by an earlier row's firing but by its own.
ALTER TABLE tviews.queue DROP COLUMN id;
ALTER TABLE tviews.queue ADD COLUMN queued_at timestamptz NOT NULL DEFAULT clock_timestamp();
CREATE INDEX queue_tx_queued_at_idx ON tviews.queue (tx, queued_at);

-- Fires once per row. The first firing takes every row of the transaction from its own on; the others find their row gone.
-- A flush can make new rows (a user's trigger on a tv_ table may write a source): they queue new firings, and COMMIT
-- goes on firing until there are none.
CREATE OR REPLACE FUNCTION tviews.flush_queue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  taken jsonb;
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
  PERFORM tviews.flush(taken, false);
  RETURN NULL;
END
$$;

-- Was a ticket left by another cluster? A dump carries the tickets along, and a young cluster's transactions would be told
-- for years that a flush they cannot see came before them.
--
-- A ticket is a full xid (64 bits, no wraparound), and one left by this cluster was assigned by it before it was read here. So
-- the next xid as it is now, which pg_xact_status compares with, is greater: greater tickets are another cluster's, and
-- since the restore, which is not run beside writers of the same tables, nobody has flushed here: he would have left his
-- own, which is never rolled back. A foreign ticket that is smaller was overtaken: visible, or invisible until the
-- transaction here that happens to have its number is over, which is a 40001 that goes away when it is retried.
-- Not the snapshot's xmax: xids from there on are those of all who came after the snapshot, whom the ticket is for.
CREATE FUNCTION tviews.is_foreign_ticket(ticket bigint) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pg_xact_status(ticket::text::xid8);
  RETURN false;
EXCEPTION
  -- "transaction ID … is in the future"
  WHEN invalid_parameter_value THEN
    RETURN true;
END
$$;

-- Which source of the plan it is, from 1. Found by its name so far, which is not that of the plan any more once a table is
-- renamed, or that of another table. By oid where all fit; they do not in a database that was restored, where the names do.
ALTER TABLE tviews.tview_source ADD COLUMN place integer;

WITH listed AS (
  SELECT t.id AS tview, s.id AS source, planned.place,
    count(*) OVER (PARTITION BY t.id) = jsonb_array_length(t.plan->'sources') AS all_fit
  FROM tviews.tview AS t
  CROSS JOIN LATERAL jsonb_array_elements(t.plan->'sources') WITH ORDINALITY AS planned (source, place)
  JOIN tviews.tview_source AS ts ON ts.tview = t.id
  JOIN tviews.source AS s ON s.id = ts.source AND s.relation = (planned.source->>'oid')::oid
)
UPDATE tviews.tview_source AS ts
SET place = l.place
FROM listed AS l
WHERE l.all_fit AND l.tview = ts.tview AND l.source = ts.source;

UPDATE tviews.tview_source AS ts
SET place = planned.place
FROM tviews.tview AS t
CROSS JOIN LATERAL jsonb_array_elements(t.plan->'sources') WITH ORDINALITY AS planned (source, place)
JOIN tviews.source AS s
  ON s.relation = to_regclass(format('%I.%I', planned.source->'table'->>'schema', planned.source->'table'->>'name'))
WHERE ts.place IS NULL AND t.id = ts.tview AND s.id = ts.source;
