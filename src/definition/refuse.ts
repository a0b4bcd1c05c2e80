/**
 * Every reason for which a definition is turned down, in one place: the construct, why it cannot be kept exactly in step
 * (keys-and-locks, R1–R18), and the way out. What is not refused here must be kept exactly; there is no third way.
 */
import { RefusedDefinition } from '../errors/errors.ts';
import type { Node, SelectStmt } from './grammar.ts';
import type { QualifiedName } from './plan.ts';
import { partitionsOf } from './windows.ts';

export function refuse(message: string, detail: string, hint: string): never {
  throw refusal(message, detail, hint);
}

/**
 * A refusal that stands unless the tables it is about are listed in `full_refresh`: which keys a change of theirs reaches
 * cannot be said, but that it reaches some can (compile.ts).
 */
export function refusal(message: string, detail: string, hint: string): RefusedDefinition {
  return new RefusedDefinition(message, { detail, hint });
}

export function display({ schema, name }: QualifiedName): string {
  return `${schema}.${name}`;
}

/** Where a SELECT stands: what is harmless in a correlated subquery is not at the top. */
export type BlockPlace = 'top' | 'from' | 'expression';

/** Refuses clauses that no definition can have. */
export function refuseClauses(select: SelectStmt, where: string): void {
  if (select.intoClause !== undefined)
    refuse('SELECT INTO is not a definition', 'It makes a table.', 'Drop INTO.');
  if (select.lockingClause !== undefined) {
    refuse(
      `FOR UPDATE or FOR SHARE ${where} is not supported in a tview`,
      'Every read of the definition would lock rows of its sources.',
      'Leave the locking clause out: the flush takes the locks it needs.',
    );
  }
}

/** Why it cannot be said which rows of this SELECT a change below it reaches; null where it can. */
export function unboundedBlock(
  select: SelectStmt,
  place: BlockPlace,
  where: string,
  takesNoBranch: boolean,
): RefusedDefinition | null {
  if (takesNoBranch && select.op !== undefined && select.op !== 'SETOP_NONE') {
    const operation = { SETOP_UNION: 'UNION', SETOP_INTERSECT: 'INTERSECT', SETOP_EXCEPT: 'EXCEPT' }[
      select.op
    ];
    return refusal(
      `${operation} ${where} is not supported in a tview`,
      'With so many set operations and FULL JOINs in one definition, keys are not derived from each of their branches.',
      'Make several tviews, or put what differs into a CASE expression.',
    );
  }
  if (partitionsOf(select).length > mostPartitions) return unboundedWindow(where);
  if (place === 'top' && (select.limitCount !== undefined || select.limitOffset !== undefined)) {
    return refusal(
      'LIMIT and OFFSET at the top level are not supported in a tview',
      'Which rows are among the first depends on all other rows: any change could add or remove any key.',
      'Keep every row in the tview and put ORDER BY … LIMIT into the query that reads it.',
    );
  }
  return null;
}

/** The rows of a window are looked at again for each of its partitions. */
const mostPartitions = 3;

export function unboundedWindow(where: string): RefusedDefinition {
  return refusal(
    `window functions ${where} whose partition is not bounded are not supported in a tview`,
    'A changed row influences every row of its partition, and no plain column that is never null, nor anything else, bounds that to rows whose keys can be found.',
    'Write PARTITION BY with a column that is NOT NULL or that WHERE says IS NOT NULL, use a correlated subquery, or compute it when the tview is read.',
  );
}

export function unboundedRecursion(name: string, where: string): RefusedDefinition {
  return refusal(
    `WITH RECURSIVE ${name} in ${where} is not supported in a tview`,
    'A changed row influences rows any number of steps away, which no fixed path reaches.',
    'Keep the path or the ancestors in a column or a table of their own, and read that.',
  );
}

/** FROM items that no rule covers. */
export function refuseFromItem(item: Node): never {
  if ('RangeTableSample' in item) {
    refuse(
      'TABLESAMPLE is not supported in a tview',
      'Each evaluation reads other rows.',
      'Leave TABLESAMPLE out.',
    );
  }
  return refuse(
    `${Object.keys(item)[0] ?? 'nothing'} in FROM is not supported in a tview`,
    'The walk over the definition does not know this construct.',
    'Use a table, a function or a subquery instead.',
  );
}

export function unboundedFullJoin(where: string): RefusedDefinition {
  return refusal(
    `FULL JOIN in ${where} is not supported in a tview`,
    'With so many set operations and FULL JOINs in one definition, keys are not derived from each of their sides.',
    'Make several tviews, or use LEFT JOIN from the table that has the key.',
  );
}

export function refuseSessionValue(name: string): never {
  return refuse(
    `${name} is not supported in a tview`,
    'Its value changes without any change of a table, so that stored rows would go stale.',
    'Store the moment or the user in a column, or add it in the query that reads the tview.',
  );
}

export function refuseWholeRow(row: string): never {
  return refuse(
    `the whole row of ${row} is not supported in a tview`,
    'It gets and loses columns with ALTER TABLE, which changes what the definition says without any change of a row.',
    "List its columns: jsonb_build_object('x', t.x, …), or t.id IS NOT NULL to ask whether there is a row.",
  );
}
