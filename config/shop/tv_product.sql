-- A product page in one row: the product with its category, supplier, stock, and what its reviews say.
CREATE OR REPLACE TVIEW shop.tv_product AS
SELECT
  p.pk_product,
  p.id,
  p.fk_category,
  jsonb_build_object(
    'id', p.id,
    'pk', p.pk_product,
    'sku', p.sku,
    'name', p.name,
    'description', p.description,
    'price', jsonb_build_object(
      'base', p.base_price,
      'current', p.current_price,
      'currency', p.currency,
      'discount_pct', round(100 * (p.base_price - p.current_price) / p.base_price, 1)
    ),
    'status', p.status,
    'category', jsonb_build_object('id', c.id, 'pk', c.pk_category, 'name', c.name, 'slug', c.slug),
    'supplier', CASE WHEN s.pk_supplier IS NOT NULL THEN
      jsonb_build_object('id', s.id, 'pk', s.pk_supplier, 'name', s.name, 'email', s.contact_email, 'country', s.country)
    END,
    'inventory', CASE WHEN i.pk_inventory IS NOT NULL THEN
      jsonb_build_object(
        'quantity', i.quantity,
        'available', i.quantity - i.reserved,
        'in_stock', i.quantity > i.reserved,
        'warehouse', i.warehouse
      )
    END,
    'reviews', jsonb_build_object(
      'count', (SELECT count(*) FROM shop.tb_review AS r WHERE r.fk_product = p.pk_product),
      'average_rating', (SELECT round(avg(r.rating), 2) FROM shop.tb_review AS r WHERE r.fk_product = p.pk_product),
      -- The order is total: two reviews of one moment must not change places from one refresh to the next.
      'recent', (
        SELECT coalesce(
          jsonb_agg(
            jsonb_build_object('id', recent.id, 'rating', recent.rating, 'title', recent.title, 'user', recent.user_number)
            ORDER BY recent.created_at DESC, recent.pk_review DESC
          ),
          '[]'
        )
        FROM (
          SELECT r.pk_review, r.id, r.rating, r.title, r.user_number, r.created_at
          FROM shop.tb_review AS r
          WHERE r.fk_product = p.pk_product
          ORDER BY r.created_at DESC, r.pk_review DESC
          LIMIT 5
        ) AS recent
      )
    ),
    'created_at', p.created_at,
    'updated_at', p.updated_at
  ) AS data
FROM shop.tb_product AS p
JOIN shop.tb_category AS c ON c.pk_category = p.fk_category
LEFT JOIN shop.tb_supplier AS s ON s.pk_supplier = p.fk_supplier
LEFT JOIN shop.tb_inventory AS i ON i.fk_product = p.pk_product;
