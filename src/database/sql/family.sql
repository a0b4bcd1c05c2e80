-- A table and all its partitions and children: a statement fires the triggers of the table it names, and of no other.
WITH RECURSIVE family AS (
  SELECT $1::oid AS relation
  UNION
  SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN family AS f ON i.inhparent = f.relation
)
SELECT n.nspname AS schema, c.relname AS name
FROM family AS f
JOIN pg_catalog.pg_class AS c ON c.oid = f.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY c.oid;
