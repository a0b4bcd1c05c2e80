CREATE OR REPLACE TRIGGER tviews_capture_insert_7 AFTER INSERT ON "shop"."line of 2026"
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tviews."capture_7_insert"();

CREATE OR REPLACE FUNCTION tviews."capture_7_row"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  change jsonb;
  claimed boolean;
BEGIN
  IF NOT EXISTS (
    SELECT FROM tviews.source AS s
    WHERE s.id = 7 AND s.relation::oid IN (SELECT a.relid FROM pg_partition_ancestors(TG_RELID) AS a)
  ) THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    change := jsonb_build_array(jsonb_build_object('order_id', NEW."order_id", 'sku"', NEW."sku""", 'factor', NEW."factor"::text));
  ELSIF TG_OP = 'DELETE' THEN
    change := jsonb_build_array(jsonb_build_object('order_id', OLD."order_id", 'sku"', OLD."sku""", 'factor', OLD."factor"::text));
  ELSIF ROW(OLD."order_id", OLD."sku""", OLD."factor", OLD."quantity")::record *<> ROW(NEW."order_id", NEW."sku""", NEW."factor", NEW."quantity")::record THEN
    change := jsonb_build_array(jsonb_build_object('order_id', OLD."order_id", 'sku"', OLD."sku""", 'factor', OLD."factor"::text), jsonb_build_object('order_id', NEW."order_id", 'sku"', NEW."sku""", 'factor', NEW."factor"::text));
  ELSE
    RETURN NULL;
  END IF;
  change := jsonb_build_object('s', 7, 'r', change);
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

CREATE OR REPLACE TRIGGER tviews_capture_row_7 AFTER INSERT OR UPDATE OR DELETE ON "shop"."line"
FOR EACH ROW EXECUTE FUNCTION tviews."capture_7_row"();

CREATE OR REPLACE FUNCTION tviews."capture_7_update"() RETURNS trigger
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
