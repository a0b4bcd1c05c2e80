-- Ids of tviews whose table lacks a column of the view.
SELECT DISTINCT t.id
FROM tviews.tview AS t
JOIN pg_catalog.pg_attribute AS wanted ON wanted.attrelid = t.view AND wanted.attnum > 0 AND NOT wanted.attisdropped
JOIN pg_catalog.pg_class AS own ON own.oid = t.relation
WHERE NOT EXISTS (
  SELECT FROM pg_catalog.pg_attribute AS a
  WHERE a.attrelid = t.relation AND a.attname = wanted.attname AND a.attnum > 0 AND NOT a.attisdropped
);
