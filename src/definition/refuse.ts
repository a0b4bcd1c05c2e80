/**
 * Every reason for which a definition is turned down, in one place: the construct, why it cannot be kept exactly in step
 * (keys-and-locks, R1–R18), and the way out. What is not refused here must be kept exactly; there is no third way.
 */
import { RefusedDefinition } from '../errors/errors.ts';
import type { Node, SelectStmt } from './grammar.ts';
import type { QualifiedName } from './plan.ts';

export function refuse(message: string, detail: string, hint: string): never {
  throw new RefusedDefinition(message, { detail, hint });
}

export function display({ schema, name }: QualifiedName): string {
  return `${schema}.${name}`;
}

/** Where a SELECT stands: what is harmless in a correlated subquery is not at the top. */
export type BlockPlace = 'top' | 'from' | 'expression';

const placeNames: Readonly<Record<BlockPlace, string>> = {
  top: 'at the top level',
  from: 'in FROM',
  expression: 'in a subquery',
};

/** Refuses clauses of one SELECT that no rule covers yet. */
export function refuseClauses(select: SelectStmt, place: BlockPlace, where: string): void {
  if (select.op !== undefined && select.op !== 'SETOP_NONE') {
    const operation = { SETOP_UNION: 'UNION', SETOP_INTERSECT: 'INTERSECT', SETOP_EXCEPT: 'EXCEPT' }[
      select.op
    ];
    refuse(
      `${operation} ${where} is not supported in a tview`,
      'The rows of a set operation come from several queries, whose keys are not derived yet.',
      'Make one tview per branch, or put what differs into a CASE expression.',
    );
  }
  if (select.intoClause !== undefined)
    refuse('SELECT INTO is not a definition', 'It makes a table.', 'Drop INTO.');
  if (select.lockingClause !== undefined) {
    refuse(
      `FOR UPDATE or FOR SHARE ${where} is not supported in a tview`,
      'Every read of the definition would lock rows of its sources.',
      'Leave the locking clause out: the flush takes the locks it needs.',
    );
  }
  if (select.windowClause !== undefined) refuseWindow(where);
  refuseDistinct(select, place, where);
  if (place === 'top' && (select.limitCount !== undefined || select.limitOffset !== undefined)) {
    refuse(
      'LIMIT and OFFSET at the top level are not supported in a tview',
      'Which rows are among the first depends on all other rows: any change could add or remove any key.',
      'Keep every row in the tview and put ORDER BY … LIMIT into the query that reads it.',
    );
  }
  for (const group of select.groupClause ?? []) {
    if ('GroupingSet' in group) {
      refuse(
        `GROUPING SETS, ROLLUP and CUBE ${where} are not supported in a tview`,
        'One row belongs to several groups, some of which are not named by its columns.',
        'Make one tview per grouping.',
      );
    }
  }
}

function refuseDistinct(select: SelectStmt, place: BlockPlace, where: string): void {
  const distinct = select.distinctClause;
  if (distinct === undefined) return;
  const isPlain = distinct.every((node) => Object.keys(node).length === 0);
  if (isPlain && place === 'expression') return;
  refuse(
    `SELECT DISTINCT${isPlain ? '' : ' ON'} ${where} is not supported in a tview`,
    isPlain
      ? `Which of several equal rows is kept is not determined ${placeNames[place]}.`
      : 'Which row of a group is the first one depends on rows that the key does not name.',
    isPlain
      ? 'Use GROUP BY with the columns that identify a row.'
      : 'Use a correlated subquery with ORDER BY … LIMIT 1, or a LATERAL one.',
  );
}

export function refuseWindow(where: string): never {
  return refuse(
    `window functions ${where} are not supported in a tview`,
    'A changed row influences every row of its window partition.',
    'Use a correlated subquery (count of the rows before this one, the one newest row), or compute it when the tview is read.',
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
  const kind = Object.keys(item)[0] ?? 'nothing';
  const name = { JsonTable: 'JSON_TABLE', RangeTableFunc: 'XMLTABLE' }[kind] ?? kind;
  return refuse(
    `${name} in FROM is not supported in a tview`,
    'The walk over the definition does not know this construct.',
    'Use jsonb_array_elements or a subquery instead.',
  );
}

const joinNames: Readonly<Record<string, string>> = {
  JOIN_RIGHT: 'RIGHT JOIN',
  JOIN_FULL: 'FULL JOIN',
};

export function refuseJoin(kind: string): never {
  const name = joinNames[kind] ?? kind;
  return refuse(
    `${name} is not supported in a tview`,
    kind === 'JOIN_FULL'
      ? 'A row of either side can stand alone, so that neither side has the key of every row.'
      : 'The table that has the key comes first in a definition.',
    kind === 'JOIN_FULL'
      ? 'Use LEFT JOIN from the table that has the key.'
      : 'Swap the two sides and write LEFT JOIN.',
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
