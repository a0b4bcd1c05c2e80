CREATE OR REPLACE FUNCTION tviews."capture_8_update"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  images jsonb;
  change jsonb;
  claimed boolean;
  old_images jsonb;
BEGIN
  SELECT
    jsonb_agg(DISTINCT jsonb_build_object('factor', n."factor"::text, 'unit', n."unit")) FILTER (WHERE n."tviews place" IS NOT NULL),
    jsonb_agg(DISTINCT jsonb_build_object('factor', o."factor"::text, 'unit', o."unit")) FILTER (WHERE o."tviews place" IS NOT NULL AND (n."tviews place" IS NULL OR ROW(o."factor", o."unit")::record *<> ROW(n."factor", n."unit")::record))
  INTO images, old_images
  FROM (SELECT *, row_number() OVER () AS "tviews place" FROM old_rows) AS o
  FULL JOIN (SELECT *, row_number() OVER () AS "tviews place" FROM new_rows) AS n ON n."tviews place" = o."tviews place"
  WHERE o."tviews place" IS NULL OR n."tviews place" IS NULL
    OR ROW(o."factor", o."label", o."unit")::record *<> ROW(n."factor", n."label", n."unit")::record;
  IF COALESCE(images, old_images) IS NULL THEN
    RETURN NULL;
  END IF;
  change := CASE
    WHEN COALESCE(jsonb_array_length(images), 0) + COALESCE(jsonb_array_length(old_images), 0) > 500000 THEN jsonb_build_object('s', 8, 'all', true)
    ELSE jsonb_build_object('s', 8, 'r', CASE WHEN old_images IS NULL THEN images ELSE COALESCE(images, '[]') || old_images END)
  END || CASE WHEN old_images IS NULL THEN '{"k": true}'::jsonb ELSE '{}' END;
  IF (current_setting('tviews.claim', true) = '2') IS TRUE THEN
    BEGIN
      claimed := currval('tviews.claimed') = (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint;
    EXCEPTION
      -- No claim in this session: somebody set tviews.claim by hand, or discarded its sequences.
      WHEN object_not_in_prerequisite_state THEN
        claimed := false;
    END;
    IF claimed THEN
      IF octet_length(change::text) <= 1000 AND pg_client_encoding() = 'UTF8' AND getdatabaseencoding() = 'UTF8' THEN
        RAISE INFO USING ERRCODE = 'TV001', MESSAGE = change::text;
        RETURN NULL;
      END IF;
      RAISE INFO USING ERRCODE = 'TV001', MESSAGE = '{"queued": true}';
    END IF;
  END IF;
  INSERT INTO tviews.queue (change) VALUES (change);
  RETURN NULL;
END
$$;
