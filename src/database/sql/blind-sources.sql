-- Tables whose writes nobody records: a source, or a member of its family, that lacks a capture trigger or has it disabled.
-- A partition from after the capture was generated is captured row by row, but for TRUNCATE.
WITH RECURSIVE watched AS (
  SELECT s.id AS source, s.relation::oid AS relation
  FROM tviews.source AS s
  WHERE s.kind = 'table' AND EXISTS (
    -- Nobody watches for those who are suspended.
    SELECT FROM tviews.tview_source AS ts
    JOIN tviews.tview AS t ON t.id = ts.tview
    WHERE ts.source = s.id AND t.suspended_at IS NULL
  )
), up AS (
  TABLE watched
  UNION
  SELECT up.source, i.inhparent FROM pg_catalog.pg_inherits AS i JOIN up ON i.inhrelid = up.relation
), down AS (
  TABLE watched
  UNION
  SELECT down.source, i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN down ON i.inhparent = down.relation
)
SELECT n.nspname AS schema, c.relname AS name, pg_catalog.array_agg(DISTINCT e.event ORDER BY e.event) AS events
FROM (TABLE up UNION TABLE down) AS f
JOIN tviews.source AS s ON s.id = f.source
JOIN pg_catalog.pg_class AS c ON c.oid = f.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT COALESCE(pg_catalog.array_agg(p.proname::text), '{}') AS functions
  FROM pg_catalog.pg_trigger AS t
  JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid AND p.pronamespace = 'tviews'::pg_catalog.regnamespace
  WHERE t.tgrelid = f.relation AND t.tgenabled IN ('O', 'A')
) AS capture
CROSS JOIN pg_catalog.unnest(ARRAY['insert', 'update', 'delete', 'truncate']) AS e (event)
WHERE pg_catalog.format('capture_%s_%s', f.source, e.event) <> ALL (capture.functions)
  AND NOT (
    e.event <> 'truncate' AND c.relispartition AND (f.relation = ANY (s.members)) IS NOT TRUE
    AND pg_catalog.format('capture_%s_row', f.source) = ANY (capture.functions)
  )
GROUP BY n.nspname, c.relname
ORDER BY n.nspname, c.relname;
