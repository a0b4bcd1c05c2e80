CREATE OR REPLACE FUNCTION tviews."capture_7_insert"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  images jsonb;
  change jsonb;
  claimed boolean;
BEGIN
  SELECT jsonb_agg(jsonb_build_object('order_id', r."order_id", 'sku"', r."sku""", 'factor', r."factor"::text)) INTO images
  FROM new_rows AS r;
  IF images IS NULL THEN
    RETURN NULL;
  END IF;
  change := CASE
    WHEN jsonb_array_length(images) > 500000 THEN jsonb_build_object('s', 7, 'all', true)
    ELSE jsonb_build_object('s', 7, 'r', images)
  END;
  IF (current_setting('tviews.claim', true) = '2') IS TRUE THEN
    BEGIN
      claimed := currval('tviews.claimed') = (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint;
    EXCEPTION
      -- No claim in this session: somebody set tviews.claim by hand, or discarded its sequences.
      WHEN object_not_in_prerequisite_state THEN
        claimed := false;
    END;
    IF claimed THEN
      IF octet_length(change::text) <= 65536 AND pg_client_encoding() = 'UTF8' AND getdatabaseencoding() = 'UTF8' THEN
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

CREATE OR REPLACE TRIGGER tviews_capture_insert AFTER INSERT ON "shop"."line"
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tviews."capture_7_insert"();

CREATE OR REPLACE FUNCTION tviews."capture_7_update"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  images jsonb;
  change jsonb;
  claimed boolean;
  old_images jsonb;
  matters_1 boolean;
  matters_2 boolean;
BEGIN
  SELECT
    jsonb_agg(jsonb_build_object('order_id', n."order_id", 'sku"', n."sku""", 'factor', n."factor"::text)) FILTER (WHERE n."tviews place" IS NOT NULL),
    jsonb_agg(jsonb_build_object('order_id', o."order_id", 'sku"', o."sku""", 'factor', o."factor"::text)) FILTER (WHERE o."tviews place" IS NOT NULL AND (n."tviews place" IS NULL OR ROW(o."order_id", o."sku""", o."factor")::record *<> ROW(n."order_id", n."sku""", n."factor")::record)),
    bool_or(o."tviews place" IS NULL OR n."tviews place" IS NULL OR ROW(o."order_id", o."sku""", o."factor", o."quantity")::record *<> ROW(n."order_id", n."sku""", n."factor", n."quantity")::record),
    bool_or(o."tviews place" IS NULL OR n."tviews place" IS NULL OR ROW(o."order_id", o."sku""")::record *<> ROW(n."order_id", n."sku""")::record)
  INTO images, old_images, matters_1, matters_2
  FROM (SELECT *, row_number() OVER () AS "tviews place" FROM old_rows) AS o
  FULL JOIN (SELECT *, row_number() OVER () AS "tviews place" FROM new_rows) AS n ON n."tviews place" = o."tviews place"
  WHERE o."tviews place" IS NULL OR n."tviews place" IS NULL
    OR ROW(o."order_id", o."sku""", o."factor", o."quantity")::record *<> ROW(n."order_id", n."sku""", n."factor", n."quantity")::record;
  IF COALESCE(images, old_images) IS NULL THEN
    RETURN NULL;
  END IF;
  change := CASE
    WHEN COALESCE(jsonb_array_length(images), 0) + COALESCE(jsonb_array_length(old_images), 0) > 500000 THEN jsonb_build_object('s', 7, 'all', true)
    ELSE jsonb_build_object('s', 7, 'r', CASE WHEN old_images IS NULL THEN images ELSE COALESCE(images, '[]') || old_images END)
  END || CASE WHEN old_images IS NULL THEN '{"k": true}'::jsonb ELSE '{}' END || CASE WHEN matters_1 AND matters_2 THEN '{}'::jsonb ELSE jsonb_build_object('t', CASE WHEN matters_1 THEN '[3]'::jsonb ELSE '[]' END || CASE WHEN matters_2 THEN '[4]'::jsonb ELSE '[]' END) END;
  IF (current_setting('tviews.claim', true) = '2') IS TRUE THEN
    BEGIN
      claimed := currval('tviews.claimed') = (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint;
    EXCEPTION
      -- No claim in this session: somebody set tviews.claim by hand, or discarded its sequences.
      WHEN object_not_in_prerequisite_state THEN
        claimed := false;
    END;
    IF claimed THEN
      IF octet_length(change::text) <= 65536 AND pg_client_encoding() = 'UTF8' AND getdatabaseencoding() = 'UTF8' THEN
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

CREATE OR REPLACE TRIGGER tviews_capture_update AFTER UPDATE ON "shop"."line"
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tviews."capture_7_update"();

CREATE OR REPLACE FUNCTION tviews."capture_7_delete"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  images jsonb;
  change jsonb;
  claimed boolean;
BEGIN
  SELECT jsonb_agg(jsonb_build_object('order_id', r."order_id", 'sku"', r."sku""", 'factor', r."factor"::text)) INTO images
  FROM old_rows AS r;
  IF images IS NULL THEN
    RETURN NULL;
  END IF;
  change := CASE
    WHEN jsonb_array_length(images) > 500000 THEN jsonb_build_object('s', 7, 'all', true)
    ELSE jsonb_build_object('s', 7, 'r', images)
  END;
  IF (current_setting('tviews.claim', true) = '2') IS TRUE THEN
    BEGIN
      claimed := currval('tviews.claimed') = (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint;
    EXCEPTION
      -- No claim in this session: somebody set tviews.claim by hand, or discarded its sequences.
      WHEN object_not_in_prerequisite_state THEN
        claimed := false;
    END;
    IF claimed THEN
      IF octet_length(change::text) <= 65536 AND pg_client_encoding() = 'UTF8' AND getdatabaseencoding() = 'UTF8' THEN
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

CREATE OR REPLACE TRIGGER tviews_capture_delete AFTER DELETE ON "shop"."line"
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION tviews."capture_7_delete"();

CREATE OR REPLACE FUNCTION tviews."capture_7_truncate"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  change jsonb := jsonb_build_object('s', 7, 'all', true);
  claimed boolean;
BEGIN
  IF (current_setting('tviews.claim', true) = '2') IS TRUE THEN
    BEGIN
      claimed := currval('tviews.claimed') = (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint;
    EXCEPTION
      -- No claim in this session: somebody set tviews.claim by hand, or discarded its sequences.
      WHEN object_not_in_prerequisite_state THEN
        claimed := false;
    END;
    IF claimed THEN
      IF octet_length(change::text) <= 65536 AND pg_client_encoding() = 'UTF8' AND getdatabaseencoding() = 'UTF8' THEN
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

CREATE OR REPLACE TRIGGER tviews_capture_truncate AFTER TRUNCATE ON "shop"."line"
FOR EACH STATEMENT EXECUTE FUNCTION tviews."capture_7_truncate"();
