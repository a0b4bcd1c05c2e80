/**
 * Generates tviews.flush: the one function that brings every tview in step with the changes it is given, called by the
 * proxy before COMMIT and by the queue's deferred trigger. Order: what is owed, then one tview after the other in
 * dependency order, each with what the ones before it really changed: its gate (locks.ts), its ticket, its refresh.
 */

import type { RefreshPlan } from '../definition/plan.ts';
import { maximumImages } from './capture.ts';
import { quoteIdentifier, quoteLiteral } from './identifier.ts';
import { gate, type LockOptions, locksValues, mayBeAlone } from './locks.ts';
import { everythingCheck, people, refreshFunctionName, rowsOf } from './refresh-function.ts';
import { abbreviations, refreshSettings, setClauses } from './settings.ts';
import { dollarQuote, hang } from './text.ts';

export interface FlushedTview {
  readonly id: number;
  readonly plan: RefreshPlan;
  /** Ids of the sources its definition reads, tv_ tables too. */
  readonly sourceIds: readonly number[];
  /** The id of tv_x as a source of other tviews; null where none reads it. */
  readonly ownSourceId: number | null;
}

/** What tviews.flush says of one tview (docs/database.md). */
export interface FlushReport {
  readonly tview: number;
  readonly keys: number;
  readonly written: number;
  readonly deleted: number;
  readonly unchanged: number;
  readonly ms: number;
}

/** Beyond so many changes one query is cheaper than a loop. */
const changesWithoutQuery = 16;

const usualAbbreviations = quoteLiteral(abbreviations.timezone_abbreviations);

export const ticketName = (tview: number): string => `ticket_${tview}`;

export function flushFunction(tviews: readonly FlushedTview[], options: LockOptions): string {
  const ordered = tviews.toSorted((a, b) => a.id - b.id);
  const body = `DECLARE
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
  ${hang(normalise, 2)}

  IF merged <> '{}' THEN
    snapshot_is_kept := current_setting('transaction_isolation') IN ('repeatable read', 'serializable');
    -- Opens the guards of the tv_ tables. Not in a SET clause: only a superuser may put a setting of ours into one. A flush
    -- inside of a flush, by a trigger on a tv_ table that writes a source under SET CONSTRAINTS IMMEDIATE, leaves them open.
    -- Nor are abbreviations set in one: the server would read a file at each flush.
    IF current_setting('tviews.flushing', true) = 'on' OR current_setting('timezone_abbreviations') <> ${usualAbbreviations} THEN
      flushing := current_setting('tviews.flushing', true);
      abbreviations := current_setting('timezone_abbreviations');
      done := set_config('timezone_abbreviations', ${usualAbbreviations}, true) IS NOT NULL;
    END IF;
    done := set_config('tviews.flushing', 'on', true) IS NOT NULL;
    wide := ${mayBeAlone('merged')};
${ordered.map((tview) => `    ${hang(section(tview, ordered, options), 4)}`).join('\n')}
    ${hang(leaveForRepair(ordered), 4)}
    done := set_config('tviews.flushing', COALESCE(flushing, 'off'), true) IS NOT NULL
      AND (abbreviations IS NULL OR set_config('timezone_abbreviations', abbreviations, true) IS NOT NULL);
  END IF;
  RETURN report;
END`;
  return `CREATE OR REPLACE FUNCTION tviews.flush(changes jsonb, release boolean) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
${setClauses(refreshSettings)}
AS ${dollarQuote(body)};`;
}

/** How many tviews read a source: changes of one that several read may say which of them they matter to. */
const readersOf = (source: number, tviews: readonly FlushedTview[]): number =>
  tviews.filter(({ sourceIds }) => sourceIds.includes(source)).length;

