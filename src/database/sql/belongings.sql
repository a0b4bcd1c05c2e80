-- What people have given a tview's table and view, as statements that give it to those that take their place, under the same
-- names: $1 is the table, $2 the view, $3 and $4 their names as written in SQL, $5 the columns there will be.
WITH relation AS (
  SELECT r.oid, r.name, c.relowner, c.relacl, c.reloptions, c.relkind, c.relrowsecurity, c.relforcerowsecurity
  FROM (VALUES ($1::oid, $3::text), ($2::oid, $4::text)) AS r (oid, name)
  JOIN pg_class AS c ON c.oid = r.oid
), kept_column AS (
  SELECT r.oid, r.name, r.relowner, a.attnum, a.attname, a.attacl
  FROM relation AS r
  JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  WHERE a.attname = ANY ($5::text[])
), command (rank, text) AS (
  SELECT 1, format('ALTER %s %s SET (%s)', CASE r.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, r.name, option)
  FROM relation AS r
  CROSS JOIN LATERAL unnest(r.reloptions) AS option
  UNION ALL
  SELECT 1, format('ALTER TABLE %s %s ROW LEVEL SECURITY', r.name, verb)
  FROM relation AS r
  CROSS JOIN LATERAL (VALUES ('ENABLE', r.relrowsecurity), ('FORCE', r.relforcerowsecurity)) AS v (verb, is_set)
  WHERE r.relkind = 'r' AND v.is_set
  UNION ALL
  SELECT 2, format(
    'CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', p.polname, r.name,
    CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
    CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
    (
      SELECT string_agg(CASE named.role WHEN 0 THEN 'PUBLIC' ELSE named.role::regrole::text END, ', ')
      FROM unnest(p.polroles) AS named (role)
    ),
    ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
    ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'
  )
  FROM pg_policy AS p
  JOIN relation AS r ON r.oid = p.polrelid
  UNION ALL
  SELECT 2, pg_get_triggerdef(t.oid)
  FROM pg_trigger AS t
  WHERE t.tgrelid IN ($1, $2) AND NOT t.tgisinternal AND t.tgname <> 'tviews_guard'
  UNION ALL
  SELECT 3, format(
    'ALTER TABLE %s %s TRIGGER %I', r.name,
    CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, t.tgname
  )
  FROM pg_trigger AS t
  JOIN relation AS r ON r.oid = t.tgrelid AND r.relkind = 'r'
  WHERE NOT t.tgisinternal AND t.tgname <> 'tviews_guard' AND t.tgenabled <> 'O'
  UNION ALL
  SELECT 2, pg_get_ruledef(w.oid)
  FROM pg_rewrite AS w
  WHERE w.ev_class IN ($1, $2) AND w.rulename <> '_RETURN'
  UNION ALL
  SELECT 2, pg_get_statisticsobjdef(s.oid)
  FROM pg_statistic_ext AS s
  WHERE s.stxrelid = $1
  UNION ALL
  SELECT 4, format(
    'GRANT %s ON TABLE %s TO %s%s', a.privilege_type, r.name,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
  )
  FROM relation AS r
  CROSS JOIN LATERAL aclexplode(r.relacl) AS a
  WHERE a.grantee <> r.relowner
  UNION ALL
  SELECT 4, format(
    'GRANT %s (%I) ON TABLE %s TO %s%s', a.privilege_type, k.attname, k.name,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
  )
  FROM kept_column AS k
  CROSS JOIN LATERAL aclexplode(k.attacl) AS a
  WHERE a.grantee <> k.relowner
  UNION ALL
  SELECT 5, format('COMMENT ON %s %s IS %L', CASE r.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, r.name, d.description)
  FROM relation AS r
  JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass AND d.objoid = r.oid AND d.objsubid = 0
  UNION ALL
  SELECT 5, format('COMMENT ON COLUMN %s.%I IS %L', k.name, k.attname, d.description)
  FROM kept_column AS k
  JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass AND d.objoid = k.oid AND d.objsubid = k.attnum
  UNION ALL
  SELECT 5, format('COMMENT ON INDEX %I.%I IS %L', n.nspname, c.relname, d.description)
  FROM pg_index AS i
  JOIN pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass AND d.objoid = c.oid
  WHERE i.indrelid = $1
  UNION ALL
  SELECT 5, format('COMMENT ON CONSTRAINT %I ON %s IS %L', o.conname, $3::text, d.description)
  FROM pg_constraint AS o
  JOIN pg_description AS d ON d.classoid = 'pg_constraint'::regclass AND d.objoid = o.oid
  WHERE o.conrelid = $1 AND o.contype IN ('p', 'u', 'c', 'x', 'f')
  UNION ALL
  SELECT 5, format('COMMENT ON TRIGGER %I ON %s IS %L', t.tgname, r.name, d.description)
  FROM pg_trigger AS t
  JOIN relation AS r ON r.oid = t.tgrelid
  JOIN pg_description AS d ON d.classoid = 'pg_trigger'::regclass AND d.objoid = t.oid
  WHERE NOT t.tgisinternal AND t.tgname <> 'tviews_guard'
  UNION ALL
  SELECT 5, format('COMMENT ON POLICY %I ON %s IS %L', p.polname, r.name, d.description)
  FROM pg_policy AS p
  JOIN relation AS r ON r.oid = p.polrelid
  JOIN pg_description AS d ON d.classoid = 'pg_policy'::regclass AND d.objoid = p.oid
)
SELECT command.text AS command FROM command ORDER BY command.rank, command.text;
