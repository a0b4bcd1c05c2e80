CREATE OR REPLACE FUNCTION tviews."refresh_tv_order_4"(
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
  -- Not a variable for each column: one of a domain that is NOT NULL could not be declared, one of a row not be written.
  new_row record;
  unlinked boolean;
  computed bigint;
  duplicate text;
BEGIN
  -- Who computes everything is alone.
  IF alone THEN
    everything := 'true'::jsonb IN (changes->'7', changes->'8', changes->'10', changes->'t4') IS TRUE;
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
    IF changes ? 't4' THEN
      SELECT refresh.key_1 || array_agg(found.k1), refresh.key_2 || array_agg(found.k2)
      INTO refresh.key_1, refresh.key_2
      FROM (
        SELECT i."order_id", i."sku"""
        FROM (
          SELECT image."order_id", image."sku"""
          FROM jsonb_to_recordset(changes->'t4') AS image ("order_id" bigint, "sku""" character varying(20) COLLATE pg_catalog."C")
        ) AS i
        WHERE i."order_id" IS NOT NULL AND i."sku""" IS NOT NULL
      ) AS found (k1, k2);
    END IF;
    IF refresh.key_1 IS NULL THEN
      RETURN;
    END IF;
    single := cardinality(refresh.key_1) = 1 OR refresh.key_1 = array_fill(refresh.key_1[1], array[cardinality(refresh.key_1)]) AND refresh.key_2 = array_fill(refresh.key_2[1], array[cardinality(refresh.key_1)]);
    IF NOT single THEN
      SELECT array_agg(d.k1), array_agg(d.k2), bool_or(d.k1 IS NULL OR d.k2 IS NULL)
      INTO refresh.key_1, refresh.key_2, unlinked
      FROM (SELECT DISTINCT k.k1, k.k2 COLLATE pg_catalog."C" AS k2 FROM unnest(refresh.key_1, refresh.key_2) AS k (k1, k2)) AS d;
      IF cardinality(refresh.key_1) > 1000 THEN
        SELECT cardinality(refresh.key_1) > c.reltuples * 0.15 INTO many
        FROM pg_class AS c WHERE c.oid = '"shop"."tv_order"'::regclass AND c.reltuples >= 0;
      END IF;
    END IF;
    IF unlinked OR (single AND (refresh.key_1[1] IS NULL OR refresh.key_2[1] IS NULL)) THEN
      IF EXISTS (SELECT FROM "shop"."v_order line" AS v WHERE v."order_id" IS NULL OR v."sku""" IS NULL) THEN
        RAISE not_null_violation USING
          MESSAGE = 'definition of tview "shop.tv_order" gives a row whose key is null',
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
      UPDATE "shop"."tv_order" AS t SET "sku""" = refresh.new_row."sku""", "data" = refresh.new_row."data"
      WHERE t."order_id" = refresh.key_1[1] AND t."sku""" = refresh.key_2[1] AND CASE WHEN t."order_id" = refresh.key_1[1] AND t."sku""" = refresh.key_2[1] THEN ROW(t."order_id", t."sku""", t."data")::record *<> ROW(refresh.new_row."order_id", refresh.new_row."sku""", refresh.new_row."data")::record END;
      GET DIAGNOSTICS written = ROW_COUNT;
      IF written IS DISTINCT FROM 1 THEN
        INSERT INTO "shop"."tv_order" ("order_id", "sku""", "data") VALUES (refresh.new_row."order_id", refresh.new_row."sku""", refresh.new_row."data")
        ON CONFLICT ("order_id", "sku""") DO NOTHING;
        GET DIAGNOSTICS written = ROW_COUNT;
      END IF;
    ELSIF new_row."tviews computed" IS NULL THEN
      DELETE FROM "shop"."tv_order" AS t WHERE t."order_id" = refresh.key_1[1] AND t."sku""" = refresh.key_2[1];
      GET DIAGNOSTICS deleted = ROW_COUNT;
    ELSE
      RAISE cardinality_violation USING
        MESSAGE = 'definition of tview "shop.tv_order" gives more than one row for a key',
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
        SELECT c."order_id", c."sku""", c."data"
        FROM computed_rows AS c
        LEFT JOIN "shop"."tv_order" AS t ON t."order_id" = c."order_id" AND t."sku""" = c."sku"""
        WHERE (t."order_id" IS NULL OR ROW(c."order_id", c."sku""", c."data")::record *<> ROW(t."order_id", t."sku""", t."data")::record)
          AND NOT EXISTS (SELECT FROM duplicate_keys)
      ), written_rows AS (
        INSERT INTO "shop"."tv_order" ("order_id", "sku""", "data")
        SELECT d."order_id", d."sku""", d."data" FROM different_rows AS d
        ON CONFLICT ("order_id", "sku""") DO UPDATE SET "sku""" = EXCLUDED."sku""", "data" = EXCLUDED."data"
        RETURNING true
      ), deleted_rows AS (
        DELETE FROM "shop"."tv_order" AS t
        WHERE NOT EXISTS (SELECT FROM computed_rows AS c WHERE c."order_id" = t."order_id" AND c."sku""" = t."sku""")
        RETURNING true
      )
      SELECT
        (SELECT count(*) FROM computed_rows),
        (SELECT message FROM duplicate_keys),
        (SELECT count(*) FROM written_rows),
        (SELECT count(*) FROM deleted_rows),
        NULL
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
          SELECT c."order_id", c."sku""", c."data"
          FROM computed_rows AS c
          LEFT JOIN "shop"."tv_order" AS t ON t."order_id" = c."order_id" AND t."sku""" = c."sku"""
          WHERE c."tviews there" AND (t."order_id" IS NULL OR ROW(c."order_id", c."sku""", c."data")::record *<> ROW(t."order_id", t."sku""", t."data")::record)
            AND NOT EXISTS (SELECT FROM duplicate_keys)
        ), written_rows AS (
          INSERT INTO "shop"."tv_order" ("order_id", "sku""", "data")
          SELECT d."order_id", d."sku""", d."data" FROM different_rows AS d
          ON CONFLICT ("order_id", "sku""") DO UPDATE SET "sku""" = EXCLUDED."sku""", "data" = EXCLUDED."data"
          RETURNING true
        ), deleted_rows AS (
          DELETE FROM "shop"."tv_order" AS t
          USING computed_rows AS c
          WHERE c."tviews there" IS NULL AND t."order_id" = c."tviews key 1" AND t."sku""" = c."tviews key 2"
          RETURNING true
        )
        SELECT
          (SELECT count(*) FROM computed_rows WHERE "tviews there"),
          (SELECT message FROM duplicate_keys),
          (SELECT count(*) FROM written_rows),
          (SELECT count(*) FROM deleted_rows),
          NULL
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
          SELECT c."order_id", c."sku""", c."data"
          FROM computed_rows AS c
          LEFT JOIN "shop"."tv_order" AS t ON t."order_id" = c."order_id" AND t."sku""" = c."sku"""
          WHERE c."tviews there" AND (t."order_id" IS NULL OR ROW(c."order_id", c."sku""", c."data")::record *<> ROW(t."order_id", t."sku""", t."data")::record)
            AND NOT EXISTS (SELECT FROM duplicate_keys)
        ), written_rows AS (
          INSERT INTO "shop"."tv_order" ("order_id", "sku""", "data")
          SELECT d."order_id", d."sku""", d."data" FROM different_rows AS d
          ON CONFLICT ("order_id", "sku""") DO UPDATE SET "sku""" = EXCLUDED."sku""", "data" = EXCLUDED."data"
          RETURNING true
        ), deleted_rows AS (
          DELETE FROM "shop"."tv_order" AS t
          USING computed_rows AS c
          WHERE c."tviews there" IS NULL AND t."order_id" = c."tviews key 1" AND t."sku""" = c."tviews key 2"
          RETURNING true
        )
        SELECT
          (SELECT count(*) FROM computed_rows WHERE "tviews there"),
          (SELECT message FROM duplicate_keys),
          (SELECT count(*) FROM written_rows),
          (SELECT count(*) FROM deleted_rows),
          NULL
        INTO computed, duplicate, written, deleted, images;
      END IF;
      keys := cardinality(refresh.key_1);
    END IF;
    IF duplicate IS NOT NULL THEN
      RAISE cardinality_violation USING
        MESSAGE = 'definition of tview "shop.tv_order" gives more than one row for a key',
        DETAIL = duplicate,
        HINT = 'Group the rows of the definition by its key, or make the key of the tview longer.';
    END IF;
  END IF;
END
$$;
