CREATE OR REPLACE FUNCTION tviews.flush(changes jsonb, release boolean) RETURNS jsonb
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
SET plan_cache_mode = 'force_generic_plan'
SET jit = 'off'
SET enable_seqscan = 'on'
AS $$
DECLARE
  merged jsonb;
  relevant jsonb;
  kept jsonb;
  single jsonb;
  wide boolean;
  flushing text;
  abbreviations text;
  done boolean;
  result record;
  report jsonb := '[]';
  own_xid bigint;
  snapshot_is_kept boolean;
  by_snapshot jsonb;
  record uuid;
  alone boolean;
  ticket bigint;
  started timestamptz;
BEGIN
  -- Here and below, done := f(…): an assignment is evaluated by itself, where PERFORM would run a query. Each expression that
  -- is evaluated costs some 3 µs in every transaction, so there are few for what is common (bench/README.md, breakdown).
  --
  -- After the last flush nobody listens to notices any more: what a deferred trigger of the user writes during COMMIT must
  -- find the queue. Nor does anybody wait for one from the last flush itself: what a trigger on a tv_ table writes, too. ROLLBACK
  -- TO and a later SET do not undo what the sequence has (decision 001). A transaction made read only since cannot write any more.
  done := CASE WHEN release AND current_setting('transaction_read_only') = 'off' THEN
    set_config('tviews.claim', 'off', true) IS NOT NULL AND setval('tviews.claimed', 1) IS NOT NULL
  END;
  -- What is owed, as one object by source. A transaction that can write nothing has queued nothing.
  IF changes @> '[{"queued": true}]' AND current_setting('transaction_read_only') = 'off' THEN
    -- By the index, as the queue's trigger does (000010.sql).
    done := set_config('enable_seqscan', 'off', true) IS NOT NULL;
    WITH gone AS (
      DELETE FROM tviews.queue AS q WHERE q.tx = pg_current_xact_id() RETURNING q.change
    )
    SELECT changes || COALESCE(jsonb_agg(gone.change), '[]') INTO changes FROM gone;
    done := set_config('enable_seqscan', 'on', true) IS NOT NULL;
  END IF;
  IF jsonb_array_length(changes) = 1 AND jsonb_typeof(changes->0->'s') = 'number' AND jsonb_typeof(changes->0->'r') = 'array' THEN
    merged := jsonb_build_object(changes->0->>'s', changes->0->'r');
    relevant := CASE WHEN changes->0 ? 't' THEN jsonb_build_object(changes->0->>'s', changes->0->'t') ELSE '{}' END;
    kept := CASE WHEN changes->0->'k' = 'true' THEN jsonb_build_object(changes->0->>'s', true) ELSE '{}' END;
  ELSE
    IF jsonb_array_length(changes) <= 16 THEN
      merged := '{}';
      relevant := '{}';
      kept := '{}';
      FOR i IN 0 .. jsonb_array_length(changes) - 1 LOOP
        single := changes->i;
        IF jsonb_typeof(single->'s') = 'number' AND jsonb_typeof(single->'r') = 'array' AND NOT merged ? (single->>'s') THEN
          merged := merged || jsonb_build_object(single->>'s', single->'r');
          IF single ? 't' THEN
            relevant := relevant || jsonb_build_object(single->>'s', single->'t');
          END IF;
          IF single->'k' = 'true' THEN
            kept := kept || jsonb_build_object(single->>'s', true);
          END IF;
        ELSIF single <> '{"queued": true}' THEN
          merged := NULL;
          EXIT;
        END IF;
      END LOOP;
    END IF;
    IF merged IS NULL THEN
      SELECT change INTO single
      FROM jsonb_array_elements(changes) AS change
      WHERE (
        change = '{"queued": true}'
        OR (
          jsonb_typeof(change->'s') = 'number' AND COALESCE(jsonb_typeof(change->'t'), 'array') = 'array'
          AND COALESCE(change->'k', 'true') = 'true'
          AND (jsonb_typeof(change->'r') = 'array' OR change->'all' = 'true')
        )
        OR (
          jsonb_typeof(change->'tview') = 'number'
          AND (jsonb_typeof(change->'r') = 'array' OR change->'all' = 'true')
        )
      ) IS NOT TRUE
      LIMIT 1;
      IF FOUND THEN
        RAISE invalid_parameter_value USING
          MESSAGE = 'invalid change in the argument of tviews.flush',
          DETAIL = format('It is %s.', left(single::text, 200)),
          HINT = 'A change is {"s": source, "r": [image, …]}, {"s": source, "all": true}, the same with "tview" in place of "s", or {"queued": true}.';
      END IF;
      SELECT COALESCE(jsonb_object_agg(c.source, c.images), '{}') INTO merged
      FROM (
        SELECT
          COALESCE(change->>'s', 't' || (change->>'tview')) AS source,
          CASE
            WHEN bool_or(change ? 'all') OR count(image) > 500000 THEN 'true'
            ELSE COALESCE(jsonb_agg(DISTINCT image) FILTER (WHERE image IS NOT NULL), '[]')
          END AS images
        FROM jsonb_array_elements(changes) AS change
        LEFT JOIN LATERAL jsonb_array_elements(change->'r') AS image ON true
        WHERE change ?| array['s', 'tview']
        GROUP BY 1
      ) AS c;
      -- A source's changes matter to the tviews any of them names; one that names none matters to all.
      SELECT COALESCE(jsonb_object_agg(c.source, c.readers), '{}') INTO relevant
      FROM (
        SELECT change->>'s' AS source, jsonb_agg(DISTINCT named.tview) AS readers
        FROM jsonb_array_elements(changes) AS change
        LEFT JOIN LATERAL jsonb_array_elements(change->'t') AS named (tview) ON true
        WHERE change ? 's'
        GROUP BY change->>'s'
        HAVING bool_and(change ? 't')
      ) AS c;
      -- Rows of a source have kept their links where each of its changes says so.
      SELECT COALESCE(jsonb_object_agg(c.source, true), '{}') INTO kept
      FROM (
        SELECT change->>'s' AS source
        FROM jsonb_array_elements(changes) AS change
        WHERE change ? 's'
        GROUP BY change->>'s'
        HAVING bool_and(change ? 'k')
      ) AS c;
    END IF;
  END IF;

  IF merged <> '{}' THEN
    snapshot_is_kept := current_setting('transaction_isolation') IN ('repeatable read', 'serializable');
    -- Opens the guards of the tv_ tables. Not in a SET clause: only a superuser may put a setting of ours into one. A flush
    -- inside of a flush, by a trigger on a tv_ table that writes a source under SET CONSTRAINTS IMMEDIATE, leaves them open.
    -- Nor are abbreviations set in one: the server would read a file at each flush.
    IF current_setting('tviews.flushing', true) = 'on' OR current_setting('timezone_abbreviations') <> 'Default' THEN
      flushing := current_setting('tviews.flushing', true);
      abbreviations := current_setting('timezone_abbreviations');
      done := set_config('timezone_abbreviations', 'Default', true) IS NOT NULL;
    END IF;
    done := set_config('tviews.flushing', 'on', true) IS NOT NULL;
    wide := merged @? 'strict $.* ? (@ == true || @.size() > 64)';
    -- "shop.tv_order line"
    IF merged ?| array['10', '7', '8', 't3'] THEN
      IF wide THEN
        alone := 'true'::jsonb IN (merged->'7', merged->'8', merged->'10', merged->'t3') IS TRUE OR COALESCE(jsonb_array_length(NULLIF(merged->'7', 'true')), 0) > 64 OR COALESCE(jsonb_array_length(NULLIF(merged->'8', 'true')), 0) > 64 OR COALESCE(jsonb_array_length(NULLIF(merged->'10', 'true')), 0) > 64;
        IF alone THEN
          done := pg_advisory_xact_lock(1953916265, 49152) IS NOT NULL;
        ELSE
          done := pg_advisory_xact_lock_shared(1953916265, 49152) IS NOT NULL;
        END IF;
      ELSE
        alone := pg_advisory_xact_lock_shared(1953916265, 49152) IS NULL;
      END IF;
      started := clock_timestamp();
      IF snapshot_is_kept THEN
        BEGIN
          result := tviews."refresh_tv_order line_3"(merged, kept, alone, true);
        EXCEPTION
          WHEN cardinality_violation THEN
            RAISE serialization_failure USING
              MESSAGE = 'could not serialize access due to concurrent delete',
              DETAIL = SQLERRM,
              HINT = 'The transaction might succeed if retried.';
        END;
        by_snapshot := COALESCE(by_snapshot, '[]') || jsonb_build_object(
          'tview', 3, CASE WHEN result.looked_at = 'true' THEN 'all' ELSE 'r' END, COALESCE(result.looked_at, '[]')
        );
      ELSE
        result := tviews."refresh_tv_order line_3"(merged, kept, alone, false);
      END IF;
      report := report || jsonb_build_object(
        'tview', 3, 'keys', COALESCE(result.keys, 0), 'written', COALESCE(result.written, 0), 'deleted', COALESCE(result.deleted, 0),
        'unchanged', COALESCE(result.keys, 0) - COALESCE(result.written, 0) - COALESCE(result.deleted, 0),
        'ms', round(extract(epoch FROM clock_timestamp() - started) * 1000, 3)
      );
      IF result.images IS NOT NULL THEN
        merged := merged || jsonb_build_object('9', CASE
          WHEN 'true' IN (merged->'9', result.images) THEN 'true'::jsonb
          ELSE COALESCE(merged->'9', '[]') || result.images
        END);
        wide := merged @? 'strict $.* ? (@ == true || @.size() > 64)';
        kept := kept - '9';
      END IF;
    END IF;
    -- "shop.tv_order"
    IF merged ?| array['9', 't4'] THEN
      alone := true;
      done := pg_advisory_xact_lock(1953916265, 65536) IS NOT NULL;
      own_xid := pg_current_xact_id()::text::bigint;
      IF snapshot_is_kept THEN
        SELECT t.last_value INTO ticket FROM tviews.ticket_4 AS t;
        IF ticket <> own_xid AND NOT pg_visible_in_snapshot(ticket::text::xid8, pg_current_snapshot())
          AND NOT tviews.is_foreign_ticket(ticket)
        THEN
          RAISE serialization_failure USING
            MESSAGE = 'could not serialize access due to concurrent refresh of tview "shop.tv_order"',
            HINT = 'The transaction might succeed if retried.';
        END IF;
      END IF;
      done := setval('tviews.ticket_4', own_xid) IS NOT NULL;
      started := clock_timestamp();
      result := tviews."refresh_tv_order_4"(merged, kept, alone, false);
      report := report || jsonb_build_object(
        'tview', 4, 'keys', COALESCE(result.keys, 0), 'written', COALESCE(result.written, 0), 'deleted', COALESCE(result.deleted, 0),
        'unchanged', COALESCE(result.keys, 0) - COALESCE(result.written, 0) - COALESCE(result.deleted, 0),
        'ms', round(extract(epoch FROM clock_timestamp() - started) * 1000, 3)
      );
    END IF;
    IF by_snapshot IS NOT NULL THEN
      INSERT INTO tviews.repair (changes)
      SELECT by_snapshot || COALESCE(jsonb_agg(jsonb_build_object(
        's', c.source::integer, CASE WHEN c.images = 'true' THEN 'all' ELSE 'r' END, c.images
      )), '[]')
      FROM jsonb_each(merged) AS c (source, images)
      WHERE c.source = ANY (array['10', '7', '8', '9'])
      RETURNING id INTO record;
      RAISE INFO USING
        ERRCODE = 'TV002',
        MESSAGE = format('tviews are looked at again after COMMIT of this %s transaction (%s)', upper(current_setting('transaction_isolation')), record),
        DETAIL = 'What others committed since its snapshot was taken, it could not see.',
        HINT = 'A tview-proxy does so before it answers. Without one, run "tviews verify --repair".';
    END IF;
    done := set_config('tviews.flushing', COALESCE(flushing, 'off'), true) IS NOT NULL
      AND (abbreviations IS NULL OR set_config('timezone_abbreviations', abbreviations, true) IS NOT NULL);
  END IF;
  RETURN report;
END
$$;