/** Whether a tview is told of changes itself: of a source, in something it looks at, or by the order to look at every row. */
function told(tview: FlushedTview, tviews: readonly FlushedTview[]): string {
  const named = [rowsOf(tview.id)];
  const conditions: string[] = [];
  for (const source of tview.sourceIds) {
    if (readersOf(source, tviews) === 1) named.push(String(source));
    else {
      const name = quoteLiteral(String(source));
      conditions.push(`(merged ? ${name} AND (relevant->${name} @> '${tview.id}') IS NOT FALSE)`);
    }
  }
  return [`merged ?| ${keyArray(named)}`, ...conditions].join(' OR ');
}

/** Whether `change` has one of the forms a change has (docs/database.md). */
const wellFormed = `(
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
  )`;

/** Without a query where there are few, each of another source. */
const mergeSeveral = `IF jsonb_array_length(changes) <= ${changesWithoutQuery} THEN
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
  WHERE ${wellFormed} IS NOT TRUE
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
        WHEN bool_or(change ? 'all') OR count(image) > ${maximumImages} THEN 'true'
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
END IF;`;

/**
 * What is owed becomes one object by source, beside one that says, of the sources whose changes matter to some of their
 * readers only, to which, and one of the sources whose changed rows have all kept their links. Mostly each source has one
 * change, which is put in as it is, without a query; where one has several, or says that everything changed, all are
 * merged by a query.
 *
 * Anyone may call flush, and add what he likes to what is in the queue; it must take nothing away from that. So what two
 * changes say of one source is always united, names are made of numbers only, and what is no change is refused: a
 * forged notice may be one that swallows its neighbours once all are joined into an array.
 */
const normalise = `-- What is owed, as one object by source. A transaction that can write nothing has queued nothing.
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
  ${hang(mergeSeveral, 2)}
END IF;`;

const keyArray = (keys: Iterable<string>): string =>
  `array[${[...keys].toSorted().map(quoteLiteral).join(', ')}]`;

const numberOf = (name: 'keys' | 'written' | 'deleted'): string => `COALESCE(result.${name}, 0)`;
const reported = (['keys', 'written', 'deleted'] as const).map((name) => `'${name}', ${numberOf(name)}`);

/**
 * The ticket is read and left by everybody who holds the lock, and checked by those who cannot look again: under
 * REPEATABLE READ a snapshot from before the last flush's commit computes without what that flush knew. One from another
 * cluster, which came with a dump, says nothing of this one (000003.sql, is_foreign_ticket).
 */
function section(tview: FlushedTview, tviews: readonly FlushedTview[], options: LockOptions): string {
  const name = people(tview.plan.table);
  const refresh = `tviews.${quoteIdentifier(refreshFunctionName(tview.plan.table.name, tview.id))}`;
  const own = quoteLiteral(String(tview.ownSourceId));
  const byValue = locksValues(tview.plan, options);
  // What an argument may have said of this source was not said of these images. Whether they have kept their links is not known.
  const forget =
    tview.ownSourceId === null
      ? ''
      : `${readersOf(tview.ownSourceId, tviews) > 1 ? `\n    relevant := relevant - ${own};` : ''}
    kept := kept - ${own};`;
  const passOn =
    tview.ownSourceId === null
      ? ''
      : `
  IF result.images IS NOT NULL THEN
    merged := merged || jsonb_build_object(${own}, CASE
      WHEN 'true' IN (merged->${own}, result.images) THEN 'true'::jsonb
      ELSE COALESCE(merged->${own}, '[]') || result.images
    END);
    wide := ${mayBeAlone('merged')};${forget}
  END IF;`;
  return `-- ${name.replaceAll(/\s+/g, ' ')}
IF ${told(tview, tviews)} THEN
  ${hang(gate(tview, everythingCheck(tview, 'merged'), 'merged', 'wide', options), 2)}
${byValue ? '' : `  ${hang(ticket(tview), 2)}\n`}  started := clock_timestamp();
  ${byValue ? hang(refreshBySnapshot(refresh, tview.id), 2) : `result := ${refresh}(merged, kept, alone, false);`}
  report := report || jsonb_build_object(
    'tview', ${tview.id}, ${reported.join(', ')},
    'unchanged', ${numberOf('keys')} - ${numberOf('written')} - ${numberOf('deleted')},
    'ms', round(extract(epoch FROM clock_timestamp() - started) * 1000, 3)
  );${passOn}
END IF;`;
}

