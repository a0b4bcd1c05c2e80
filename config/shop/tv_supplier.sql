-- A supplier page: contact, and the range it supplies.
CREATE OR REPLACE TVIEW shop.tv_supplier AS
SELECT
  s.pk_supplier,
  s.id,
  s.country,
  jsonb_build_object(
    'id', s.id,
    'pk', s.pk_supplier,
    'name', s.name,
    'email', s.contact_email,
    'phone', s.contact_phone,
    'country', s.country,
    'product_count', (SELECT count(*) FROM shop.tb_product AS p WHERE p.fk_supplier = s.pk_supplier),
    'products', (
      SELECT coalesce(
        jsonb_agg(
          jsonb_build_object('id', p.id, 'sku', p.sku, 'name', p.name, 'status', p.status)
          ORDER BY p.name, p.pk_product
        ),
        '[]'
      )
      FROM shop.tb_product AS p
      WHERE p.fk_supplier = s.pk_supplier
    )
  ) AS data
FROM shop.tb_supplier AS s;
