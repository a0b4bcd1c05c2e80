CREATE OR REPLACE FUNCTION tviews."capture_8_update"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET extra_float_digits = '1'
AS $$
DECLARE
  images jsonb;
  change jsonb;
  claimed boolean;
BEGIN
  WITH before AS (
    SELECT jsonb_build_object('factor', o."factor"::text, 'unit', o."unit") AS image, ROW(o."factor", o."label", o."unit")::text AS content FROM old_rows AS o
  ), after AS (
    SELECT jsonb_build_object('factor', n."factor"::text, 'unit', n."unit") AS image, ROW(n."factor", n."label", n."unit")::text AS content FROM new_rows AS n
  )
  SELECT jsonb_agg(DISTINCT d.image) INTO images
  FROM (
    (TABLE before EXCEPT ALL TABLE after)
    UNION ALL
    (TABLE after EXCEPT ALL TABLE before)
  ) AS d;
  IF images IS NULL THEN
    RETURN NULL;
  END IF;
  change := CASE
    WHEN jsonb_array_length(images) > 500000 THEN jsonb_build_object('s', 8, 'all', true)
    ELSE jsonb_build_object('s', 8, 'r', images)
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
