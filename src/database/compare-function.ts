/**
 * Generates the comparison of a tview with its definition: a page of keys at a time, or all at once, and what it would cost.
 *
 * Table and view are compared by one statement, so in one snapshot, in which every writer's flush is there together with
 * its write, or neither is. The function is VOLATILE and runs under READ COMMITTED, so that the statement's snapshot is
 * taken after its tables are locked: one taken before would see an emptied source beside a full tview where a TRUNCATE (or an
 * ALTER TABLE that rewrites), which no snapshot hides, committed between the two. The bounds of a page need no snapshot in
 * common with it: they only say how far this page goes.
 */
import type { Column, RefreshPlan } from '../definition/plan.ts';
import { rowOf } from './capture.ts';
import { quoteIdentifier, quoteLiteral, quoteQualified } from './identifier.ts';
import { keysEqual, toColumn } from './refresh-function.ts';
import { computeSettings, setClauses } from './settings.ts';
import { dollarQuote, hang, objectName } from './text.ts';

export interface ComparedTview {
  readonly id: number;
  readonly plan: RefreshPlan;
  /** The equality operator of each key column's type, as it is written between two operands. */
  readonly keyEquality: readonly string[];
}

export const compareFunctionName = (name: string, id: number): string => objectName('compare', name, id);
export const compareCostFunctionName = (name: string, id: number): string =>
  objectName('compare_cost', name, id);

/** Differences shown of one row, and characters of each value. */
const maximumDifferences = 10;
const maximumValue = 200;
/** Documents that are larger together than this, in bytes, are not searched for the paths at which they differ. */
const maximumDocuments = 1_000_000;

const compareSettings = {
  ...computeSettings,
  // Where a page begins and ends decides its plan.
  plan_cache_mode: 'force_custom_plan',
  // A page is too short for either to pay, and one core is enough to take from the writers.
  jit: 'off',
  max_parallel_workers_per_gather: '0',
} as const;

const costSettings = {
  ...compareSettings,
  // The price of a page that is in memory. With the usual one, a lookup by key counts some forty times what it takes.
  seq_page_cost: '0.05',
  random_page_cost: '0.05',
} as const;

/** How the rows of a page are computed: one key after the other, as a refresh does, or by the range the page is. */
type Method = 'keys' | 'range';

export function compareFunction(tview: ComparedTview): string {
  const { plan } = tview;
  const name = quoteIdentifier(compareFunctionName(plan.table.name, tview.id));
  const body = `#variable_conflict use_column
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
    ${hang(boundStatement(tview, plan.table, variables), 4)}
    INTO high;
    ${hang(boundStatement(tview, plan.view, variables), 4)}
    INTO upto;
    upto := COALESCE(upto, high);
    high := upto;
  END IF;
  IF $3 THEN
    ${hang(compareStatement(tview, 'keys', variables), 4)}
    INTO compared, missing, surplus, different, rows;
  ELSE
    ${hang(compareStatement(tview, 'range', variables), 4)}
    INTO compared, missing, surplus, different, rows;
  END IF;
END`;
  return `CREATE OR REPLACE FUNCTION tviews.${name}(
  after text[], page_size integer, by_key boolean, details integer,
  OUT upto text[], OUT compared bigint, OUT missing bigint, OUT surplus bigint, OUT different bigint, OUT rows jsonb
)
LANGUAGE plpgsql SECURITY DEFINER
${setClauses(compareSettings)}
AS ${dollarQuote(body)};

${costFunction(tview)}`;
}

