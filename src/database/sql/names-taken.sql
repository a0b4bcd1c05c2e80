-- Whether a name by which something was known is another one's now. $1: relations, as [{schema, name, oid}]; $2: columns of
-- relations, as [{oid, name, number}].
SELECT
  EXISTS (
    SELECT FROM pg_catalog.jsonb_to_recordset($1::text::jsonb) AS known (schema text, name text, oid oid)
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = known.schema
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = known.name AND c.oid <> known.oid
  ) OR EXISTS (
    SELECT FROM pg_catalog.jsonb_to_recordset($2::text::jsonb) AS known (oid oid, name text, number smallint)
    JOIN pg_catalog.pg_attribute AS a
      ON a.attrelid = known.oid AND a.attname = known.name AND a.attnum <> known.number AND NOT a.attisdropped
  ) AS taken;
