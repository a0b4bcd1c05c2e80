-- Tables whose writes nobody records: a source, or a partition of one, that lacks a capture trigger or has it disabled.
WITH RECURSIVE family AS (
  SELECT s.id AS source, s.relation::oid AS relation
  FROM tviews.source AS s
  WHERE s.kind = 'table' AND EXISTS (
    -- Nobody watches for those who are suspended.
    SELECT FROM tviews.tview_source AS ts
    JOIN tviews.tview AS t ON t.id = ts.tview
    WHERE ts.source = s.id AND t.suspended_at IS NULL
  )
  UNION
  SELECT f.source, i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN family AS f ON i.inhparent = f.relation
)
SELECT n.nspname AS schema, c.relname AS name, pg_catalog.array_agg(e.event ORDER BY e.event) AS events
FROM family AS f
JOIN pg_catalog.pg_class AS c ON c.oid = f.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN pg_catalog.unnest(ARRAY['insert', 'update', 'delete', 'truncate']) AS e (event)
WHERE NOT EXISTS (
  SELECT FROM pg_catalog.pg_trigger AS t
  WHERE t.tgrelid = f.relation AND t.tgname = 'tviews_capture_' || e.event AND t.tgenabled IN ('O', 'A')
)
GROUP BY n.nspname, c.relname
ORDER BY n.nspname, c.relname;