/** What the planner thinks of a first page, either way, and of everything at once. */
function costFunction(tview: ComparedTview): string {
  const { plan } = tview;
  const name = quoteIdentifier(compareCostFunctionName(plan.table.name, tview.id));
  const explain = (statement: string): string =>
    `EXECUTE ${quoteLiteral(`EXPLAIN (FORMAT JSON) ${statement}`)}\nINTO explained USING low, high, page;`;
  const cost = `(explained -> 0 -> 'Plan' ->> 'Total Cost')::float8`;
  const body = `<<compare>>
DECLARE
  low text[];
  high text[];
  page integer := $1;
  bound float8;
  explained jsonb;
BEGIN
  ${hang(explain(`SELECT FROM ${quoteQualified(plan.table)}`), 2)}
  estimated_rows := (explained -> 0 -> 'Plan' ->> 'Plan Rows')::float8;
  ${hang(explain(countStatement(tview, 'range', parameters)), 2)}
  whole := ${cost};
  ${hang(boundStatement(tview, plan.table, variables), 2)}
  INTO high;
  ${hang(explain(boundStatement(tview, plan.view, parameters)), 2)}
  bound := ${cost};
  ${hang(explain(countStatement(tview, 'range', parameters)), 2)}
  by_range := bound + ${cost};
  ${hang(explain(countStatement(tview, 'keys', parameters)), 2)}
  by_key := bound + ${cost};
END`;
  return `CREATE OR REPLACE FUNCTION tviews.${name}(
  page_size integer, OUT estimated_rows float8, OUT by_key float8, OUT by_range float8, OUT whole float8
)
LANGUAGE plpgsql SECURITY DEFINER
${setClauses(costSettings)}
AS ${dollarQuote(`#variable_conflict use_column\n${body}`)};`;
}

/** How the statements call what they are given: by the block's variables, or by place in EXECUTE … USING. */
interface Names {
  readonly low: string;
  readonly high: string;
  readonly page: string;
  readonly shown: string;
}

const variables: Names = {
  low: 'compare.low',
  high: 'compare.high',
  page: 'compare.page',
  shown: 'compare.shown',
};
const parameters: Omit<Names, 'shown'> = { low: '$1', high: '$2', page: '$3' };

/** The key of a page's last row on one side; no row where that side ends before. */
function boundStatement(
  { plan, keyEquality }: ComparedTview,
  side: RefreshPlan['table'],
  names: Omit<Names, 'shown'>,
): string {
  const keys = plan.key.map(({ name }) => `w.${quoteIdentifier(name)}`);
  return `SELECT array[${keys.map((key) => `${key}::text`).join(', ')}]
FROM ${quoteQualified(side)} AS w
WHERE ${withinPage('w', plan.key, keyEquality, names)}
ORDER BY ${keys.join(', ')}
OFFSET ${names.page} - 1 LIMIT 1`;
}

function withinPage(
  alias: string,
  key: readonly Column[],
  equality: readonly string[],
  { low, high }: Pick<Names, 'low' | 'high'>,
): string {
  return `(${low} IS NULL OR ${keyComparison(alias, key, equality, '>', low)})
  AND (${high} IS NULL OR ${keyComparison(alias, key, equality, '<=', high)})`;
}

/**
 * In the order of the primary key's index. As a comparison of rows, which an index on several columns can follow, where every
 * operator has its plain name; else column by column, where the index follows the first.
 */
function keyComparison(
  alias: string,
  key: readonly Column[],
  equality: readonly string[],
  operator: '>' | '<=',
  bound: string,
): string {
  const left = key.map(({ name }) => `${alias}.${quoteIdentifier(name)}`);
  const right = key.map(({ type }, i) => `(${bound}[${i + 1}])::${type}`);
  if (key.length > 1 && equality.every((one) => one === '=')) {
    return `ROW(${left.join(', ')}) ${operator} ROW(${right.join(', ')})`;
  }
  // The operators of one operator class differ in their names, not in their schema: OPERATOR(public.=), OPERATOR(public.>).
  const named = (i: number, name: string): string => equality[i]!.replace(/=(?=\)?$)/, name);
  const strict = operator === '>' ? '>' : '<';
  const from = (i: number): string => {
    const one = (name: string): string => `${left[i]} ${named(i, name)} ${right[i]}`;
    if (i === key.length - 1) return one(operator);
    return `${one(`${strict}=`)} AND (${one(strict)} OR ${left[i]} ${equality[i]!} ${right[i]} AND ${from(i + 1)})`;
  };
  return `(${from(0)})`;
}

