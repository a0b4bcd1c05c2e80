-- Those of sources $1 whose family is another than when their capture was generated: what rows came or went with a member is
-- not known. A partition that was there and has its row trigger on again has been elsewhere since.
WITH RECURSIVE link AS (
  SELECT i.inhrelid AS child, i.inhparent AS parent FROM pg_catalog.pg_inherits AS i WHERE NOT i.inhdetachpending
), asked AS (
  SELECT s.id AS source, s.relation::oid AS relation, s.members
  FROM tviews.source AS s
  WHERE s.id = ANY ($1::integer[])
), up AS (
  SELECT a.source, a.relation FROM asked AS a
  UNION
  SELECT up.source, l.parent FROM up JOIN link AS l ON l.child = up.relation
), down AS (
  SELECT a.source, a.relation FROM asked AS a
  UNION
  SELECT down.source, l.child FROM down JOIN link AS l ON l.parent = down.relation
), now AS (
  TABLE up UNION TABLE down
), known AS (
  SELECT a.source, m.relation::oid AS relation
  FROM asked AS a
  CROSS JOIN LATERAL pg_catalog.unnest(COALESCE(a.members, ARRAY[a.relation::pg_catalog.regclass])) AS m (relation)
), difference AS (
  SELECT
    d.source, d.is_new, d.relation,
    COALESCE(pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), 'one that was dropped') AS name
  FROM (
    SELECT came.source, true AS is_new, came.relation FROM (TABLE now EXCEPT TABLE known) AS came
    UNION
    SELECT k.source, true, k.relation
    FROM known AS k
    JOIN pg_catalog.pg_class AS own ON own.oid = k.relation AND own.relispartition AND own.relkind = 'r'
    JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = k.relation AND t.tgenabled <> 'D'
    JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid AND p.proname = pg_catalog.format('capture_%s_row', k.source)
    JOIN pg_catalog.pg_namespace AS ours ON ours.oid = p.pronamespace AND ours.nspname = 'tviews'
    -- Where we may not turn it off, it says nothing.
    WHERE pg_catalog.pg_has_role(ours.nspowner, own.relowner, 'USAGE')
    UNION ALL
    SELECT went.source, false, went.relation FROM (TABLE known EXCEPT TABLE now) AS went
  ) AS d
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = d.relation
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
)
SELECT
  s.id AS source, n.nspname AS schema, c.relname AS name,
  COALESCE(pg_catalog.array_agg(DISTINCT d.name ORDER BY d.name) FILTER (WHERE d.is_new), '{}') AS come,
  COALESCE(pg_catalog.jsonb_agg(d.relation::bigint) FILTER (WHERE d.is_new), '[]') AS "comeOids",
  COALESCE(pg_catalog.array_agg(DISTINCT d.name ORDER BY d.name) FILTER (WHERE NOT d.is_new), '{}') AS gone,
  c.relkind = 'p' AS "isPartitioned", s.members IS NULL AS "isFirst"
FROM difference AS d
JOIN tviews.source AS s ON s.id = d.source
JOIN pg_catalog.pg_class AS c ON c.oid = s.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
-- Of those whose readers are all suspended, everything is looked at when one is resumed.
WHERE EXISTS (
  SELECT FROM tviews.tview_source AS ts
  JOIN tviews.tview AS t ON t.id = ts.tview
  WHERE ts.source = s.id AND t.suspended_at IS NULL
)
GROUP BY s.id, n.nspname, c.relname, c.relkind
ORDER BY n.nspname, c.relname;
