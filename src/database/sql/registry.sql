-- Everything that is registered, as one row of JSON: what is generated depends on all of it.
SELECT
  (
    SELECT pg_catalog.jsonb_object_agg(s.name, s.value) FROM tviews.setting AS s
  ) AS settings,
  COALESCE((
    SELECT pg_catalog.jsonb_agg(
      pg_catalog.jsonb_build_object(
        'id', t.id, 'oid', t.relation::oid::bigint, 'schema', t.schema, 'name', t.name,
        'requestedKey', t.requested_key, 'keyOperators', t.key_operators, 'plan', t.plan,
        'sourceIds', (
          SELECT pg_catalog.jsonb_agg(s.id ORDER BY listed.place)
          FROM pg_catalog.jsonb_array_elements(t.plan->'sources') WITH ORDINALITY AS listed (source, place)
          JOIN tviews.source AS s ON s.relation = pg_catalog.to_regclass(
            pg_catalog.format('%I.%I', listed.source->'table'->>'schema', listed.source->'table'->>'name')
          )
        )
      ) ORDER BY t.id
    )
    FROM tviews.tview AS t
  ), '[]') AS tviews,
  COALESCE((
    SELECT pg_catalog.jsonb_agg(
      pg_catalog.jsonb_build_object('id', s.id, 'oid', s.relation::oid::bigint, 'kind', s.kind) ORDER BY s.id
    )
    FROM tviews.source AS s
  ), '[]') AS sources;
