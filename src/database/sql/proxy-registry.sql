-- What a proxy has to know: who may send which change, which tables to flush before they are read, and how to claim.
SELECT
  COALESCE((
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
      'id', s.id, 'oid', s.relation::oid::bigint, 'kind', s.kind, 'schema', n.nspname, 'name', c.relname,
      'members', COALESCE((
        SELECT pg_catalog.jsonb_agg(member.relname)
        FROM pg_catalog.pg_class AS member
        WHERE member.oid = ANY (s.members) AND member.oid <> s.relation
      ), '[]')
    ) ORDER BY s.id)
    FROM tviews.source AS s
    JOIN pg_catalog.pg_class AS c ON c.oid = s.relation
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE EXISTS (
      SELECT FROM tviews.tview_source AS ts
      JOIN tviews.tview AS t ON t.id = ts.tview
      WHERE ts.source = s.id AND t.suspended_at IS NULL
    )
  ), '[]') AS sources,
  COALESCE((
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
      'id', t.id, 'oid', t.relation::oid::bigint, 'schema', n.nspname, 'name', c.relname,
      'isSuspended', t.suspended_at IS NOT NULL,
      'becomes', (SELECT u.schema || '.' || u.name FROM tviews.construction AS u WHERE u.tview = t.id)
    ) ORDER BY t.id)
    FROM tviews.tview AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.relation
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  ), '[]') AS tviews,
  COALESCE((
    -- Views that read a tview, through other views too: who reads them needs a flush before just the same.
    WITH RECURSIVE reader AS (
      SELECT r.ev_class AS view, t.id AS tview
      FROM tviews.tview AS t
      JOIN pg_catalog.pg_depend AS d
        ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = t.relation
      JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
      UNION
      SELECT r.ev_class, reader.tview
      FROM reader
      JOIN pg_catalog.pg_depend AS d
        ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = reader.view
      JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
      WHERE r.ev_class <> reader.view
    )
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
      'oid', found.oid, 'schema', found.schema, 'name', found.name, 'tviews', found.tviews
    ) ORDER BY found.oid)
    FROM (
      SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name,
        pg_catalog.jsonb_agg(DISTINCT reader.tview) AS tviews
      FROM reader
      JOIN pg_catalog.pg_class AS c ON c.oid = reader.view AND c.relkind = 'v'
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
      GROUP BY c.oid, n.nspname, c.relname
    ) AS found
  ), '[]') AS views,
  (SELECT s.value FROM tviews.secret AS s) AS secret,
  'tviews.claim(bytea, integer)'::pg_catalog.regprocedure::oid::bigint AS claim,
  'tviews.flush(jsonb, boolean)'::pg_catalog.regprocedure::oid::bigint AS flush;
