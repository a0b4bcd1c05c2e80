/** What a plan makes of the changes that property.sql's triggers have logged, as the capture would have told of them. */
import { changesEverything, type RefreshPlan, type Source } from '../../../src/definition/plan.ts';

export const keyOf = (plan: RefreshPlan): string => plan.key.map(({ name }) => `"${name}"`).join(', ');

/** A condition on a row of the log: whether it says that a column changed which the definition reads. */
function matters({ referencedColumns }: Source): string {
  const read = (side: string): string => referencedColumns.map((name) => `(${side})."${name}"`).join(', ');
  return `(op <> 'UPDATE' OR ROW(${read('o')})::record *<> ROW(${read('n')})::record)`;
}

/**
 * A query (definition, key) over the keys of one definition that its key queries give, and all there are where everything
 * may have changed: `every` is a query over those.
 */
export function derivedKeys(plan: RefreshPlan, index: number, every = ''): string {
  const queries = plan.sources.flatMap((source) => {
    const { table, linkColumns, occurrences } = source;
    if (changesEverything(source)) {
      return `(SELECT key FROM (${every}) AS e WHERE EXISTS (SELECT FROM log_${table.name} WHERE ${matters(source)}))`;
    }
    const image = (side: string): string => linkColumns.map(({ name }) => `, (${side})."${name}"`).join('');
    const columns = linkColumns.map(({ name }) => `, "${name}"`).join('');
    const changed = `
      SELECT DISTINCT image.* FROM log_${table.name}
      CROSS JOIN LATERAL (VALUES ('INSERT'${image('o')}), ('DELETE'${image('n')})) image (absent${columns})
      WHERE op <> absent AND ${matters(source)}`;
    return occurrences.map(
      ({ keyQuery }) =>
        `(WITH changed AS (${changed}) SELECT jsonb_build_array(${keyOf(plan)}) AS key FROM (${keyQuery!}) AS keys)`,
    );
  });
  if (queries.length === 0) return `SELECT ${index} AS definition, NULL::jsonb AS key WHERE false`;
  return `SELECT ${index} AS definition, key FROM (${queries.join(' UNION ')}) AS all_keys`;
}
