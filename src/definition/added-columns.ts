/** Whether a definition is another one with columns more at the end: all else that it says has to be the same. */
import { isDeepStrictEqual } from 'node:util';
import { parseSelect, type SelectStmt } from './grammar.ts';

/**
 * Of two texts as pg_get_viewdef gives them. What the old columns give, and which rows there are, then cannot depend on the new
 * ones: a select list does not decide that, but for DISTINCT, set operations and functions that give several rows, which are not asked for here.
 */
export async function onlyAddsColumns(before: string, after: string): Promise<boolean> {
  const [old, now] = [await parseSelect(before), await parseSelect(after)].map(
    (select) => withoutPlaces(select) as SelectStmt,
  );
  const { targetList: oldColumns = [], ...oldRest } = old!;
  const { targetList: columns = [], ...rest } = now!;
  return (
    (old!.op ?? 'SETOP_NONE') === 'SETOP_NONE' &&
    (old!.distinctClause ?? []).length === 0 &&
    old!.valuesLists === undefined &&
    columns.length > oldColumns.length &&
    isDeepStrictEqual(columns.slice(0, oldColumns.length), oldColumns) &&
    isDeepStrictEqual(rest, oldRest)
  );
}

/** A syntax tree without where in the text its parts stand. */
function withoutPlaces(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPlaces);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(
        ([name]) =>
          !/^(location|stmt_location|stmt_len|name_location|list_start|list_end|rexpr_list_start|rexpr_list_end)$/.test(
            name,
          ),
      )
      .map(([name, part]) => [name, withoutPlaces(part)]),
  );
}
