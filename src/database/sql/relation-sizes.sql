-- Some tables by name: their rows as the planner last counted them (below 0 where nobody has), their bytes without and with
-- indexes.
SELECT
  wanted.schema, wanted.name, c.reltuples::float8 AS rows,
  pg_catalog.pg_table_size(c.oid)::float8 AS "tableBytes",
  pg_catalog.pg_total_relation_size(c.oid)::float8 AS bytes
FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS wanted (schema, name)
JOIN pg_catalog.pg_namespace AS n ON n.nspname = wanted.schema
JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = wanted.name;
