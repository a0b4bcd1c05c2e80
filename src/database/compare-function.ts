/** Generates the comparison of a tview with its definition: in one statement, so in one snapshot, under pinned settings. */
import type { RefreshPlan } from '../definition/plan.ts';
import { rowOf } from './capture.ts';
import { quoteIdentifier, quoteLiteral, quoteQualified } from './identifier.ts';
import { computeSettings, setClauses } from './settings.ts';
import { dollarQuote, objectName } from './text.ts';

export const compareFunctionName = (name: string, id: number): string => objectName('compare', name, id);

export function compareFunction(tview: {
  readonly id: number;
  readonly plan: RefreshPlan;
  readonly keyEquality: readonly string[];
}): string {
  const { plan } = tview;
  const columns = plan.columns.map(({ name }) => name);
  const on = plan.key.map(({ name }, i) => {
    const column = quoteIdentifier(name);
    return `v.${column} ${tview.keyEquality[i]!} t.${column}`;
  });
  const first = quoteIdentifier(plan.key[0]!.name);
  const key = plan.key.map(({ name }) => {
    const column = quoteIdentifier(name);
    return `${quoteLiteral(name)}, COALESCE(v.${column}, t.${column})`;
  });
  const body = `BEGIN
  WITH differing AS MATERIALIZED (
    SELECT
      CASE
        WHEN t.${first} IS NULL THEN 'missing'
        WHEN v.${first} IS NULL THEN 'surplus'
        ELSE 'different'
      END AS kind,
      jsonb_build_object(${key.join(', ')}) AS key
    FROM ${quoteQualified(plan.view)} AS v
    FULL JOIN ${quoteQualified(plan.table)} AS t ON ${on.join(' AND ')}
    WHERE t.${first} IS NULL OR v.${first} IS NULL
      OR ${rowOf('v', columns)} *<> ${rowOf('t', columns)}
  )
  SELECT
    count(*) FILTER (WHERE d.kind = 'missing'),
    count(*) FILTER (WHERE d.kind = 'surplus'),
    count(*) FILTER (WHERE d.kind = 'different'),
    COALESCE((
      SELECT jsonb_agg(jsonb_build_object('kind', s.kind, 'key', s.key))
      FROM (SELECT * FROM differing LIMIT sample_size) AS s
    ), '[]')
  INTO missing, surplus, different, sample
  FROM differing AS d;
END`;
  return `CREATE OR REPLACE FUNCTION tviews.${quoteIdentifier(compareFunctionName(plan.table.name, tview.id))}(
  sample_size integer, OUT missing bigint, OUT surplus bigint, OUT different bigint, OUT sample jsonb
)
LANGUAGE plpgsql SECURITY DEFINER
${setClauses(computeSettings)}
AS ${dollarQuote(`#variable_conflict use_column\n${body}`)};`;
}
