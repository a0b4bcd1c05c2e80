/**
 * Advice on results that are not determined by the rows alone: aggregates whose result depends on the order of their
 * input, and LIMIT, without ORDER BY. A full build and a recompute by key then may differ though nothing is stale (R15).
 */
import type { SubLink, WindowDef } from '@pgsql/types';
import type { CatalogColumn } from './catalog.ts';
import { type Node, type SelectStmt, strings } from './grammar.ts';
import type { Advice } from './plan.ts';

const elements = 'the order of its elements is not determined';
const members = 'the order of its members is not determined';
const repeated = 'which of the values of a repeated key is last is not determined';

/** What the order of the input decides, by aggregate. */
const orderedAggregates: ReadonlyMap<string, string> = new Map([
  ['jsonb_agg', elements],
  ['json_agg', elements],
  ['jsonb_agg_strict', elements],
  ['json_agg_strict', elements],
  ['array_agg', elements],
  ['string_agg', elements],
  ['xmlagg', elements],
  ['any_value', 'which value it picks is not determined'],
  ['jsonb_object_agg', repeated],
  ['jsonb_object_agg_strict', repeated],
  ['json_object_agg', members],
  ['json_object_agg_strict', members],
  ['json_object_agg_unique', members],
  ['json_object_agg_unique_strict', members],
]);

const place = 'which row it sees is not determined';
const orderedWindows: ReadonlyMap<string, string> = new Map(
  ['row_number', 'ntile', 'lag', 'lead', 'first_value', 'last_value', 'nth_value'].map((name) => [
    name,
    place,
  ]),
);

const floatAggregate =
  /^(sum|avg|variance|var_pop|var_samp|stddev|stddev_pop|stddev_samp|corr|covar_\w+|regr_\w+)\((real|double precision)\b/;

/** Looks at one SELECT, not at those inside it. */
export function noteUnordered(select: SelectStmt, advise: (advice: Advice) => void, where: string): void {
  // SELECT jsonb_agg(x) FROM (SELECT … ORDER BY …) x: the aggregate reads what the subquery sorted.
  if (!readsSorted(select)) {
    for (const { name, left, over } of aggregates([
      select.targetList,
      select.havingClause,
      select.sortClause,
    ])) {
      if (left === undefined) continue;
      if (over !== undefined) {
        if (isOrderedWindow(over, select)) continue;
        advise({
          kind: 'unordered-aggregate',
          message: `${name}() OVER a window without ORDER BY in ${where}: ${left}`,
          hint: 'Add ORDER BY to the window with an order that no two rows share, the primary key last.',
        });
        continue;
      }
      const ordered =
        name !== 'json_objectagg' ? name : left === repeated ? 'jsonb_object_agg' : 'json_object_agg';
      advise({
        kind: 'unordered-aggregate',
        message: `${name}() without ORDER BY in ${where}: ${left}`,
        hint:
          left === repeated
            ? `Write ${ordered}(… ORDER BY …) with the primary key last, unless no two rows of a group share a key.`
            : `Write ${ordered}(… ORDER BY …) with an order that no two rows share, the primary key last.`,
      });
    }
  }
  const cuts = select.limitCount !== undefined || select.limitOffset !== undefined;
  const on = (select.distinctClause ?? []).filter((node) => Object.keys(node).length > 0);
  if (on.length > 0 && (select.sortClause?.length ?? 0) <= on.length) {
    advise({
      kind: 'unordered-aggregate',
      message: `DISTINCT ON without a further ORDER BY in ${where}: which row of a group is kept is not determined`,
      hint: 'Add ORDER BY: what it is distinct on, then an order that no two rows share, the primary key last.',
    });
  }
  if (cuts && select.sortClause === undefined) {
    advise({
      kind: 'unordered-aggregate',
      message: `LIMIT without ORDER BY in ${where}: which rows are kept is not determined`,
      hint: 'Add ORDER BY with an order that no two rows share, the primary key last.',
    });
  }
}

/** By its signature, which the text does not tell. */
export function noteFloatAggregate(signature: string, where: string): readonly Advice[] {
  const name = floatAggregate.exec(signature)?.[1];
  if (name === undefined) return [];
  return [
    {
      kind: 'unordered-aggregate',
      message: `${signature} in ${where}: its last digits depend on the order of the rows`,
      hint: `Aggregate exact numbers: ${name}(…::numeric).`,
    },
  ];
}

/** numeric, interval, jsonb: 1.0 = 1.00, 1 month = 30 days. Of floats only -0 = 0, which is not worth a warning. */
const severalForms: ReadonlySet<number> = new Set([1700, 1186, 3802]);

/** GROUP BY, min and max show one of the values that are equal. `what` is the construct. */
export function noteForms(column: CatalogColumn, what: string, where: string): readonly Advice[] {
  const { baseType, hasModifier, isDomain, isDeterministic } = column;
  // With a scale a numeric has one form. A domain's modifier is not among a column's.
  if (isDeterministic && (!severalForms.has(baseType) || hasModifier || isDomain)) return [];
  return [
    {
      kind: 'unordered-aggregate',
      message: `${what} in ${where}: which of several equal values it shows is not determined`,
      hint: 'Give the column a type in which equal values look the same: numeric(p, s), a deterministic collation.',
    },
  ];
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

interface AggregateCall {
  readonly name: string;
  /** What is left to the order of the input, if anything. */
  readonly left: string | undefined;
  /** Its window, where it has one. */
  readonly over: WindowDef | undefined;
}

/** A window may be one of the WINDOW clause, or build upon it. */
function isOrderedWindow({ orderClause, name, refname }: WindowDef, select: SelectStmt): boolean {
  if (orderClause !== undefined) return true;
  const named = select.windowClause?.find(
    (node) => 'WindowDef' in node && node.WindowDef.name === (name ?? refname),
  );
  return named !== undefined && 'WindowDef' in named && named.WindowDef.orderClause !== undefined;
}

/** The calls in an expression, without those of subqueries: they are looked at on their own. */
function* aggregates(node: unknown): Generator<AggregateCall> {
  if (Array.isArray(node)) for (const element of node) yield* aggregates(element);
  else if (typeof node === 'object' && node !== null && !('SubLink' in node)) {
    const part = node as Node;
    if ('FuncCall' in part) {
      const { funcname, agg_order, agg_within_group, agg_distinct, over } = part.FuncCall;
      const name = strings(funcname).at(-1) ?? '';
      // DISTINCT sorts by all arguments.
      const isOrdered = agg_order !== undefined || agg_within_group === true || agg_distinct === true;
      const left = orderedAggregates.get(name) ?? (over === undefined ? undefined : orderedWindows.get(name));
      yield { name, left: isOrdered ? undefined : left, over };
    } else if ('JsonArrayAgg' in part) {
      const { agg_order, over } = part.JsonArrayAgg.constructor ?? {};
      yield { name: 'json_arrayagg', left: agg_order !== undefined ? undefined : elements, over };
    } else if ('JsonObjectAgg' in part) {
      // It takes no ORDER BY. jsonb sorts its members, so that only equal keys are left.
      const { constructor: made, unique } = part.JsonObjectAgg;
      const isJsonb = strings(made?.output?.typeName?.names).at(-1) === 'jsonb';
      const left = !isJsonb ? members : unique === true ? undefined : repeated;
      yield { name: 'json_objectagg', left, over: made?.over };
    }
    for (const value of Object.values(node)) yield* aggregates(value);
  }
}
