-- Everything that is registered, as one row of JSON: what is generated depends on all of it. Relations are known by oid, which
-- a rename leaves as it is, as pg_dump leaves a regclass; their names are those of now, null where there is none any more.
WITH relation AS NOT MATERIALIZED (
  SELECT c.oid, pg_catalog.jsonb_build_object('schema', n.nspname, 'name', c.relname) AS name
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
)
SELECT
  (
    SELECT pg_catalog.jsonb_object_agg(s.name, s.value) FROM tviews.setting AS s
  ) AS settings,
  COALESCE((
    SELECT pg_catalog.jsonb_agg(
      pg_catalog.jsonb_build_object(
        'id', t.id, 'oid', t.relation::oid::bigint, 'schema', t.schema, 'name', t.name,
        'requestedKey', t.requested_key, 'keyOperators', t.key_operators, 'plan', t.plan,
        'table', (SELECT r.name FROM relation AS r WHERE r.oid = t.relation),
        'view', (SELECT r.name FROM relation AS r WHERE r.oid = t.view),
        'viewOid', t.view::oid::bigint, 'isSuspended', t.suspended_at IS NOT NULL, 'problem', t.problem,
        'construction', (
          SELECT pg_catalog.jsonb_build_object(
            'becomes', pg_catalog.jsonb_build_object('schema', c.schema, 'name', c.name),
            'action', c.action, 'keys', c.keys, 'filled', c.filled
          )
          FROM tviews.construction AS c
          WHERE c.tview = t.id
        ),
        'sourceIds', COALESCE((
          SELECT pg_catalog.jsonb_agg(ts.source ORDER BY ts.place)
          FROM tviews.tview_source AS ts
          WHERE ts.tview = t.id AND ts.place IS NOT NULL
        ), '[]')
      ) ORDER BY t.id
    )
    FROM tviews.tview AS t
  ), '[]') AS tviews,
  COALESCE((
    SELECT pg_catalog.jsonb_agg(
      pg_catalog.jsonb_build_object(
        'id', s.id, 'oid', s.relation::oid::bigint, 'kind', s.kind,
        'table', (SELECT r.name FROM relation AS r WHERE r.oid = s.relation)
      ) ORDER BY s.id
    )
    FROM tviews.source AS s
  ), '[]') AS sources;
