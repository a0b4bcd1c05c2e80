-- The tables above which there are none, for all of $1: LOCK TABLE of one locks all of its partitions and children as well.
WITH RECURSIVE up AS (
  SELECT given.oid, given.oid AS relation FROM pg_catalog.unnest($1::oid[]) AS given (oid)
  UNION
  SELECT up.oid, i.inhparent FROM up JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = up.relation
)
SELECT up.oid::bigint AS below, c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name
FROM up
JOIN pg_catalog.pg_class AS c ON c.oid = up.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = up.relation);
