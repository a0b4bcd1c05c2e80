-- For each column, in their order: the equality operator an index on it uses. $1: its table, $2: its name. Under our search_path a
-- plain = on citext would be text's, which does not know that 'A' is 'a'. Of a column that is gone: =.
WITH RECURSIVE base AS (
  SELECT wanted.place, a.atttypid AS type
  FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::text[])) WITH ORDINALITY AS wanted (relation, name, place)
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = wanted.relation AND a.attname = wanted.name
  UNION
  SELECT b.place, t.typbasetype
  FROM base AS b
  JOIN pg_catalog.pg_type AS t ON t.oid = b.type
  WHERE t.typtype = 'd'
)
SELECT COALESCE(pg_catalog.min(found.operator), '=') AS operator
FROM base AS b
LEFT JOIN LATERAL (
  SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) AS operator
  FROM pg_catalog.pg_opclass AS c
  JOIN pg_catalog.pg_am AS method ON method.oid = c.opcmethod AND method.amname = 'btree'
  JOIN pg_catalog.pg_amop AS m
    ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3 AND m.amoplefttype = b.type AND m.amoprighttype = b.type
  JOIN pg_catalog.pg_operator AS o ON o.oid = m.amopopr
  JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace
  WHERE c.opcdefault AND c.opcintype = b.type AND n.nspname <> 'pg_catalog'
) AS found ON true
GROUP BY b.place
ORDER BY b.place;
