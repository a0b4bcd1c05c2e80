-- A number that is another one after any DDL on what tviews read, directly or through views, on their tables and views, and on what
-- their columns are of: the rows of the catalog that say so have another xmin. Other DDL on these tables (GRANT, TRUNCATE) makes it
-- another one, too. Cheap, for it is asked after each statement that may have been such DDL.
WITH RECURSIVE read AS (
  SELECT known.oid
  FROM tviews.tview AS t
  CROSS JOIN LATERAL (VALUES (t.relation::oid), (t.view::oid)) AS known (oid)
  UNION
  SELECT m.oid::oid
  FROM tviews.source AS s
  CROSS JOIN LATERAL pg_catalog.unnest(COALESCE(s.members, '{}') || s.relation) AS m (oid)
  UNION
  SELECT d.refobjid
  FROM read
  JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = read.oid
  JOIN pg_catalog.pg_depend AS d
    ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
), relations AS (
  SELECT pg_catalog.array_agg(read.oid) AS oids FROM read
), rows AS (
  SELECT pg_catalog.concat_ws('/', 'class', c.oid, c.xmin) AS row
  FROM relations JOIN pg_catalog.pg_class AS c ON c.oid = ANY (relations.oids)
  UNION ALL
  SELECT pg_catalog.concat_ws('/', 'column', a.attrelid, a.attnum, a.xmin)
  FROM relations JOIN pg_catalog.pg_attribute AS a ON a.attrelid = ANY (relations.oids) AND a.attnum > 0
  UNION ALL
  SELECT pg_catalog.concat_ws('/', 'rule', r.oid, r.xmin)
  FROM relations JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = ANY (relations.oids)
  UNION ALL
  SELECT pg_catalog.concat_ws('/', 'index', i.indexrelid, i.xmin)
  FROM relations JOIN pg_catalog.pg_index AS i ON i.indrelid = ANY (relations.oids)
  UNION ALL
  SELECT pg_catalog.concat_ws('/', 'child', i.inhrelid, i.inhparent, i.xmin)
  FROM relations JOIN pg_catalog.pg_inherits AS i ON i.inhparent = ANY (relations.oids)
  UNION ALL
  SELECT pg_catalog.concat_ws('/', 'parent', i.inhrelid, i.inhparent, i.xmin)
  FROM relations JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = ANY (relations.oids)
  UNION ALL
  SELECT pg_catalog.concat_ws('/', 'schema', n.oid, n.xmin) FROM pg_catalog.pg_namespace AS n
  UNION ALL
  -- Not of tables, nor arrays: those come with each table.
  SELECT pg_catalog.concat_ws('/', 'type', t.oid, t.xmin)
  FROM pg_catalog.pg_type AS t
  WHERE t.typtype <> 'c' AND (t.typtype <> 'b' OR t.typcategory <> 'A') AND t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace
  UNION ALL
  SELECT pg_catalog.concat_ws('/', 'collation', l.oid, l.xmin)
  FROM pg_catalog.pg_collation AS l
  WHERE l.collnamespace <> 'pg_catalog'::pg_catalog.regnamespace
  UNION ALL
  SELECT pg_catalog.concat_ws('/', 'label', e.oid, e.xmin) FROM pg_catalog.pg_enum AS e
  UNION ALL
  SELECT pg_catalog.concat_ws('/', 'cast', k.oid, k.xmin) FROM pg_catalog.pg_cast AS k
  UNION ALL
  SELECT pg_catalog.concat_ws('/', 'attribute', a.attrelid, a.attnum, a.xmin)
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
  WHERE c.relkind = 'c'
  UNION ALL
  SELECT pg_catalog.concat_ws('/', 'tview', t.id, t.xmin) FROM tviews.tview AS t
)
SELECT pg_catalog.sum(pg_catalog.hashtextextended(rows.row, 0))::text AS stamp FROM rows;
