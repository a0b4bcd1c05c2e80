-- What keeps a table ($1) or a view ($2) from being dropped, or would go with it unsaid, as PostgreSQL names it. A view is
-- named in place of its rule. And what shows its rows as those of a partition or child.
SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, i.inhparent, 0) AS name
FROM pg_catalog.pg_inherits AS i
WHERE i.inhrelid = $1::oid
UNION
SELECT
  CASE
    WHEN w.ev_class IS NOT NULL THEN pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, w.ev_class, 0)
    ELSE pg_catalog.pg_describe_object(d.classid, d.objid, 0)
  END AS name
FROM pg_catalog.pg_depend AS d
LEFT JOIN pg_catalog.pg_rewrite AS w
  ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = d.objid
LEFT JOIN pg_catalog.pg_constraint AS o
  ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND o.oid = d.objid
LEFT JOIN pg_catalog.pg_trigger AS t
  ON d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND t.oid = d.objid
LEFT JOIN pg_catalog.pg_policy AS p
  ON d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND p.oid = d.objid
LEFT JOIN pg_catalog.pg_attrdef AS f
  ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = d.objid
LEFT JOIN pg_catalog.pg_index AS i
  ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.indexrelid = d.objid
LEFT JOIN pg_catalog.pg_statistic_ext AS s
  ON d.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass AND s.oid = d.objid
WHERE (
    d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid IN ($1::oid, $2::oid)
    OR d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
      AND d.refobjid IN (SELECT c.reltype FROM pg_catalog.pg_class AS c WHERE c.oid IN ($1::oid, $2::oid))
  )
  AND (d.deptype = 'n' OR d.classid = 'pg_catalog.pg_publication_rel'::pg_catalog.regclass)
  -- Its own.
  AND COALESCE(w.ev_class, o.conrelid, t.tgrelid, p.polrelid, f.adrelid, i.indrelid, s.stxrelid, 0) NOT IN ($1::oid, $2::oid)
ORDER BY 1;
