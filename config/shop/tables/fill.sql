-- Fills the empty shop. The numbers of rows come from the settings shop.categories, shop.suppliers, shop.products and
-- shop.reviews. Every value is derived from the row's number by a hash, so each run makes the same shop, whatever the plan.

CREATE FUNCTION pg_temp.pick(row_number bigint, salt bigint, choices integer) RETURNS integer
  LANGUAGE sql IMMUTABLE
  RETURN ((hashint8extended(row_number, salt) & 2147483647) % choices)::integer;

CREATE FUNCTION pg_temp.amount(name text) RETURNS integer
  LANGUAGE sql STABLE
  RETURN current_setting('shop.' || name)::integer;

-- The first tenth (three at least) are roots, the others lie below them.
INSERT INTO shop.tb_category (pk_category, id, fk_parent_category, name, slug, created_at)
SELECT n,
       md5('category ' || n)::uuid,
       CASE WHEN n > roots THEN 1 + n % roots END,
       (ARRAY['Kitchen', 'Garden', 'Office', 'Outdoor', 'Music', 'Books', 'Toys', 'Tools', 'Sports', 'Travel'])[1 + n % 10]
         || CASE WHEN n > 10 THEN ' ' || n ELSE '' END,
       'category-' || n,
       timestamptz '2026-01-01 00:00+00' + n * interval '1 minute'
FROM generate_series(1, pg_temp.amount('categories')) AS n,
     greatest(3, pg_temp.amount('categories') / 10) AS roots
ORDER BY n;

INSERT INTO shop.tb_supplier (pk_supplier, id, name, contact_email, contact_phone, country, created_at)
SELECT n,
       md5('supplier ' || n)::uuid,
       (ARRAY['Nordwind', 'Acme', 'Blue Harbour', 'Sakura', 'Condor', 'Meridian', 'Baobab', 'Tundra'])[1 + n % 8] || ' ' || n,
       'sales@supplier-' || n || '.example',
       '+' || (10000000000 + n),
       (ARRAY['Norway', 'Japan', 'Chile', 'Kenya', 'Canada', 'France', 'Vietnam'])[1 + n % 7],
       timestamptz '2026-01-01 00:00+00' + n * interval '1 hour'
FROM generate_series(1, pg_temp.amount('suppliers')) AS n
ORDER BY n;

-- Round robin over the categories; a tenth has no supplier, the others go round robin over the suppliers.
INSERT INTO shop.tb_product (
  pk_product, id, fk_category, fk_supplier, sku, name, description, base_price, current_price, status, created_at, updated_at
)
SELECT n,
       md5('product ' || n)::uuid,
       1 + n % pg_temp.amount('categories'),
       CASE WHEN n % 10 <> 0 THEN 1 + (n - n / 10) % pg_temp.amount('suppliers') END,
       'SKU-' || lpad(n::text, 8, '0'),
       (ARRAY['Small', 'Large', 'Light', 'Sturdy', 'Quiet', 'Bright', 'Folding', 'Classic'])[1 + pg_temp.pick(n, 1, 8)] || ' '
         || (ARRAY['oak', 'steel', 'glass', 'wool', 'bamboo', 'copper'])[1 + pg_temp.pick(n, 2, 6)] || ' '
         || (ARRAY['lamp', 'table', 'kettle', 'chair', 'clock', 'box', 'stand', 'bench', 'tray'])[1 + pg_temp.pick(n, 3, 9)],
       'Product number ' || n || ' of the demo shop.',
       price,
       round(price * (100 - 5 * pg_temp.pick(n, 5, 6)) / 100, 2),
       CASE WHEN pg_temp.pick(n, 6, 10) > 0 THEN 'active' ELSE 'discontinued' END,
       timestamptz '2026-01-01 00:00+00' + n * interval '1 second',
       timestamptz '2026-06-01 00:00+00' + n * interval '1 second'
FROM generate_series(1, pg_temp.amount('products')) AS n,
     LATERAL (SELECT (500 + pg_temp.pick(n, 4, 50000))::numeric / 100) AS priced (price)
ORDER BY n;

INSERT INTO shop.tb_review (
  pk_review, id, fk_product, user_number, rating, title, content, verified, helpful_count, created_at
)
SELECT n,
       md5('review ' || n)::uuid,
       1 + n % pg_temp.amount('products'),
       1 + pg_temp.pick(n, 7, 10000),
       1 + pg_temp.pick(n, 8, 5),
       (ARRAY['Just right', 'Good value', 'Not for me', 'Would buy again', 'As described'])[1 + pg_temp.pick(n, 9, 5)],
       'Review number ' || n || '.',
       pg_temp.pick(n, 10, 10) < 7,
       pg_temp.pick(n, 11, 40),
       timestamptz '2026-02-01 00:00+00' + n * interval '1 second'
FROM generate_series(1, pg_temp.amount('reviews')) AS n
ORDER BY n;

INSERT INTO shop.tb_inventory (
  pk_inventory, id, fk_product, quantity, reserved, warehouse, last_restocked, created_at, updated_at
)
SELECT n,
       md5('inventory ' || n)::uuid,
       n,
       pg_temp.pick(n, 12, 500),
       pg_temp.pick(n, 13, 20),
       (ARRAY['north', 'south', 'east', 'west'])[1 + n % 4],
       timestamptz '2026-05-01 00:00+00' + n * interval '1 second',
       timestamptz '2026-01-01 00:00+00' + n * interval '1 second',
       timestamptz '2026-05-01 00:00+00' + n * interval '1 second'
FROM generate_series(1, pg_temp.amount('products')) AS n
ORDER BY n;

SELECT setval(pg_get_serial_sequence('shop.tb_category', 'pk_category'), max(pk_category)) FROM shop.tb_category;
SELECT setval(pg_get_serial_sequence('shop.tb_supplier', 'pk_supplier'), max(pk_supplier)) FROM shop.tb_supplier;
SELECT setval(pg_get_serial_sequence('shop.tb_product', 'pk_product'), max(pk_product)) FROM shop.tb_product;
SELECT setval(pg_get_serial_sequence('shop.tb_review', 'pk_review'), max(pk_review)) FROM shop.tb_review;
SELECT setval(pg_get_serial_sequence('shop.tb_inventory', 'pk_inventory'), max(pk_inventory)) FROM shop.tb_inventory;

DROP FUNCTION pg_temp.pick, pg_temp.amount;
