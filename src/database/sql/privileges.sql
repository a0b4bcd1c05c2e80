-- Rights on our objects, whatever ALTER DEFAULT PRIVILEGES says in this database: the owner's alone, but for what every
-- writer needs: USAGE of the schema, and EXECUTE of claim and flush, and what whoever makes a partition needs: EXECUTE of the
-- function behind the trigger that his partition gets from its parent. A refresh function may have another owner than the
-- schema (the role that applied the tview); flush runs as the schema's and must be able to call it.
DO $$
DECLARE
  home CONSTANT oid := (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'tviews');
  landlord CONSTANT oid := (SELECT nspowner FROM pg_catalog.pg_namespace WHERE oid = home);
  command text;
BEGIN
  FOR command IN
    SELECT pg_catalog.format(
      'REVOKE ALL ON %s %s FROM %s',
      CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::pg_catalog.regclass,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END
    )
    FROM pg_catalog.pg_class AS c
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
    WHERE c.relnamespace = home AND c.relkind IN ('r', 'S') AND a.grantee NOT IN (c.relowner, landlord)
    UNION
    SELECT pg_catalog.format(
      'REVOKE ALL ON FUNCTION %s FROM %s',
      p.oid::pg_catalog.regprocedure,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END
    )
    FROM pg_catalog.pg_proc AS p
    CROSS JOIN LATERAL
      pg_catalog.aclexplode(COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
    WHERE p.pronamespace = home
      AND a.grantee NOT IN (p.proowner, landlord)
      AND NOT ((p.proname IN ('claim', 'flush') OR p.proname ~ '^capture_[0-9]+_row$') AND a.grantee = 0)
    UNION
    SELECT pg_catalog.format(
      'GRANT EXECUTE ON FUNCTION %s TO %s', p.oid::pg_catalog.regprocedure, landlord::pg_catalog.regrole
    )
    FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = home AND p.proowner <> landlord
  LOOP
    EXECUTE command;
  END LOOP;
  GRANT EXECUTE ON FUNCTION tviews.claim(bytea), tviews.claim(bytea, integer), tviews.flush(jsonb, boolean) TO PUBLIC;
END
$$;
