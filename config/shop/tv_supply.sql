-- What each country supplies: a tview over a tview. It follows tv_supplier within the same transaction.
CREATE OR REPLACE TVIEW shop.tv_supply WITH (key = 'country') AS
SELECT
  s.country,
  jsonb_build_object(
    'country', s.country,
    'supplier_count', count(*),
    'product_count', sum((s.data ->> 'product_count')::bigint),
    'suppliers', jsonb_agg(
      jsonb_build_object('id', s.id, 'name', s.data -> 'name', 'products', s.data -> 'product_count')
      ORDER BY s.pk_supplier
    )
  ) AS data
FROM shop.tv_supplier AS s
WHERE s.country IS NOT NULL
GROUP BY s.country;
