-- The registered tviews with what there is to say about them. relation::regclass may print a name the user has changed.
SELECT
  t.id, t.schema, t.name, t.key_columns AS key, t.definition, t.created_at, t.changed_at, t.suspended_at,
  c.reltuples::bigint AS estimated_rows,
  pg_catalog.pg_total_relation_size(t.relation) AS bytes,
  (
    SELECT pg_catalog.jsonb_agg(
      pg_catalog.jsonb_build_object(
        'id', s.id, 'kind', s.kind, 'schema', n.nspname, 'name', r.relname,
        'fullRefresh', t.plan->'sources'->(ts.place - 1)->'occurrences' @> '[{"mapping": "everything"}]'
      )
      ORDER BY s.id
    )
    FROM tviews.tview_source AS ts
    JOIN tviews.source AS s ON s.id = ts.source
    JOIN pg_catalog.pg_class AS r ON r.oid = s.relation
    JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
    WHERE ts.tview = t.id
  ) AS sources,
  t.plan->'advice' AS advice,
  (
    SELECT pg_catalog.jsonb_build_object(
      'becomes', pg_catalog.jsonb_build_object('schema', u.schema, 'name', u.name),
      'action', u.action, 'keys', u.keys, 'filled', u.filled
    )
    FROM tviews.construction AS u
    WHERE u.tview = t.id
  ) AS construction
FROM tviews.tview AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.relation
ORDER BY t.schema, t.name;
