-- The tables that must carry the capture of each of the sources $1: itself, its partitions or children, and what it is a partition
-- of. A statement fires the triggers of the table it names and of no other. From the topmost down, as writers lock them.
WITH RECURSIVE link AS (
  -- What is being detached is no part of it any more, for anyone who begins now.
  SELECT i.inhrelid AS child, i.inhparent AS parent FROM pg_catalog.pg_inherits AS i WHERE NOT i.inhdetachpending
), up AS (
  SELECT s.oid AS source, s.oid AS relation, 0 AS depth FROM pg_catalog.unnest($1::oid[]) AS s (oid)
  UNION
  SELECT up.source, l.parent, up.depth - 1 FROM up JOIN link AS l ON l.child = up.relation
), down AS (
  SELECT s.oid AS source, s.oid AS relation, 0 AS depth FROM pg_catalog.unnest($1::oid[]) AS s (oid)
  UNION
  SELECT down.source, l.child, down.depth + 1 FROM down JOIN link AS l ON l.parent = down.relation
)
SELECT
  m.source::bigint AS source, c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind = 'p' AS "isPartitioned",
  c.relispartition AND m.depth > 0 AS "isPartitionOfIt", c.relkind <> 'f' AND c.relpersistence <> 't' AS "isWatched",
  pg_catalog.has_table_privilege(c.oid, 'SELECT') AS "isReadable", pg_catalog.pg_has_role(c.relowner, 'USAGE') AS "isOurs"
FROM (
  SELECT d.source, d.relation, pg_catalog.min(d.depth) AS depth
  FROM (TABLE up UNION TABLE down) AS d
  GROUP BY d.source, d.relation
) AS m
JOIN pg_catalog.pg_class AS c ON c.oid = m.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY m.source, m.depth, c.oid;
