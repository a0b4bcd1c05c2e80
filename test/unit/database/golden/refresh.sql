CREATE OR REPLACE FUNCTION tviews."refresh_tv_order line_3"(
  changes jsonb, kept jsonb, alone boolean, tells_keys boolean,
  OUT keys bigint, OUT written bigint, OUT deleted bigint, OUT images jsonb, OUT looked_at jsonb
)
-- Its settings are those of flush, which alone calls it: each SET clause here would cost time for every tview of a flush.
LANGUAGE plpgsql SECURITY DEFINER
AS $$
#variable_conflict use_column
<<refresh>>
DECLARE
  everything boolean;
  single boolean;
  many boolean;
  key_1 bigint[];
  key_2 character varying[];
  far_1_1 text[];
  far_2_1 numeric[];
  far_count integer;
  near_count integer;
  done boolean;
  -- Not a variable for each column: one of a domain that is NOT NULL could not be declared, one of a row not be written.
  new_row record;
  old_image jsonb;
  matters boolean;
  differs boolean;
  -- With the block's name, where a column could have the parameter's.
  by_snapshot boolean := tells_keys;
  unlinked boolean;
  computed bigint;
  duplicate text;
BEGIN
  -- Who computes everything is alone.
  IF alone THEN
    everything := 'true'::jsonb IN (changes->'7', changes->'8', changes->'10', changes->'t3') IS TRUE;
  ELSE
    -- unit u → rate r (r.unit = u.code)
    IF changes ? '10' OR (changes ? '8' AND NOT kept ? '8') THEN
      IF jsonb_array_length(changes->'10') = 1 THEN
        IF (changes->'10'->0->>'code')::text IS NOT NULL THEN
          refresh.far_1_1 := array[(changes->'10'->0->>'code')::text];
        END IF;
      ELSIF jsonb_array_length(changes->'10') > 1 THEN
        SELECT refresh.far_1_1 || array_agg(f.v1)
        INTO refresh.far_1_1
        FROM (
          SELECT DISTINCT i."code"
          FROM (
            SELECT image."code"
            FROM jsonb_to_recordset(changes->'10') AS image ("code" text)
          ) AS i
        ) AS f (v1)
        WHERE f.v1 IS NOT NULL;
      END IF;
      IF COALESCE(cardinality(refresh.far_1_1), 0) + (CASE WHEN kept ? '8' THEN 0 ELSE COALESCE(jsonb_array_length(changes->'8'), 0) END) = 1 THEN
        done := CASE
          WHEN COALESCE(cardinality(refresh.far_1_1), 0) = 1 THEN pg_advisory_xact_lock(1953916265, 49664 + (hash_record(ROW(refresh.far_1_1[1])) & 255)) IS NOT NULL
          ELSE CASE WHEN (changes->'8'->0->>'unit')::text IS NOT NULL THEN pg_advisory_xact_lock_shared(1953916265, 49664 + (hash_record(ROW((changes->'8'->0->>'unit')::text)) & 255)) IS NOT NULL END
        END;
      ELSE
        far_count := COALESCE(cardinality(refresh.far_1_1), 0);
        near_count := (CASE WHEN kept ? '8' THEN 0 ELSE COALESCE(jsonb_array_length(changes->'8'), 0) END);
        IF far_count + near_count > 0 THEN
          SELECT
            count(pg_advisory_xact_lock(1953916265, 49664 + l.stripe)) FILTER (WHERE l.exclusive)
            + count(pg_advisory_xact_lock_shared(1953916265, 49664 + l.stripe)) FILTER (WHERE NOT l.exclusive)
          INTO computed
          FROM (
            SELECT s.stripe, bool_or(s.exclusive) AS exclusive
            FROM (
              SELECT 0 + (hash_record(ROW(f.v1)) & 255), true
              FROM unnest(refresh.far_1_1) AS f (v1)
              WHERE refresh.far_count > 0
              UNION ALL
              SELECT 0 + (hash_record(ROW(i."unit")) & 255), false
              FROM (
                SELECT image."unit"
                FROM jsonb_to_recordset(changes->'8') AS image ("unit" text)
              ) AS i
              WHERE refresh.near_count > 0 AND i."unit" IS NOT NULL
            ) AS s (stripe, exclusive)
            GROUP BY s.stripe
            ORDER BY s.stripe
          ) AS l;
        END IF;
      END IF;
    END IF;
    -- rate r → line l (l.factor = r.factor)
    IF changes ? '8' OR refresh.far_1_1 IS NOT NULL OR (changes ? '7' AND NOT kept ? '7') THEN
      IF jsonb_array_length(changes->'8') = 1 THEN
        IF (changes->'8'->0->>'factor')::numeric IS NOT NULL THEN
          refresh.far_2_1 := array[(changes->'8'->0->>'factor')::numeric];
        END IF;
      ELSIF jsonb_array_length(changes->'8') > 1 THEN
        SELECT refresh.far_2_1 || array_agg(f.v1)
        INTO refresh.far_2_1
        FROM (
          SELECT DISTINCT i."factor"
          FROM (
            SELECT (image."factor"::numeric) AS "factor"
            FROM jsonb_to_recordset(changes->'8') AS image ("factor" text)
          ) AS i
        ) AS f (v1)
        WHERE f.v1 IS NOT NULL;
      END IF;
      IF refresh.far_1_1 IS NOT NULL THEN
        SELECT refresh.far_2_1 || array_agg(f.v1)
        INTO refresh.far_2_1
        FROM (
          WITH below AS (
            SELECT * FROM unnest(refresh.far_1_1) AS b (v1)
          )
          SELECT DISTINCT t.factor
          FROM below
          JOIN "shop"."rate" AS t ON t.unit OPERATOR(pg_catalog.=) below.v1
        ) AS f (v1)
        WHERE f.v1 IS NOT NULL;
      END IF;
      IF COALESCE(cardinality(refresh.far_2_1), 0) + (CASE WHEN kept ? '7' THEN 0 ELSE COALESCE(jsonb_array_length(changes->'7'), 0) END) = 1 THEN
        done := CASE
          WHEN COALESCE(cardinality(refresh.far_2_1), 0) = 1 THEN pg_advisory_xact_lock(1953916265, 49920 + (hash_record(ROW(refresh.far_2_1[1])) & 255)) IS NOT NULL
          ELSE CASE WHEN (changes->'7'->0->>'factor')::numeric IS NOT NULL THEN pg_advisory_xact_lock_shared(1953916265, 49920 + (hash_record(ROW((changes->'7'->0->>'factor')::numeric)) & 255)) IS NOT NULL END
        END;
      ELSE
        far_count := COALESCE(cardinality(refresh.far_2_1), 0);
        near_count := (CASE WHEN kept ? '7' THEN 0 ELSE COALESCE(jsonb_array_length(changes->'7'), 0) END);
        IF far_count + near_count > 0 THEN
          SELECT
            count(pg_advisory_xact_lock(1953916265, 49920 + l.stripe)) FILTER (WHERE l.exclusive)
            + count(pg_advisory_xact_lock_shared(1953916265, 49920 + l.stripe)) FILTER (WHERE NOT l.exclusive)
          INTO computed
          FROM (
            SELECT s.stripe, bool_or(s.exclusive) AS exclusive
            FROM (
              SELECT 0 + (hash_record(ROW(f.v1)) & 255), true
              FROM unnest(refresh.far_2_1) AS f (v1)
              WHERE refresh.far_count > 0
              UNION ALL
              SELECT 0 + (hash_record(ROW(i."factor")) & 255), false
              FROM (
                SELECT (image."factor"::numeric) AS "factor"
                FROM jsonb_to_recordset(changes->'7') AS image ("factor" text)
              ) AS i
              WHERE refresh.near_count > 0 AND i."factor" IS NOT NULL
            ) AS s (stripe, exclusive)
            GROUP BY s.stripe
            ORDER BY s.stripe
          ) AS l;
        END IF;
      END IF;
    END IF;
  END IF;
  IF everything IS NOT TRUE THEN
    -- Keys: from the images alone or along the path to the root, links only (keys-and-locks.md, Theorem 2).
    IF changes ? '7' THEN
      -- line l
      IF jsonb_array_length(changes->'7') = 1 THEN
        refresh.key_1 := CASE WHEN (changes->'7'->0->>'order_id')::bigint IS NOT NULL AND (changes->'7'->0->>'sku"')::character varying(20) IS NOT NULL THEN array_append(refresh.key_1, (changes->'7'->0->>'order_id')::bigint::bigint) ELSE refresh.key_1 END;
        refresh.key_2 := CASE WHEN (changes->'7'->0->>'order_id')::bigint IS NOT NULL AND (changes->'7'->0->>'sku"')::character varying(20) IS NOT NULL THEN array_append(refresh.key_2, (changes->'7'->0->>'sku"')::character varying(20)::character varying) ELSE refresh.key_2 END;
      ELSE
        WITH changed AS (
          SELECT image."order_id", image."sku""", (image."factor"::numeric) AS "factor"
          FROM jsonb_to_recordset(changes->'7') AS image ("order_id" bigint, "sku""" character varying(20) COLLATE pg_catalog."C", "factor" text)
        )
        SELECT refresh.key_1 || array_agg(found.k1), refresh.key_2 || array_agg(found.k2)
        INTO refresh.key_1, refresh.key_2
        FROM (
          SELECT changed.order_id, changed."sku""" FROM changed
        ) AS found (k1, k2);
      END IF;
    END IF;
    IF changes ? '8' THEN
      -- rate r → line l (l.factor = r.factor)
      IF jsonb_array_length(changes->'8') <= 16 THEN
        FOR place IN 0 .. jsonb_array_length(changes->'8') - 1 LOOP
          WITH changed AS (
            SELECT ((changes->'8'->place->>'factor')::numeric) AS "factor", ((changes->'8'->place->>'unit')::text) AS "unit"
          )
          SELECT refresh.key_1 || array_agg(found.k1), refresh.key_2 || array_agg(found.k2)
          INTO refresh.key_1, refresh.key_2
          FROM (
            SELECT l.order_id, l."sku"""
            FROM changed
            JOIN "shop"."line" AS l ON l.factor OPERATOR(pg_catalog.=) changed.factor
          ) AS found (k1, k2);
        END LOOP;
      ELSE
        WITH changed AS (
          SELECT (image."factor"::numeric) AS "factor", image."unit"
          FROM jsonb_to_recordset(changes->'8') AS image ("factor" text, "unit" text)
        )
        SELECT refresh.key_1 || array_agg(found.k1), refresh.key_2 || array_agg(found.k2)
        INTO refresh.key_1, refresh.key_2
        FROM (
          SELECT l.order_id, l."sku"""
          FROM changed
          JOIN "shop"."line" AS l ON l.factor OPERATOR(pg_catalog.=) changed.factor
        ) AS found (k1, k2);
      END IF;
    END IF;
    IF changes ? '10' THEN
      -- unit u → rate r (r.unit = u.code) → line l (l.factor = r.factor)
      IF jsonb_array_length(changes->'10') <= 16 THEN
        FOR place IN 0 .. jsonb_array_length(changes->'10') - 1 LOOP
          WITH changed AS (
            SELECT ((changes->'10'->place->>'code')::text) AS "code"
          )
          SELECT refresh.key_1 || array_agg(found.k1), refresh.key_2 || array_agg(found.k2)
          INTO refresh.key_1, refresh.key_2
          FROM (
            SELECT l.order_id, l."sku"""
            FROM changed
            JOIN "shop"."rate" AS r ON r.unit OPERATOR(pg_catalog.=) changed.code
            JOIN "shop"."line" AS l ON l.factor OPERATOR(pg_catalog.=) r.factor
          ) AS found (k1, k2);
        END LOOP;
      ELSE
        WITH changed AS (
          SELECT image."code"
          FROM jsonb_to_recordset(changes->'10') AS image ("code" text)
        )
        SELECT refresh.key_1 || array_agg(found.k1), refresh.key_2 || array_agg(found.k2)
        INTO refresh.key_1, refresh.key_2
        FROM (
          SELECT l.order_id, l."sku"""
          FROM changed
          JOIN "shop"."rate" AS r ON r.unit OPERATOR(pg_catalog.=) changed.code
          JOIN "shop"."line" AS l ON l.factor OPERATOR(pg_catalog.=) r.factor
        ) AS found (k1, k2);
      END IF;
    END IF;
    IF changes ? 't3' THEN
      SELECT refresh.key_1 || array_agg(found.k1), refresh.key_2 || array_agg(found.k2)
      INTO refresh.key_1, refresh.key_2
      FROM (
        SELECT i."order_id", i."sku"""
        FROM (
          SELECT image."order_id", image."sku"""
          FROM jsonb_to_recordset(changes->'t3') AS image ("order_id" bigint, "sku""" character varying(20) COLLATE pg_catalog."C")
        ) AS i
        WHERE i."order_id" IS NOT NULL AND i."sku""" IS NOT NULL
      ) AS found (k1, k2);
    END IF;
    IF refresh.key_1 IS NULL THEN
      RETURN;
    END IF;
    single := cardinality(refresh.key_1) = 1 OR refresh.key_1 = array_fill(refresh.key_1[1], array[cardinality(refresh.key_1)]) AND refresh.key_2 = array_fill(refresh.key_2[1], array[cardinality(refresh.key_1)]);
    IF single THEN
      done := CASE WHEN NOT alone THEN pg_advisory_xact_lock(1953916265, 49408 + (hash_record(ROW(refresh.key_1[1], refresh.key_2[1])) & 255)) IS NOT NULL END;
    ELSE
      SELECT array_agg(d.k1), array_agg(d.k2), bool_or(d.k1 IS NULL OR d.k2 IS NULL)
      INTO refresh.key_1, refresh.key_2, unlinked
      FROM (SELECT DISTINCT k.k1, k.k2 COLLATE pg_catalog."C" AS k2 FROM unnest(refresh.key_1, refresh.key_2) AS k (k1, k2)) AS d;
      IF NOT alone THEN
        SELECT
          count(pg_advisory_xact_lock(1953916265, 49408 + l.stripe)) FILTER (WHERE l.exclusive)
          + count(pg_advisory_xact_lock_shared(1953916265, 49408 + l.stripe)) FILTER (WHERE NOT l.exclusive)
        INTO computed
        FROM (
          SELECT s.stripe, bool_or(s.exclusive) AS exclusive
          FROM (
            SELECT (hash_record(ROW(k.k1, k.k2)) & 255), true
            FROM unnest(refresh.key_1, refresh.key_2) AS k (k1, k2)
          ) AS s (stripe, exclusive)
          GROUP BY s.stripe
          ORDER BY s.stripe
        ) AS l;
      END IF;
      IF cardinality(refresh.key_1) > 1000 THEN
        SELECT cardinality(refresh.key_1) > c.reltuples * 0.15 INTO many
        FROM pg_class AS c WHERE c.oid = '"shop"."tv_order line"'::regclass AND c.reltuples >= 0;
      END IF;
    END IF;
    IF unlinked OR (single AND (refresh.key_1[1] IS NULL OR refresh.key_2[1] IS NULL)) THEN
      IF EXISTS (SELECT FROM "shop"."v_order line" AS v WHERE v."order_id" IS NULL OR v."sku""" IS NULL) THEN
        RAISE not_null_violation USING
          MESSAGE = 'definition of tview "shop.tv_order line" gives a row whose key is null',
          HINT = 'Leave such rows out in the definition.';
      END IF;
    END IF;
    IF tells_keys THEN
      SELECT jsonb_agg(DISTINCT jsonb_build_object('order_id', i."order_id", 'sku"', i."sku""")) INTO looked_at
      FROM (SELECT k.k1 AS "order_id", k.k2 AS "sku""" FROM unnest(refresh.key_1, refresh.key_2) AS k (k1, k2)) AS i;
    END IF;
  END IF;

  -- Recompute and write. Nobody else writes these rows now, so nothing here waits with what it has computed in hand.
  IF single THEN
    SELECT v."order_id", v."sku""", v."data", count(*) OVER () AS "tviews computed"
    INTO new_row
    FROM "shop"."v_order line" AS v WHERE v."order_id" = refresh.key_1[1] AND v."sku""" = refresh.key_2[1];
    IF new_row."tviews computed" = 1 THEN
      SELECT jsonb_build_object('order_id', t."order_id"), ROW(t."order_id", t."data")::record *<> ROW(refresh.new_row."order_id", refresh.new_row."data")::record, ROW(t."order_id", t."sku""", t."data")::record *<> ROW(refresh.new_row."order_id", refresh.new_row."sku""", refresh.new_row."data")::record
      INTO old_image, matters, differs
      FROM "shop"."tv_order line" AS t WHERE t."order_id" = refresh.key_1[1] AND t."sku""" = refresh.key_2[1];
      IF differs THEN
        UPDATE "shop"."tv_order line" AS t SET "sku""" = refresh.new_row."sku""", "data" = refresh.new_row."data"
        WHERE t."order_id" = refresh.key_1[1] AND t."sku""" = refresh.key_2[1];
        GET DIAGNOSTICS written = ROW_COUNT;
      END IF;
      IF written IS DISTINCT FROM 1 AND differs IS NOT FALSE THEN
        INSERT INTO "shop"."tv_order line" ("order_id", "sku""", "data") VALUES (refresh.new_row."order_id", refresh.new_row."sku""", refresh.new_row."data")
        ON CONFLICT ("order_id", "sku""") DO NOTHING;
        GET DIAGNOSTICS written = ROW_COUNT;
      END IF;
      -- To a snapshot that is kept (tells_keys) a row may be there that others have deleted since, and theirs above it: what seems a
      -- change of no matter to those brings the row back. So there it always matters.
      IF written > 0 AND (matters IS NOT FALSE OR refresh.by_snapshot) THEN
        SELECT CASE WHEN old_image IS NULL OR old_image = i.image THEN jsonb_build_array(i.image) ELSE jsonb_build_array(i.image, old_image) END
        INTO images
        FROM (SELECT jsonb_build_object('order_id', refresh.new_row."order_id") AS image) AS i;
      END IF;
    ELSIF new_row."tviews computed" IS NULL THEN
      DELETE FROM "shop"."tv_order line" AS t WHERE t."order_id" = refresh.key_1[1] AND t."sku""" = refresh.key_2[1]
      RETURNING jsonb_build_array(jsonb_build_object('order_id', t."order_id")) INTO images;
      GET DIAGNOSTICS deleted = ROW_COUNT;
    ELSE
      RAISE cardinality_violation USING
        MESSAGE = 'definition of tview "shop.tv_order line" gives more than one row for a key',
        DETAIL = format('Key (order_id, sku")=(%s, %s) comes %s times.', refresh.key_1[1], refresh.key_2[1], new_row."tviews computed"),
        HINT = 'Group the rows of the definition by its key, or make the key of the tview longer.';
    END IF;
    keys := 1;
  ELSE
    IF everything THEN
      looked_at := 'true';
      WITH computed_rows AS MATERIALIZED (
        SELECT v."order_id", v."sku""", v."data"
        FROM "shop"."v_order line" AS v
      ), duplicate_keys AS (
        SELECT format('Key (order_id, sku")=(%s, %s) comes %s times.', c."order_id", c."sku""", count(*)) AS message
        FROM computed_rows AS c
        GROUP BY c."order_id", c."sku"""
        HAVING count(*) > 1
        LIMIT 1
      ), different_rows AS MATERIALIZED (
        SELECT c."order_id", c."sku""", c."data",
          CASE WHEN t."order_id" IS NOT NULL THEN jsonb_build_object('order_id', t."order_id") END AS "tviews old image",
          refresh.by_snapshot OR t."order_id" IS NULL OR ROW(c."order_id", c."data")::record *<> ROW(t."order_id", t."data")::record AS "tviews matters"
        FROM computed_rows AS c
        LEFT JOIN "shop"."tv_order line" AS t ON t."order_id" = c."order_id" AND t."sku""" = c."sku"""
        WHERE (t."order_id" IS NULL OR ROW(c."order_id", c."sku""", c."data")::record *<> ROW(t."order_id", t."sku""", t."data")::record)
          AND NOT EXISTS (SELECT FROM duplicate_keys)
      ), written_rows AS (
        INSERT INTO "shop"."tv_order line" ("order_id", "sku""", "data")
        SELECT d."order_id", d."sku""", d."data" FROM different_rows AS d
        ON CONFLICT ("order_id", "sku""") DO UPDATE SET "sku""" = EXCLUDED."sku""", "data" = EXCLUDED."data"
        RETURNING true
      ), deleted_rows AS (
        DELETE FROM "shop"."tv_order line" AS t
        WHERE NOT EXISTS (SELECT FROM computed_rows AS c WHERE c."order_id" = t."order_id" AND c."sku""" = t."sku""")
        RETURNING jsonb_build_object('order_id', t."order_id") AS image
      )
      SELECT
        (SELECT count(*) FROM computed_rows),
        (SELECT message FROM duplicate_keys),
        (SELECT count(*) FROM written_rows),
        (SELECT count(*) FROM deleted_rows),
        (
          SELECT CASE WHEN count(*) > 500000 THEN 'true' ELSE jsonb_agg(DISTINCT i.image) END
          FROM (
            SELECT jsonb_build_object('order_id', d."order_id") AS image FROM different_rows AS d WHERE d."tviews matters"
            UNION ALL
            SELECT d."tviews old image" FROM different_rows AS d WHERE d."tviews matters" AND d."tviews old image" IS NOT NULL
            UNION ALL
            SELECT d.image FROM deleted_rows AS d
          ) AS i
        )
      INTO computed, duplicate, written, deleted, images;
      keys := computed + deleted;
    ELSE
      IF many THEN
        WITH all_rows AS MATERIALIZED (
          SELECT v."order_id", v."sku""", v."data", true AS "tviews there" FROM "shop"."v_order line" AS v
        ), computed_rows AS MATERIALIZED (
          SELECT v."order_id", v."sku""", v."data", v."tviews there", k.k1 AS "tviews key 1", k.k2 AS "tviews key 2"
          FROM unnest(refresh.key_1, refresh.key_2) AS k (k1, k2)
          LEFT JOIN all_rows AS v ON v."order_id" = k.k1 AND v."sku""" = k.k2
        ), duplicate_keys AS (
          SELECT format('Key (order_id, sku")=(%s, %s) comes %s times.', c."order_id", c."sku""", count(*)) AS message
          FROM computed_rows AS c
          WHERE c."tviews there"
          GROUP BY c."order_id", c."sku"""
          HAVING count(*) > 1
          LIMIT 1
        ), different_rows AS MATERIALIZED (
          SELECT c."order_id", c."sku""", c."data",
            CASE WHEN t."order_id" IS NOT NULL THEN jsonb_build_object('order_id', t."order_id") END AS "tviews old image",
            refresh.by_snapshot OR t."order_id" IS NULL OR ROW(c."order_id", c."data")::record *<> ROW(t."order_id", t."data")::record AS "tviews matters"
          FROM computed_rows AS c
          LEFT JOIN "shop"."tv_order line" AS t ON t."order_id" = c."order_id" AND t."sku""" = c."sku"""
          WHERE c."tviews there" AND (t."order_id" IS NULL OR ROW(c."order_id", c."sku""", c."data")::record *<> ROW(t."order_id", t."sku""", t."data")::record)
            AND NOT EXISTS (SELECT FROM duplicate_keys)
        ), written_rows AS (
          INSERT INTO "shop"."tv_order line" ("order_id", "sku""", "data")
          SELECT d."order_id", d."sku""", d."data" FROM different_rows AS d
          ON CONFLICT ("order_id", "sku""") DO UPDATE SET "sku""" = EXCLUDED."sku""", "data" = EXCLUDED."data"
          RETURNING true
        ), deleted_rows AS (
          DELETE FROM "shop"."tv_order line" AS t
          USING computed_rows AS c
          WHERE c."tviews there" IS NULL AND t."order_id" = c."tviews key 1" AND t."sku""" = c."tviews key 2"
          RETURNING jsonb_build_object('order_id', t."order_id") AS image
        )
        SELECT
          (SELECT count(*) FROM computed_rows WHERE "tviews there"),
          (SELECT message FROM duplicate_keys),
          (SELECT count(*) FROM written_rows),
          (SELECT count(*) FROM deleted_rows),
          (
            SELECT CASE WHEN count(*) > 500000 THEN 'true' ELSE jsonb_agg(DISTINCT i.image) END
            FROM (
              SELECT jsonb_build_object('order_id', d."order_id") AS image FROM different_rows AS d WHERE d."tviews matters"
              UNION ALL
              SELECT d."tviews old image" FROM different_rows AS d WHERE d."tviews matters" AND d."tviews old image" IS NOT NULL
              UNION ALL
              SELECT d.image FROM deleted_rows AS d
            ) AS i
          )
        INTO computed, duplicate, written, deleted, images;
      ELSE
        WITH computed_rows AS MATERIALIZED (
          SELECT v."order_id", v."sku""", v."data", v."tviews there", k.k1 AS "tviews key 1", k.k2 AS "tviews key 2"
          FROM unnest(refresh.key_1, refresh.key_2) AS k (k1, k2)
          LEFT JOIN LATERAL (SELECT *, true AS "tviews there" FROM "shop"."v_order line" AS w WHERE w."order_id" = k.k1 AND w."sku""" = k.k2 OFFSET 0) AS v ON true
        ), duplicate_keys AS (
          SELECT format('Key (order_id, sku")=(%s, %s) comes %s times.', c."order_id", c."sku""", count(*)) AS message
          FROM computed_rows AS c
          WHERE c."tviews there"
          GROUP BY c."order_id", c."sku"""
          HAVING count(*) > 1
          LIMIT 1
        ), different_rows AS MATERIALIZED (
          SELECT c."order_id", c."sku""", c."data",
            CASE WHEN t."order_id" IS NOT NULL THEN jsonb_build_object('order_id', t."order_id") END AS "tviews old image",
            refresh.by_snapshot OR t."order_id" IS NULL OR ROW(c."order_id", c."data")::record *<> ROW(t."order_id", t."data")::record AS "tviews matters"
          FROM computed_rows AS c
          LEFT JOIN "shop"."tv_order line" AS t ON t."order_id" = c."order_id" AND t."sku""" = c."sku"""
          WHERE c."tviews there" AND (t."order_id" IS NULL OR ROW(c."order_id", c."sku""", c."data")::record *<> ROW(t."order_id", t."sku""", t."data")::record)
            AND NOT EXISTS (SELECT FROM duplicate_keys)
        ), written_rows AS (
          INSERT INTO "shop"."tv_order line" ("order_id", "sku""", "data")
          SELECT d."order_id", d."sku""", d."data" FROM different_rows AS d
          ON CONFLICT ("order_id", "sku""") DO UPDATE SET "sku""" = EXCLUDED."sku""", "data" = EXCLUDED."data"
          RETURNING true
        ), deleted_rows AS (
          DELETE FROM "shop"."tv_order line" AS t
          USING computed_rows AS c
          WHERE c."tviews there" IS NULL AND t."order_id" = c."tviews key 1" AND t."sku""" = c."tviews key 2"
          RETURNING jsonb_build_object('order_id', t."order_id") AS image
        )
        SELECT
          (SELECT count(*) FROM computed_rows WHERE "tviews there"),
          (SELECT message FROM duplicate_keys),
          (SELECT count(*) FROM written_rows),
          (SELECT count(*) FROM deleted_rows),
          (
            SELECT CASE WHEN count(*) > 500000 THEN 'true' ELSE jsonb_agg(DISTINCT i.image) END
            FROM (
              SELECT jsonb_build_object('order_id', d."order_id") AS image FROM different_rows AS d WHERE d."tviews matters"
              UNION ALL
              SELECT d."tviews old image" FROM different_rows AS d WHERE d."tviews matters" AND d."tviews old image" IS NOT NULL
              UNION ALL
              SELECT d.image FROM deleted_rows AS d
            ) AS i
          )
        INTO computed, duplicate, written, deleted, images;
      END IF;
      keys := cardinality(refresh.key_1);
    END IF;
    IF duplicate IS NOT NULL THEN
      RAISE cardinality_violation USING
        MESSAGE = 'definition of tview "shop.tv_order line" gives more than one row for a key',
        DETAIL = duplicate,
        HINT = 'Group the rows of the definition by its key, or make the key of the tview longer.';
    END IF;
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION tviews."compare_tv_order line_3"(
  after text[], page_size integer, by_key boolean, details integer,
  OUT upto text[], OUT compared bigint, OUT missing bigint, OUT surplus bigint, OUT different bigint, OUT rows jsonb
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, YMD'
SET IntervalStyle = 'postgres'
SET extra_float_digits = '1'
SET bytea_output = 'hex'
SET lc_monetary = 'C'
SET lc_time = 'C'
SET lc_numeric = 'C'
SET quote_all_identifiers = 'off'
SET array_nulls = 'on'
SET xmlbinary = 'base64'
SET xmloption = 'content'
SET gin_fuzzy_search_limit = '0'
SET row_security = 'off'
SET timezone_abbreviations = 'Default'
SET plan_cache_mode = 'force_custom_plan'
SET jit = 'off'
SET max_parallel_workers_per_gather = '0'
AS $$
#variable_conflict use_column
<<compare>>
DECLARE
  -- The page: keys above low, up to high; null where it is open.
  low text[] := $1;
  high text[];
  page integer := $2;
  shown integer := $4;
BEGIN
  IF page IS NOT NULL THEN
    -- As many rows as both sides have at most: the table may be empty while the view is not.
    SELECT array[w."order_id"::text, w."sku"""::text]
    FROM "shop"."tv_order line" AS w
    WHERE (compare.low IS NULL OR ROW(w."order_id", w."sku""") > ROW((compare.low[1])::bigint, (compare.low[2])::character varying(20)))
      AND (compare.high IS NULL OR ROW(w."order_id", w."sku""") <= ROW((compare.high[1])::bigint, (compare.high[2])::character varying(20)))
    ORDER BY w."order_id", w."sku"""
    OFFSET compare.page - 1 LIMIT 1
    INTO high;
    SELECT array[w."order_id"::text, w."sku"""::text]
    FROM "shop"."v_order line" AS w
    WHERE (compare.low IS NULL OR ROW(w."order_id", w."sku""") > ROW((compare.low[1])::bigint, (compare.low[2])::character varying(20)))
      AND (compare.high IS NULL OR ROW(w."order_id", w."sku""") <= ROW((compare.high[1])::bigint, (compare.high[2])::character varying(20)))
    ORDER BY w."order_id", w."sku"""
    OFFSET compare.page - 1 LIMIT 1
    INTO upto;
    upto := COALESCE(upto, high);
    high := upto;
  END IF;
  IF $3 THEN
    WITH differing AS MATERIALIZED (
      SELECT
        CASE WHEN t."tviews there" IS NULL THEN 'missing' WHEN v."tviews there" IS NULL THEN 'surplus' ELSE 'different' END AS kind,
        CASE WHEN row_number() OVER () <= compare.shown THEN jsonb_build_object('order_id', COALESCE(t."order_id", v."order_id"), 'sku"', COALESCE(t."sku""", v."sku""")) END AS key,
        CASE WHEN row_number() OVER () <= compare.shown AND t."tviews there" AND v."tviews there" THEN (
          SELECT jsonb_agg(
            jsonb_build_object('name', c.name, 'json', c.is_json)
              || CASE WHEN c.old_value IS NULL THEN '{}' ELSE jsonb_build_object('old', c.old_value) END
              || CASE WHEN c.new_value IS NULL THEN '{}' ELSE jsonb_build_object('new', c.new_value) END
          )
          FROM (VALUES
            ('order_id', false, to_jsonb(left(t."order_id"::text, 201)), to_jsonb(left(v."order_id"::text, 201)), ROW(t."order_id")::record *<> ROW(v."order_id")::record),
            ('sku"', false, to_jsonb(left(t."sku"""::text, 201)), to_jsonb(left(v."sku"""::text, 201)), ROW(t."sku""")::record *<> ROW(v."sku""")::record),
            ('data', COALESCE(pg_column_size(t."data"), 0) + COALESCE(pg_column_size(v."data"), 0) <= 1000000, CASE WHEN COALESCE(pg_column_size(t."data"), 0) + COALESCE(pg_column_size(v."data"), 0) <= 1000000 THEN to_jsonb(t."data") ELSE to_jsonb(left(t."data"::text, 201)) END, CASE WHEN COALESCE(pg_column_size(t."data"), 0) + COALESCE(pg_column_size(v."data"), 0) <= 1000000 THEN to_jsonb(v."data") ELSE to_jsonb(left(v."data"::text, 201)) END, ROW(t."data")::record *<> ROW(v."data")::record)
          ) AS c (name, is_json, old_value, new_value, differs)
          WHERE c.differs
        ) END AS columns
      FROM (
        SELECT w."order_id", w."sku""" FROM "shop"."tv_order line" AS w
        WHERE (compare.low IS NULL OR ROW(w."order_id", w."sku""") > ROW((compare.low[1])::bigint, (compare.low[2])::character varying(20)))
          AND (compare.high IS NULL OR ROW(w."order_id", w."sku""") <= ROW((compare.high[1])::bigint, (compare.high[2])::character varying(20)))
        UNION
        SELECT w."order_id", w."sku""" FROM "shop"."v_order line" AS w
        WHERE (compare.low IS NULL OR ROW(w."order_id", w."sku""") > ROW((compare.low[1])::bigint, (compare.low[2])::character varying(20)))
          AND (compare.high IS NULL OR ROW(w."order_id", w."sku""") <= ROW((compare.high[1])::bigint, (compare.high[2])::character varying(20)))
      ) AS k
      LEFT JOIN (
        SELECT w.*, true AS "tviews there" FROM "shop"."tv_order line" AS w
        WHERE (compare.low IS NULL OR ROW(w."order_id", w."sku""") > ROW((compare.low[1])::bigint, (compare.low[2])::character varying(20)))
          AND (compare.high IS NULL OR ROW(w."order_id", w."sku""") <= ROW((compare.high[1])::bigint, (compare.high[2])::character varying(20)))
      ) AS t ON t."order_id" = k."order_id" AND t."sku""" = k."sku"""
      LEFT JOIN LATERAL (
        SELECT w.*, true AS "tviews there" FROM "shop"."v_order line" AS w WHERE w."order_id" = k."order_id" AND w."sku""" = k."sku""" OFFSET 0
      ) AS v ON true
      WHERE t."tviews there" IS NULL OR v."tviews there" IS NULL
        OR ROW(v."order_id", v."sku""", v."data")::record *<> ROW(t."order_id", t."sku""", t."data")::record
    )
    SELECT
      (
        SELECT count(*) FROM "shop"."tv_order line" AS w
        WHERE (compare.low IS NULL OR ROW(w."order_id", w."sku""") > ROW((compare.low[1])::bigint, (compare.low[2])::character varying(20)))
          AND (compare.high IS NULL OR ROW(w."order_id", w."sku""") <= ROW((compare.high[1])::bigint, (compare.high[2])::character varying(20)))
      ) + count(*) FILTER (WHERE d.kind = 'missing'),
      count(*) FILTER (WHERE d.kind = 'missing'),
      count(*) FILTER (WHERE d.kind = 'surplus'),
      count(*) FILTER (WHERE d.kind = 'different'),
      COALESCE(jsonb_agg(
        jsonb_build_object('kind', d.kind, 'key', d.key, 'differences', (
          WITH RECURSIVE walk AS (
            SELECT c.name, c.is_json, '[]'::jsonb AS path, c.old_value, c.new_value,
              CASE WHEN c.is_json THEN CASE
                -- Equal as text, and yet not the same bytes: there is nothing to look for.
                WHEN c.old_value::text = c.new_value::text THEN 'value'
                WHEN jsonb_typeof(c.old_value) = 'object' AND jsonb_typeof(c.new_value) = 'object' THEN 'objects'
                WHEN jsonb_typeof(c.old_value) = 'array' AND jsonb_typeof(c.new_value) = 'array' THEN
                  CASE
                    WHEN jsonb_array_length(c.old_value) <> jsonb_array_length(c.new_value) THEN 'lists'
                    WHEN (SELECT array_agg(e.value::text ORDER BY e.value::text COLLATE "C") FROM jsonb_array_elements(c.old_value) AS e)
                      = (SELECT array_agg(e.value::text ORDER BY e.value::text COLLATE "C") FROM jsonb_array_elements(c.new_value) AS e) THEN 'reordered'
                    ELSE 'tuples'
                  END
                ELSE 'value'
              END ELSE 'value' END AS relation
            FROM (
              SELECT e.value ->> 'name' AS name, (e.value ->> 'json')::boolean AS is_json,
                e.value -> 'old' AS old_value, e.value -> 'new' AS new_value
              FROM jsonb_array_elements(d.columns) AS e
            ) AS c
            UNION ALL
            SELECT w.name, w.is_json, w.path || jsonb_build_array(child.step), child.old_value, child.new_value,
              CASE
                -- Equal as text, and yet not the same bytes: there is nothing to look for.
                WHEN child.old_value::text = child.new_value::text THEN 'value'
                WHEN jsonb_typeof(child.old_value) = 'object' AND jsonb_typeof(child.new_value) = 'object' THEN 'objects'
                WHEN jsonb_typeof(child.old_value) = 'array' AND jsonb_typeof(child.new_value) = 'array' THEN
                  CASE
                    WHEN jsonb_array_length(child.old_value) <> jsonb_array_length(child.new_value) THEN 'lists'
                    WHEN (SELECT array_agg(e.value::text ORDER BY e.value::text COLLATE "C") FROM jsonb_array_elements(child.old_value) AS e)
                      = (SELECT array_agg(e.value::text ORDER BY e.value::text COLLATE "C") FROM jsonb_array_elements(child.new_value) AS e) THEN 'reordered'
                    ELSE 'tuples'
                  END
                ELSE 'value'
              END
            FROM walk AS w
            CROSS JOIN LATERAL (
              SELECT to_jsonb(COALESCE(o.key, n.key)) AS step, o.value AS old_value, n.value AS new_value
              FROM jsonb_each(CASE w.relation WHEN 'objects' THEN w.old_value ELSE '{}' END) AS o
              FULL JOIN jsonb_each(CASE w.relation WHEN 'objects' THEN w.new_value ELSE '{}' END) AS n ON n.key = o.key
              UNION ALL
              SELECT to_jsonb(o.place - 1), o.value, n.value
              FROM jsonb_array_elements(CASE w.relation WHEN 'tuples' THEN w.old_value ELSE '[]' END) WITH ORDINALITY AS o (value, place)
              JOIN jsonb_array_elements(CASE w.relation WHEN 'tuples' THEN w.new_value ELSE '[]' END) WITH ORDINALITY AS n (value, place)
                ON n.place = o.place
              UNION ALL
              SELECT NULL, lacking.value, NULL
              FROM (
                SELECT o.value FROM jsonb_array_elements(CASE w.relation WHEN 'lists' THEN w.old_value ELSE '[]' END) AS o
                EXCEPT ALL
                SELECT n.value FROM jsonb_array_elements(CASE w.relation WHEN 'lists' THEN w.new_value ELSE '[]' END) AS n
              ) AS lacking
              UNION ALL
              SELECT NULL, NULL, surplus.value
              FROM (
                SELECT n.value FROM jsonb_array_elements(CASE w.relation WHEN 'lists' THEN w.new_value ELSE '[]' END) AS n
                EXCEPT ALL
                SELECT o.value FROM jsonb_array_elements(CASE w.relation WHEN 'lists' THEN w.old_value ELSE '[]' END) AS o
              ) AS surplus
            ) AS child
            WHERE child.old_value::text IS DISTINCT FROM child.new_value::text
          )
          SELECT jsonb_agg(jsonb_build_object(
            'column', l.name, 'path', l.path, 'reordered', l.relation = 'reordered',
            'old', left(CASE WHEN l.is_json THEN l.old_value::text ELSE l.old_value #>> '{}' END, 201),
            'expected', left(CASE WHEN l.is_json THEN l.new_value::text ELSE l.new_value #>> '{}' END, 201)
          ))
          FROM (SELECT * FROM walk AS w WHERE w.relation IN ('value', 'reordered') LIMIT 11) AS l
        ))
      ) FILTER (WHERE d.key IS NOT NULL), '[]')
    FROM differing AS d
    INTO compared, missing, surplus, different, rows;
  ELSE
    WITH differing AS MATERIALIZED (
      SELECT
        CASE WHEN t."tviews there" IS NULL THEN 'missing' WHEN v."tviews there" IS NULL THEN 'surplus' ELSE 'different' END AS kind,
        CASE WHEN row_number() OVER () <= compare.shown THEN jsonb_build_object('order_id', COALESCE(t."order_id", v."order_id"), 'sku"', COALESCE(t."sku""", v."sku""")) END AS key,
        CASE WHEN row_number() OVER () <= compare.shown AND t."tviews there" AND v."tviews there" THEN (
          SELECT jsonb_agg(
            jsonb_build_object('name', c.name, 'json', c.is_json)
              || CASE WHEN c.old_value IS NULL THEN '{}' ELSE jsonb_build_object('old', c.old_value) END
              || CASE WHEN c.new_value IS NULL THEN '{}' ELSE jsonb_build_object('new', c.new_value) END
          )
          FROM (VALUES
            ('order_id', false, to_jsonb(left(t."order_id"::text, 201)), to_jsonb(left(v."order_id"::text, 201)), ROW(t."order_id")::record *<> ROW(v."order_id")::record),
            ('sku"', false, to_jsonb(left(t."sku"""::text, 201)), to_jsonb(left(v."sku"""::text, 201)), ROW(t."sku""")::record *<> ROW(v."sku""")::record),
            ('data', COALESCE(pg_column_size(t."data"), 0) + COALESCE(pg_column_size(v."data"), 0) <= 1000000, CASE WHEN COALESCE(pg_column_size(t."data"), 0) + COALESCE(pg_column_size(v."data"), 0) <= 1000000 THEN to_jsonb(t."data") ELSE to_jsonb(left(t."data"::text, 201)) END, CASE WHEN COALESCE(pg_column_size(t."data"), 0) + COALESCE(pg_column_size(v."data"), 0) <= 1000000 THEN to_jsonb(v."data") ELSE to_jsonb(left(v."data"::text, 201)) END, ROW(t."data")::record *<> ROW(v."data")::record)
          ) AS c (name, is_json, old_value, new_value, differs)
          WHERE c.differs
        ) END AS columns
      FROM (
        SELECT w.*, true AS "tviews there" FROM "shop"."tv_order line" AS w
        WHERE (compare.low IS NULL OR ROW(w."order_id", w."sku""") > ROW((compare.low[1])::bigint, (compare.low[2])::character varying(20)))
          AND (compare.high IS NULL OR ROW(w."order_id", w."sku""") <= ROW((compare.high[1])::bigint, (compare.high[2])::character varying(20)))
      ) AS t
      FULL JOIN (
        SELECT w.*, true AS "tviews there" FROM "shop"."v_order line" AS w
        WHERE (compare.low IS NULL OR ROW(w."order_id", w."sku""") > ROW((compare.low[1])::bigint, (compare.low[2])::character varying(20)))
          AND (compare.high IS NULL OR ROW(w."order_id", w."sku""") <= ROW((compare.high[1])::bigint, (compare.high[2])::character varying(20)))
      ) AS v ON v."order_id" = t."order_id" AND v."sku""" = t."sku"""
      WHERE t."tviews there" IS NULL OR v."tviews there" IS NULL
        OR ROW(v."order_id", v."sku""", v."data")::record *<> ROW(t."order_id", t."sku""", t."data")::record
    )
    SELECT
      (
        SELECT count(*) FROM "shop"."tv_order line" AS w
        WHERE (compare.low IS NULL OR ROW(w."order_id", w."sku""") > ROW((compare.low[1])::bigint, (compare.low[2])::character varying(20)))
          AND (compare.high IS NULL OR ROW(w."order_id", w."sku""") <= ROW((compare.high[1])::bigint, (compare.high[2])::character varying(20)))
      ) + count(*) FILTER (WHERE d.kind = 'missing'),
      count(*) FILTER (WHERE d.kind = 'missing'),
      count(*) FILTER (WHERE d.kind = 'surplus'),
      count(*) FILTER (WHERE d.kind = 'different'),
      COALESCE(jsonb_agg(
        jsonb_build_object('kind', d.kind, 'key', d.key, 'differences', (
          WITH RECURSIVE walk AS (
            SELECT c.name, c.is_json, '[]'::jsonb AS path, c.old_value, c.new_value,
              CASE WHEN c.is_json THEN CASE
                -- Equal as text, and yet not the same bytes: there is nothing to look for.
                WHEN c.old_value::text = c.new_value::text THEN 'value'
                WHEN jsonb_typeof(c.old_value) = 'object' AND jsonb_typeof(c.new_value) = 'object' THEN 'objects'
                WHEN jsonb_typeof(c.old_value) = 'array' AND jsonb_typeof(c.new_value) = 'array' THEN
                  CASE
                    WHEN jsonb_array_length(c.old_value) <> jsonb_array_length(c.new_value) THEN 'lists'
                    WHEN (SELECT array_agg(e.value::text ORDER BY e.value::text COLLATE "C") FROM jsonb_array_elements(c.old_value) AS e)
                      = (SELECT array_agg(e.value::text ORDER BY e.value::text COLLATE "C") FROM jsonb_array_elements(c.new_value) AS e) THEN 'reordered'
                    ELSE 'tuples'
                  END
                ELSE 'value'
              END ELSE 'value' END AS relation
            FROM (
              SELECT e.value ->> 'name' AS name, (e.value ->> 'json')::boolean AS is_json,
                e.value -> 'old' AS old_value, e.value -> 'new' AS new_value
              FROM jsonb_array_elements(d.columns) AS e
            ) AS c
            UNION ALL
            SELECT w.name, w.is_json, w.path || jsonb_build_array(child.step), child.old_value, child.new_value,
              CASE
                -- Equal as text, and yet not the same bytes: there is nothing to look for.
                WHEN child.old_value::text = child.new_value::text THEN 'value'
                WHEN jsonb_typeof(child.old_value) = 'object' AND jsonb_typeof(child.new_value) = 'object' THEN 'objects'
                WHEN jsonb_typeof(child.old_value) = 'array' AND jsonb_typeof(child.new_value) = 'array' THEN
                  CASE
                    WHEN jsonb_array_length(child.old_value) <> jsonb_array_length(child.new_value) THEN 'lists'
                    WHEN (SELECT array_agg(e.value::text ORDER BY e.value::text COLLATE "C") FROM jsonb_array_elements(child.old_value) AS e)
                      = (SELECT array_agg(e.value::text ORDER BY e.value::text COLLATE "C") FROM jsonb_array_elements(child.new_value) AS e) THEN 'reordered'
                    ELSE 'tuples'
                  END
                ELSE 'value'
              END
            FROM walk AS w
            CROSS JOIN LATERAL (
              SELECT to_jsonb(COALESCE(o.key, n.key)) AS step, o.value AS old_value, n.value AS new_value
              FROM jsonb_each(CASE w.relation WHEN 'objects' THEN w.old_value ELSE '{}' END) AS o
              FULL JOIN jsonb_each(CASE w.relation WHEN 'objects' THEN w.new_value ELSE '{}' END) AS n ON n.key = o.key
              UNION ALL
              SELECT to_jsonb(o.place - 1), o.value, n.value
              FROM jsonb_array_elements(CASE w.relation WHEN 'tuples' THEN w.old_value ELSE '[]' END) WITH ORDINALITY AS o (value, place)
              JOIN jsonb_array_elements(CASE w.relation WHEN 'tuples' THEN w.new_value ELSE '[]' END) WITH ORDINALITY AS n (value, place)
                ON n.place = o.place
              UNION ALL
              SELECT NULL, lacking.value, NULL
              FROM (
                SELECT o.value FROM jsonb_array_elements(CASE w.relation WHEN 'lists' THEN w.old_value ELSE '[]' END) AS o
                EXCEPT ALL
                SELECT n.value FROM jsonb_array_elements(CASE w.relation WHEN 'lists' THEN w.new_value ELSE '[]' END) AS n
              ) AS lacking
              UNION ALL
              SELECT NULL, NULL, surplus.value
              FROM (
                SELECT n.value FROM jsonb_array_elements(CASE w.relation WHEN 'lists' THEN w.new_value ELSE '[]' END) AS n
                EXCEPT ALL
                SELECT o.value FROM jsonb_array_elements(CASE w.relation WHEN 'lists' THEN w.old_value ELSE '[]' END) AS o
              ) AS surplus
            ) AS child
            WHERE child.old_value::text IS DISTINCT FROM child.new_value::text
          )
          SELECT jsonb_agg(jsonb_build_object(
            'column', l.name, 'path', l.path, 'reordered', l.relation = 'reordered',
            'old', left(CASE WHEN l.is_json THEN l.old_value::text ELSE l.old_value #>> '{}' END, 201),
            'expected', left(CASE WHEN l.is_json THEN l.new_value::text ELSE l.new_value #>> '{}' END, 201)
          ))
          FROM (SELECT * FROM walk AS w WHERE w.relation IN ('value', 'reordered') LIMIT 11) AS l
        ))
      ) FILTER (WHERE d.key IS NOT NULL), '[]')
    FROM differing AS d
    INTO compared, missing, surplus, different, rows;
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION tviews."compare_cost_tv_order line_3"(
  page_size integer, OUT estimated_rows float8, OUT by_key float8, OUT by_range float8, OUT whole float8
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, YMD'
SET IntervalStyle = 'postgres'
SET extra_float_digits = '1'
SET bytea_output = 'hex'
SET lc_monetary = 'C'
SET lc_time = 'C'
SET lc_numeric = 'C'
SET quote_all_identifiers = 'off'
SET array_nulls = 'on'
SET xmlbinary = 'base64'
SET xmloption = 'content'
SET gin_fuzzy_search_limit = '0'
SET row_security = 'off'
SET timezone_abbreviations = 'Default'
SET plan_cache_mode = 'force_custom_plan'
SET jit = 'off'
SET max_parallel_workers_per_gather = '0'
SET seq_page_cost = '0.05'
SET random_page_cost = '0.05'
AS $$
#variable_conflict use_column
<<compare>>
DECLARE
  low text[];
  high text[];
  page integer := $1;
  bound float8;
  explained jsonb;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT JSON) SELECT FROM "shop"."tv_order line"'
  INTO explained USING low, high, page;
  estimated_rows := (explained -> 0 -> 'Plan' ->> 'Plan Rows')::float8;
  EXECUTE 'EXPLAIN (FORMAT JSON) SELECT count(*)
    FROM (
      SELECT w.*, true AS "tviews there" FROM "shop"."tv_order line" AS w
      WHERE ($1 IS NULL OR ROW(w."order_id", w."sku""") > ROW(($1[1])::bigint, ($1[2])::character varying(20)))
        AND ($2 IS NULL OR ROW(w."order_id", w."sku""") <= ROW(($2[1])::bigint, ($2[2])::character varying(20)))
    ) AS t
    FULL JOIN (
      SELECT w.*, true AS "tviews there" FROM "shop"."v_order line" AS w
      WHERE ($1 IS NULL OR ROW(w."order_id", w."sku""") > ROW(($1[1])::bigint, ($1[2])::character varying(20)))
        AND ($2 IS NULL OR ROW(w."order_id", w."sku""") <= ROW(($2[1])::bigint, ($2[2])::character varying(20)))
    ) AS v ON v."order_id" = t."order_id" AND v."sku""" = t."sku"""
    WHERE t."tviews there" IS NULL OR v."tviews there" IS NULL
      OR ROW(v."order_id", v."sku""", v."data")::record *<> ROW(t."order_id", t."sku""", t."data")::record'
  INTO explained USING low, high, page;
  whole := (explained -> 0 -> 'Plan' ->> 'Total Cost')::float8;
  SELECT array[w."order_id"::text, w."sku"""::text]
  FROM "shop"."tv_order line" AS w
  WHERE (compare.low IS NULL OR ROW(w."order_id", w."sku""") > ROW((compare.low[1])::bigint, (compare.low[2])::character varying(20)))
    AND (compare.high IS NULL OR ROW(w."order_id", w."sku""") <= ROW((compare.high[1])::bigint, (compare.high[2])::character varying(20)))
  ORDER BY w."order_id", w."sku"""
  OFFSET compare.page - 1 LIMIT 1
  INTO high;
  EXECUTE 'EXPLAIN (FORMAT JSON) SELECT array[w."order_id"::text, w."sku"""::text]
  FROM "shop"."v_order line" AS w
  WHERE ($1 IS NULL OR ROW(w."order_id", w."sku""") > ROW(($1[1])::bigint, ($1[2])::character varying(20)))
    AND ($2 IS NULL OR ROW(w."order_id", w."sku""") <= ROW(($2[1])::bigint, ($2[2])::character varying(20)))
  ORDER BY w."order_id", w."sku"""
  OFFSET $3 - 1 LIMIT 1'
  INTO explained USING low, high, page;
  bound := (explained -> 0 -> 'Plan' ->> 'Total Cost')::float8;
  EXECUTE 'EXPLAIN (FORMAT JSON) SELECT count(*)
    FROM (
      SELECT w.*, true AS "tviews there" FROM "shop"."tv_order line" AS w
      WHERE ($1 IS NULL OR ROW(w."order_id", w."sku""") > ROW(($1[1])::bigint, ($1[2])::character varying(20)))
        AND ($2 IS NULL OR ROW(w."order_id", w."sku""") <= ROW(($2[1])::bigint, ($2[2])::character varying(20)))
    ) AS t
    FULL JOIN (
      SELECT w.*, true AS "tviews there" FROM "shop"."v_order line" AS w
      WHERE ($1 IS NULL OR ROW(w."order_id", w."sku""") > ROW(($1[1])::bigint, ($1[2])::character varying(20)))
        AND ($2 IS NULL OR ROW(w."order_id", w."sku""") <= ROW(($2[1])::bigint, ($2[2])::character varying(20)))
    ) AS v ON v."order_id" = t."order_id" AND v."sku""" = t."sku"""
    WHERE t."tviews there" IS NULL OR v."tviews there" IS NULL
      OR ROW(v."order_id", v."sku""", v."data")::record *<> ROW(t."order_id", t."sku""", t."data")::record'
  INTO explained USING low, high, page;
  by_range := bound + (explained -> 0 -> 'Plan' ->> 'Total Cost')::float8;
  EXECUTE 'EXPLAIN (FORMAT JSON) SELECT count(*)
    FROM (
      SELECT w."order_id", w."sku""" FROM "shop"."tv_order line" AS w
      WHERE ($1 IS NULL OR ROW(w."order_id", w."sku""") > ROW(($1[1])::bigint, ($1[2])::character varying(20)))
        AND ($2 IS NULL OR ROW(w."order_id", w."sku""") <= ROW(($2[1])::bigint, ($2[2])::character varying(20)))
      UNION
      SELECT w."order_id", w."sku""" FROM "shop"."v_order line" AS w
      WHERE ($1 IS NULL OR ROW(w."order_id", w."sku""") > ROW(($1[1])::bigint, ($1[2])::character varying(20)))
        AND ($2 IS NULL OR ROW(w."order_id", w."sku""") <= ROW(($2[1])::bigint, ($2[2])::character varying(20)))
    ) AS k
    LEFT JOIN (
      SELECT w.*, true AS "tviews there" FROM "shop"."tv_order line" AS w
      WHERE ($1 IS NULL OR ROW(w."order_id", w."sku""") > ROW(($1[1])::bigint, ($1[2])::character varying(20)))
        AND ($2 IS NULL OR ROW(w."order_id", w."sku""") <= ROW(($2[1])::bigint, ($2[2])::character varying(20)))
    ) AS t ON t."order_id" = k."order_id" AND t."sku""" = k."sku"""
    LEFT JOIN LATERAL (
      SELECT w.*, true AS "tviews there" FROM "shop"."v_order line" AS w WHERE w."order_id" = k."order_id" AND w."sku""" = k."sku""" OFFSET 0
    ) AS v ON true
    WHERE t."tviews there" IS NULL OR v."tviews there" IS NULL
      OR ROW(v."order_id", v."sku""", v."data")::record *<> ROW(t."order_id", t."sku""", t."data")::record'
  INTO explained USING low, high, page;
  by_key := bound + (explained -> 0 -> 'Plan' ->> 'Total Cost')::float8;
END
$$;