/**
 * A snapshot that is kept can show two rows of one primary key: the transaction's own, and one that somebody has deleted since
 * to make room. What a definition makes of that is no fault of the definition. And what such a snapshot led to may be others' by
 * now, and unchanged as they left it: nothing would be found from it any more, so it is remembered.
 */
const refreshBySnapshot = (refresh: string, tview: number): string => `IF snapshot_is_kept THEN
  BEGIN
    result := ${refresh}(merged, kept, alone, true);
  EXCEPTION
    WHEN cardinality_violation THEN
      RAISE serialization_failure USING
        MESSAGE = 'could not serialize access due to concurrent delete',
        DETAIL = SQLERRM,
        HINT = 'The transaction might succeed if retried.';
  END;
  by_snapshot := COALESCE(by_snapshot, '[]') || jsonb_build_object(
    'tview', ${tview}, CASE WHEN result.looked_at = 'true' THEN 'all' ELSE 'r' END, COALESCE(result.looked_at, '[]')
  );
ELSE
  result := ${refresh}(merged, kept, alone, false);
END IF;`;

/**
 * Where the tview is one lock: read and left by everybody who holds it, and checked by those who cannot look again. Under
 * REPEATABLE READ a snapshot from before the last flush's commit computes without what that flush knew. A ticket from another
 * cluster, which came with a dump, says nothing of this one (000003.sql, is_foreign_ticket).
 */
function ticket(tview: FlushedTview): string {
  const sequence = `tviews.${ticketName(tview.id)}`;
  const message = `could not serialize access due to concurrent refresh of tview ${people(tview.plan.table)}`;
  return `own_xid := pg_current_xact_id()::text::bigint;
IF snapshot_is_kept THEN
  SELECT t.last_value INTO ticket FROM ${sequence} AS t;
  IF ticket <> own_xid AND NOT pg_visible_in_snapshot(ticket::text::xid8, pg_current_snapshot())
    AND NOT tviews.is_foreign_ticket(ticket)
  THEN
    RAISE serialization_failure USING
      MESSAGE = ${quoteLiteral(message)},
      HINT = 'The transaction might succeed if retried.';
  END IF;
END IF;
done := setval(${quoteLiteral(sequence)}, own_xid) IS NOT NULL;`;
}

/**
 * Where values are locked, flushes of one tview run beside each other, and no one number says which of them a snapshot has
 * missed. So a transaction that keeps its snapshot leaves behind what it changed, rows of tviews among it, and which rows it
 * computed, to be looked at again after its COMMIT (decision 009). Of the argument only what is known: another's source may
 * have that number by then. INFO reaches every client: the proxy has it done before it answers COMMIT.
 */
function leaveForRepair(tviews: readonly FlushedTview[]): string {
  const sources = new Set(tviews.flatMap(({ sourceIds }) => sourceIds));
  return `IF by_snapshot IS NOT NULL THEN
  INSERT INTO tviews.repair (changes)
  SELECT by_snapshot || COALESCE(jsonb_agg(jsonb_build_object(
    's', c.source::integer, CASE WHEN c.images = 'true' THEN 'all' ELSE 'r' END, c.images
  )), '[]')
  FROM jsonb_each(merged) AS c (source, images)
  WHERE c.source = ANY (${keyArray([...sources].map(String))})
  RETURNING id INTO record;
  RAISE INFO USING
    ERRCODE = 'TV002',
    MESSAGE = format('tviews are looked at again after COMMIT of this %s transaction (%s)', upper(current_setting('transaction_isolation')), record),
    DETAIL = 'What others committed since its snapshot was taken, it could not see.',
    HINT = 'A tview-proxy does so before it answers. Without one, run "tviews verify --repair".';
END IF;`;
}
