/**
 * Advice on results that are not determined by the rows alone: aggregates that keep their input's order, and LIMIT,
 * without ORDER BY. A full build and a recompute by key then may differ though nothing is stale (R15).
 */
import type { FuncCall, SubLink } from '@pgsql/types';
import { type Node, type SelectStmt, strings } from './grammar.ts';
import type { Advice } from './plan.ts';
import type { BlockPlace } from './refuse.ts';

const orderedAggregates: ReadonlySet<string> = new Set([
  'jsonb_agg',
  'json_agg',
  'jsonb_agg_strict',
  'json_agg_strict',
  'array_agg',
  'string_agg',
  'xmlagg',
]);

/** Looks at one SELECT, not at those inside it. */
export function noteUnordered(
  select: SelectStmt,
  place: BlockPlace,
  advise: (advice: Advice) => void,
  where: string,
): void {
  // SELECT jsonb_agg(x) FROM (SELECT … ORDER BY …) x: the aggregate reads what the subquery sorted.
  if (!readsSorted(select)) {
    for (const call of calls([select.targetList, select.havingClause, select.sortClause])) {
      const name = strings(call.funcname).at(-1) ?? '';
      if (!orderedAggregates.has(name) || call.agg_order !== undefined || call.agg_within_group === true)
        continue;
      advise({
        kind: 'unordered-aggregate',
        message: `${name}() without ORDER BY in ${where}: the order of its elements is not determined`,
        hint: `Write ${name}(… ORDER BY …) with an order that no two rows share, the primary key last.`,
      });
    }
  }
  const cuts = select.limitCount !== undefined || select.limitOffset !== undefined;
  if (cuts && select.sortClause === undefined && place !== 'top') {
    advise({
      kind: 'unordered-aggregate',
      message: `LIMIT without ORDER BY in ${where}: which rows are kept is not determined`,
      hint: 'Add ORDER BY with an order that no two rows share, the primary key last.',
    });
  }
}

/** `ARRAY(SELECT …)` keeps the order of its query. */
export function noteUnorderedArray(sublink: SubLink, advise: (advice: Advice) => void, where: string): void {
  const { subselect, subLinkType } = sublink;
  if (subLinkType !== 'ARRAY_SUBLINK' || subselect === undefined || !('SelectStmt' in subselect)) return;
  if (subselect.SelectStmt.sortClause !== undefined) return;
  advise({
    kind: 'unordered-aggregate',
    message: `ARRAY(SELECT …) without ORDER BY in ${where}: the order of its elements is not determined`,
    hint: 'Add ORDER BY with an order that no two rows share, the primary key last.',
  });
}

function readsSorted(select: SelectStmt): boolean {
  const [item, ...more] = select.fromClause ?? [];
  if (item === undefined || more.length > 0 || !('RangeSubselect' in item)) return false;
  const { subquery } = item.RangeSubselect;
  return subquery !== undefined && 'SelectStmt' in subquery && subquery.SelectStmt.sortClause !== undefined;
}

/** The calls in an expression, without those of subqueries: they are looked at on their own. */
function* calls(node: unknown): Generator<FuncCall> {
  if (Array.isArray(node)) for (const element of node) yield* calls(element);
  else if (typeof node === 'object' && node !== null && !('SubLink' in node)) {
    const part = node as Node;
    if ('FuncCall' in part) yield part.FuncCall;
    for (const value of Object.values(node)) yield* calls(value);
  }
}
