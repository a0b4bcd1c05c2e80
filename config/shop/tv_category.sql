-- A category page: the category, the one above it, and all its products with their prices.
CREATE OR REPLACE TVIEW shop.tv_category AS
SELECT
  c.pk_category,
  c.id,
  c.slug,
  jsonb_build_object(
    'id', c.id,
    'pk', c.pk_category,
    'name', c.name,
    'slug', c.slug,
    'parent', CASE WHEN parent.pk_category IS NOT NULL THEN
      jsonb_build_object('id', parent.id, 'name', parent.name, 'slug', parent.slug)
    END,
    'products', (
      SELECT coalesce(
        jsonb_agg(
          jsonb_build_object('id', p.id, 'sku', p.sku, 'name', p.name, 'price', p.current_price, 'status', p.status)
          ORDER BY p.name, p.pk_product
        ),
        '[]'
      )
      FROM shop.tb_product AS p
      WHERE p.fk_category = c.pk_category
    )
  ) AS data
FROM shop.tb_category AS c
LEFT JOIN shop.tb_category AS parent ON parent.pk_category = c.fk_parent_category;
