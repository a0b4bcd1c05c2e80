/** `EXISTS (SELECT …)` as a condition that must hold: what a row outside then has in common with a row inside. */
import type { SelectStmt } from './grammar.ts';

/**
 * Whether each row a SELECT gives is one that has passed its WHERE, so that who needs a row of it needs what WHERE says. Groups, and
 * aggregates without any, give rows of their own: `EXISTS (SELECT count(*) …)` always holds.
 */
export const givesRowsOfItsOwn = ({ targetList, groupClause, havingClause, op }: SelectStmt): boolean =>
  (op === undefined || op === 'SETOP_NONE') &&
  groupClause === undefined &&
  havingClause === undefined &&
  !mayAggregate(targetList);

/** Any call but those in subqueries: which functions are aggregates, the text does not say. */
function mayAggregate(node: unknown): boolean {
  if (typeof node !== 'object' || node === null || 'SubLink' in node) return false;
  if ('FuncCall' in node || 'JsonArrayAgg' in node || 'JsonObjectAgg' in node) return true;
  return Object.values(node).some(mayAggregate);
}
