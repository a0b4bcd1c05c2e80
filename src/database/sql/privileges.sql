-- Owners of our objects and rights on them, whoever generated them and whatever ALTER DEFAULT PRIVILEGES says in this database.
-- What works on our own tables belongs to the schema's owner. Refresh and compare functions belong to the owner of the tview: they
-- read his view and write his table, and flush, which runs as the schema's owner, must be able to call them. Rights are the
-- owner's alone, but for what every writer needs: USAGE of the schema, and EXECUTE of claim and flush; and what whoever makes a
-- partition needs: EXECUTE of the function behind the trigger that his partition gets from its parent.
DO $$
DECLARE
  home CONSTANT oid := (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'tviews');
  landlord CONSTANT oid := (SELECT n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.oid = home);
  command text;
BEGIN
  -- Mostly one role owns everything, and what follows is not even planned.
  IF
    EXISTS (SELECT FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = home AND p.proowner <> landlord)
    OR EXISTS (
      SELECT FROM pg_catalog.pg_class AS c
      WHERE c.relnamespace = home AND c.relkind IN ('r', 'S') AND c.relowner <> landlord
    )
    OR EXISTS (
      SELECT FROM tviews.tview AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.relation WHERE c.relowner <> landlord
    )
  THEN
    FOR command IN
      -- Made anew by whoever runs "init": the rights they run with must stay those of the one who applied.
      SELECT pg_catalog.format('ALTER FUNCTION %s OWNER TO %s', p.oid::pg_catalog.regprocedure, c.relowner::pg_catalog.regrole)
      FROM pg_catalog.pg_proc AS p
      JOIN tviews.tview AS t ON t.id::text = pg_catalog.substring(p.proname::text, '_(\d+)$')
      JOIN pg_catalog.pg_class AS c ON c.oid = t.relation
      WHERE p.pronamespace = home AND p.proname ~ '^(refresh|compare)_' AND p.proowner <> c.relowner
      UNION ALL
      SELECT pg_catalog.format('ALTER FUNCTION %s OWNER TO %s', p.oid::pg_catalog.regprocedure, landlord::pg_catalog.regrole)
      FROM pg_catalog.pg_proc AS p
      WHERE p.pronamespace = home AND p.proowner <> landlord AND p.proname !~ '^(refresh|compare)_'
      UNION ALL
      SELECT pg_catalog.format(
        'ALTER %s %s OWNER TO %s',
        CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::pg_catalog.regclass, landlord::pg_catalog.regrole
      )
      FROM pg_catalog.pg_class AS c
      WHERE c.relnamespace = home AND c.relowner <> landlord AND c.relkind IN ('r', 'S')
        -- One that is being built stays with the one who applies it.
        AND NOT EXISTS (SELECT FROM tviews.tview AS t WHERE t.relation = c.oid)
        -- The sequence of an identity column goes with its table.
        AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_depend AS d
          WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'i'
        )
    LOOP
      EXECUTE command;
    END LOOP;
    FOR command IN
      SELECT pg_catalog.format(
        'GRANT EXECUTE ON FUNCTION %s TO %s', p.oid::pg_catalog.regprocedure, landlord::pg_catalog.regrole
      )
      FROM pg_catalog.pg_proc AS p
      WHERE p.pronamespace = home AND p.proowner <> landlord
    LOOP
      EXECUTE command;
    END LOOP;
  END IF;

  -- Each new function is everybody's.
  FOR command IN
    SELECT pg_catalog.format(
      'REVOKE ALL ON FUNCTION %s FROM %s',
      pg_catalog.string_agg(p.oid::pg_catalog.regprocedure::text, ', '),
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END
    )
    FROM pg_catalog.pg_proc AS p
    CROSS JOIN LATERAL
      pg_catalog.aclexplode(COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
    WHERE p.pronamespace = home
      AND a.grantee NOT IN (p.proowner, landlord)
      AND NOT ((p.proname IN ('claim', 'flush') OR p.proname ~ '^capture_[0-9]+_row$') AND a.grantee = 0)
    GROUP BY a.grantee
  LOOP
    EXECUTE command;
  END LOOP;
  FOR command IN
    SELECT pg_catalog.format(
      'REVOKE ALL ON %s %s FROM %s',
      CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::pg_catalog.regclass,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END
    )
    FROM pg_catalog.pg_class AS c
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
    WHERE c.relnamespace = home AND c.relkind IN ('r', 'S') AND a.grantee NOT IN (c.relowner, landlord)
  LOOP
    EXECUTE command;
  END LOOP;
  FOR command IN
    SELECT pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', p.oid::pg_catalog.regprocedure)
    FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = home AND p.proname IN ('claim', 'flush')
      AND NOT pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE')
  LOOP
    EXECUTE command;
  END LOOP;
END
$$;
