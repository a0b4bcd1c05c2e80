/**
 * Generates tviews.flush: the one function that brings every tview in step with the changes it is given, called by the
 * proxy before COMMIT and by the queue's deferred trigger. Order: what is owed, locks, tickets, then one tview after the
 * other in dependency order, each with what the ones before it really changed.
 *
 * Locks are the baseline protocol: one per tview, exclusive, in ascending id. It is exact because flushes of a tview run
 * one after the other, each in statements whose snapshots are younger than the commit of the one before (keys-and-locks.md
 * §4.3). The steps are apart so that finer locks can take the place of these.
 */

import type { QualifiedName } from '../definition/plan.ts';
import { maximumImages } from './capture.ts';
import { quoteIdentifier, quoteLiteral } from './identifier.ts';
import { everythingOf, people, refreshFunctionName } from './refresh-function.ts';
import { searchPath } from './settings.ts';
import { dollarQuote, hang } from './text.ts';

export interface FlushedTview {
  readonly id: number;
  readonly table: QualifiedName;
  /** Ids of the sources its definition reads, tv_ tables too. */
  readonly sourceIds: readonly number[];
  /** The id of tv_x as a source of other tviews; null where none reads it. */
  readonly ownSourceId: number | null;
}

export interface FlushOptions {
  /** First half of the advisory locks' key; the tview's id is the other. */
  readonly lockSpace: number;
}

export const ticketName = (tview: number): string => `ticket_${tview}`;

export function flushFunction(tviews: readonly FlushedTview[], options: FlushOptions): string {
  const ordered = tviews.toSorted((a, b) => a.id - b.id);
  const reached = closure(ordered);
  const body = `DECLARE
  merged jsonb;
  result record;
  report jsonb := '[]';
  own_xid bigint;
  ticket bigint;
  started timestamptz;
BEGIN
  ${hang(normalise, 2)}

${ordered.map((tview) => `  ${hang(lock(tview, reached.get(tview.id)!, options), 2)}`).join('\n')}

  IF merged <> '{}' THEN
    own_xid := pg_current_xact_id()::text::bigint;
    -- Opens the guards of the tv_ tables. Not in a SET clause: only a superuser may put a setting of ours into one.
    PERFORM set_config('tviews.flushing', 'on', true);
${ordered.map((tview) => `    ${hang(section(tview, reached.get(tview.id)!), 4)}`).join('\n')}
    PERFORM set_config('tviews.flushing', 'off', true);
  END IF;

  -- After the last flush nobody listens to notices any more: what a deferred trigger of the user writes during COMMIT
  -- must find the queue.
  IF release THEN
    PERFORM tviews.release();
  END IF;
  RETURN report;
END`;
  return `CREATE OR REPLACE FUNCTION tviews.flush(changes jsonb, release boolean) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ${searchPath}
AS ${dollarQuote(body)};`;
}

/** The names in `merged` by which a tview is told of changes itself: its sources, and the order to look at every row. */
const directKeys = (tview: FlushedTview): string[] => [
  ...tview.sourceIds.map(String),
  everythingOf(tview.id),
];

/** For each tview, all that can reach it: the same of the tviews it reads, too. */
function closure(ordered: readonly FlushedTview[]): Map<number, ReadonlySet<string>> {
  const reached = new Map<number, ReadonlySet<string>>();
  for (const tview of ordered) {
    const sources = new Set(directKeys(tview));
    for (const below of ordered) {
      if (below.ownSourceId === null || !tview.sourceIds.includes(below.ownSourceId)) continue;
      for (const source of reached.get(below.id) ?? []) sources.add(source);
    }
    reached.set(tview.id, sources);
  }
  return reached;
}

const normalise = `-- What is owed, as one object by source. One change of one statement, the common case, is one already.
IF changes @> '[{"queued": true}]' THEN
  WITH gone AS (
    DELETE FROM tviews.queue AS q WHERE q.tx = pg_current_xact_id() RETURNING q.change
  )
  SELECT changes || COALESCE(jsonb_agg(gone.change), '[]') INTO changes FROM gone;
END IF;
IF jsonb_array_length(changes) = 1 AND changes->0 ? 'r' THEN
  merged := jsonb_build_object(changes->0->>'s', changes->0->'r');
ELSE
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
END IF;`;

const keyArray = (keys: Iterable<string>): string =>
  `array[${[...keys].toSorted().map(quoteLiteral).join(', ')}]`;

function lock(tview: FlushedTview, reachedBy: ReadonlySet<string>, { lockSpace }: FlushOptions): string {
  return `IF merged ?| ${keyArray(reachedBy)} THEN PERFORM pg_advisory_xact_lock(${lockSpace}, ${tview.id}); END IF;`;
}

/**
 * The ticket is read and left by everybody who holds the lock, and checked by those who cannot look again: under
 * REPEATABLE READ a snapshot from before the last flush's commit computes without what that flush knew.
 */
function section(tview: FlushedTview, reachedBy: ReadonlySet<string>): string {
  const name = people(tview.table);
  const ticket = `tviews.${ticketName(tview.id)}`;
  const refresh = `tviews.${quoteIdentifier(refreshFunctionName(tview.table.name, tview.id))}`;
  const passOn =
    tview.ownSourceId === null
      ? ''
      : `
    IF result.images IS NOT NULL THEN
      merged := merged || jsonb_build_object(${quoteLiteral(String(tview.ownSourceId))}, result.images);
    END IF;`;
  return `-- ${name.replaceAll(/\s+/g, ' ')}
IF merged ?| ${keyArray(reachedBy)} THEN
  IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    SELECT t.last_value INTO ticket FROM ${ticket} AS t;
    IF ticket <> own_xid AND NOT pg_visible_in_snapshot(ticket::text::xid8, pg_current_snapshot()) THEN
      RAISE serialization_failure USING
        MESSAGE = ${quoteLiteral(`could not serialize access due to concurrent refresh of tview ${name}`)},
        HINT = 'The transaction might succeed if retried.';
    END IF;
  END IF;
  PERFORM setval(${quoteLiteral(ticket)}, own_xid);
  IF merged ?| ${keyArray(directKeys(tview))} THEN
    started := clock_timestamp();
    result := ${refresh}(merged);
    report := report || jsonb_build_object(
      'tview', ${tview.id}, 'keys', result.keys, 'written', result.written, 'deleted', result.deleted,
      'unchanged', result.keys - result.written - result.deleted,
      'ms', round(extract(epoch FROM clock_timestamp() - started) * 1000, 3)
    );${passOn}
  END IF;
END IF;`;
}