/** Both sides of a page, beside each other: `t` and `v`, with `"tviews there"` null where that side has no such row. */
function bothSides(tview: ComparedTview, method: Method, names: Pick<Names, 'low' | 'high'>): string {
  const { plan, keyEquality } = tview;
  const there = 'true AS "tviews there"';
  const side = (relation: RefreshPlan['table']): string => `(
    SELECT w.*, ${there} FROM ${quoteQualified(relation)} AS w
    WHERE ${hang(withinPage('w', plan.key, keyEquality, names), 4)}
  )`;
  const equal = (left: string, right: string): string => keysEqual(tview, left, toColumn(right));
  if (method === 'range') {
    return `FROM ${side(plan.table)} AS t
  FULL JOIN ${side(plan.view)} AS v ON ${equal('v', 't')}`;
  }
  const keys = (relation: RefreshPlan['table']): string =>
    `SELECT ${plan.key.map(({ name }) => `w.${quoteIdentifier(name)}`).join(', ')} FROM ${quoteQualified(relation)} AS w
    WHERE ${hang(withinPage('w', plan.key, keyEquality, names), 4)}`;
  // OFFSET 0 keeps the equality inside, where it reaches into the view's groups and finds their indexes; joined, it would
  // have all groups computed first.
  return `FROM (
    ${keys(plan.table)}
    UNION
    ${keys(plan.view)}
  ) AS k
  LEFT JOIN ${side(plan.table)} AS t ON ${equal('t', 'k')}
  LEFT JOIN LATERAL (
    SELECT w.*, ${there} FROM ${quoteQualified(plan.view)} AS w WHERE ${equal('w', 'k')} OFFSET 0
  ) AS v ON true`;
}

const whereDiffering = ({ plan }: ComparedTview): string => {
  const columns = plan.columns.map(({ name }) => name);
  return `WHERE t."tviews there" IS NULL OR v."tviews there" IS NULL
    OR ${rowOf('v', columns)} *<> ${rowOf('t', columns)}`;
};

/** For its cost alone: what is said of the rows that differ counts for more than its part, as long as nobody knows how few they are. */
const countStatement = (tview: ComparedTview, method: Method, names: Pick<Names, 'low' | 'high'>): string =>
  `SELECT count(*)
  ${bothSides(tview, method, names)}
  ${whereDiffering(tview)}`;

/** One row of numbers, and the first rows that differ as JSON. Documents are kept of those only. */
function compareStatement(tview: ComparedTview, method: Method, names: Names): string {
  const { plan, keyEquality } = tview;
  const key = plan.key.map(({ name }) => {
    const column = quoteIdentifier(name);
    return `${quoteLiteral(name)}, COALESCE(t.${column}, v.${column})`;
  });
  const kind = `CASE WHEN t."tviews there" IS NULL THEN 'missing' WHEN v."tviews there" IS NULL THEN 'surplus' ELSE 'different' END`;
  return `WITH differing AS MATERIALIZED (
  SELECT
    ${kind} AS kind,
    CASE WHEN row_number() OVER () <= ${names.shown} THEN jsonb_build_object(${key.join(', ')}) END AS key,
    CASE WHEN row_number() OVER () <= ${names.shown} AND t."tviews there" AND v."tviews there" THEN ${hang(differingColumns(plan.columns), 4)} END AS columns
  ${bothSides(tview, method, names)}
  ${whereDiffering(tview)}
)
SELECT
  (
    SELECT count(*) FROM ${quoteQualified(plan.table)} AS w
    WHERE ${hang(withinPage('w', plan.key, keyEquality, names), 4)}
  ) + count(*) FILTER (WHERE d.kind = 'missing'),
  count(*) FILTER (WHERE d.kind = 'missing'),
  count(*) FILTER (WHERE d.kind = 'surplus'),
  count(*) FILTER (WHERE d.kind = 'different'),
  COALESCE(jsonb_agg(
    jsonb_build_object('kind', d.kind, 'key', d.key, 'differences', ${hang(differences, 4)})
  ) FILTER (WHERE d.key IS NOT NULL), '[]')
FROM differing AS d`;
}

/** The columns in which a row differs, as JSON: name, whether the values are JSON, old and expected value (absent: NULL). */
function differingColumns(columns: readonly Column[]): string {
  const values = columns.map(({ name, type }) => {
    const column = quoteIdentifier(name);
    const cut = (alias: string): string => `to_jsonb(left(${alias}.${column}::text, ${maximumValue + 1}))`;
    const differs = `ROW(t.${column})::record *<> ROW(v.${column})::record`;
    if (type !== 'jsonb' && !type.endsWith('[]')) {
      return `(${quoteLiteral(name)}, false, ${cut('t')}, ${cut('v')}, ${differs})`;
    }
    const isSmall = `COALESCE(pg_column_size(t.${column}), 0) + COALESCE(pg_column_size(v.${column}), 0) <= ${maximumDocuments}`;
    const value = (alias: string): string =>
      `CASE WHEN ${isSmall} THEN to_jsonb(${alias}.${column}) ELSE ${cut(alias)} END`;
    return `(${quoteLiteral(name)}, ${isSmall}, ${value('t')}, ${value('v')}, ${differs})`;
  });
  return `(
  SELECT jsonb_agg(
    jsonb_build_object('name', c.name, 'json', c.is_json)
      || CASE WHEN c.old_value IS NULL THEN '{}' ELSE jsonb_build_object('old', c.old_value) END
      || CASE WHEN c.new_value IS NULL THEN '{}' ELSE jsonb_build_object('new', c.new_value) END
  )
  FROM (VALUES
    ${values.join(',\n    ')}
  ) AS c (name, is_json, old_value, new_value, differs)
  WHERE c.differs
)`;
}

/** What two JSON values are to each other, and so how to go on with them. */
function relation(left: string, right: string): string {
  const sorted = (value: string): string =>
    `(SELECT array_agg(e.value::text ORDER BY e.value::text COLLATE "C") FROM jsonb_array_elements(${value}) AS e)`;
  const both = (type: string): string =>
    `jsonb_typeof(${left}) = '${type}' AND jsonb_typeof(${right}) = '${type}'`;
  return `CASE
  -- Equal as text, and yet not the same bytes: there is nothing to look for.
  WHEN ${left}::text = ${right}::text THEN 'value'
  WHEN ${both('object')} THEN 'objects'
  WHEN ${both('array')} THEN
    CASE
      WHEN jsonb_array_length(${left}) <> jsonb_array_length(${right}) THEN 'lists'
      WHEN ${hang(sorted(left), 6)}
        = ${hang(sorted(right), 6)} THEN 'reordered'
      ELSE 'tuples'
    END
  ELSE 'value'
END`;
}

/**
 * From a row's differing columns to the paths at which they differ. Arrays of one length are compared element by element; of
 * arrays of two lengths, what one has and the other lacks, at the path's end null: an index would name nothing. Compared
 * as text: 1.0 and 1.00 are equal as jsonb, and yet two documents.
 */
const differences = `(
  WITH RECURSIVE walk AS (
    SELECT c.name, c.is_json, '[]'::jsonb AS path, c.old_value, c.new_value,
      CASE WHEN c.is_json THEN ${hang(relation('c.old_value', 'c.new_value'), 6)} ELSE 'value' END AS relation
    FROM (
      SELECT e.value ->> 'name' AS name, (e.value ->> 'json')::boolean AS is_json,
        e.value -> 'old' AS old_value, e.value -> 'new' AS new_value
      FROM jsonb_array_elements(d.columns) AS e
    ) AS c
    UNION ALL
    SELECT w.name, w.is_json, w.path || jsonb_build_array(child.step), child.old_value, child.new_value,
      ${hang(relation('child.old_value', 'child.new_value'), 6)}
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
    'old', left(CASE WHEN l.is_json THEN l.old_value::text ELSE l.old_value #>> '{}' END, ${maximumValue + 1}),
    'expected', left(CASE WHEN l.is_json THEN l.new_value::text ELSE l.new_value #>> '{}' END, ${maximumValue + 1})
  ))
  FROM (SELECT * FROM walk AS w WHERE w.relation IN ('value', 'reordered') LIMIT ${maximumDifferences + 1}) AS l
)`;

/** A value was cut, or a row's differences were: one more than is shown. */
export const compareLimits = { differences: maximumDifferences, value: maximumValue } as const;
