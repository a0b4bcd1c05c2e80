/** Names that can be seen from one place of a definition, and what a column reference means there. */

import type { CommonTableExpr } from '@pgsql/types';
import type { ColumnName } from './grammar.ts';
import { refuse } from './refuse.ts';
import type { NamedOrigin, Origin } from './resolved.ts';

/** A FROM item by its alias. */
export interface ScopeEntry {
  readonly alias: string;
  readonly columns: readonly NamedOrigin[];
  /** A function or VALUES, whose columns need no list since none is a table's. */
  readonly open: boolean;
  /** The table, view or join whose row gets and loses columns later; null for what has the columns it was written with. */
  readonly changing: string | null;
}

export interface Scope {
  readonly parent: Scope | null;
  entries: ScopeEntry[];
  /** Columns that JOIN … USING merged, which are named without an alias. */
  merged: NamedOrigin[];
  readonly tables: Map<string, CommonTable>;
  /** Occurrences whose row is there in every row of the entries together, once all have been met. */
  always: readonly number[];
}

/** A WITH query, and what its own text sees. */
export interface CommonTable {
  readonly query: CommonTableExpr;
  readonly scope: Scope;
  /** It stands in a WITH RECURSIVE, and may refer to itself. */
  readonly mayRecur: boolean;
}

export function openScope(parent: Scope | null): Scope {
  return { parent, entries: [], merged: [], tables: new Map(), always: [] };
}

export function findCommonTable(scope: Scope, name: string): CommonTable | null {
  for (let at: Scope | null = scope; at !== null; at = at.parent) {
    const found = at.tables.get(name);
    if (found !== undefined) return found;
  }
  return null;
}

/** The origins a reference stands for: one, or every column of a relation for a whole-row reference. */
export function lookUp(scope: Scope, { relation, column }: ColumnName): readonly Origin[] | null {
  for (let at: Scope | null = scope; at !== null; at = at.parent) {
    const found = relation === null ? unqualified(at, column!) : qualified(at, relation, column);
    if (found !== null) return found;
  }
  if (relation !== null) return null;
  // Only now: a function whose columns are not listed must not hide a column of an outer query.
  for (let at: Scope | null = scope; at !== null; at = at.parent) {
    const open = at.entries.find((entry) => entry.open);
    if (open !== undefined) return [fromNoTable(open.alias)];
  }
  return null;
}

/** The FROM item an alias means. */
export function findEntry(scope: Scope, name: string): ScopeEntry | null {
  for (let at: Scope | null = scope; at !== null; at = at.parent) {
    const found = at.entries.find(({ alias }) => alias === name);
    if (found !== undefined) return found;
  }
  return null;
}

function fromNoTable(alias: string): Origin {
  return { kind: 'computed', how: `a column of ${alias}, which is no table` };
}

function qualified(scope: Scope, relation: string, column: string | null): readonly Origin[] | null {
  const entry = scope.entries.find(({ alias }) => alias === relation);
  if (entry === undefined) return null;
  if (column === null) return entry.columns.map(({ origin }) => origin);
  const found = entry.columns.find(({ name }) => name === column);
  if (found !== undefined) return [found.origin];
  if (entry.open) return [fromNoTable(relation)];
  return unknownColumn(`${relation}.${column}`);
}

function unqualified(scope: Scope, column: string): readonly Origin[] | null {
  const merged = scope.merged.find(({ name }) => name === column);
  if (merged !== undefined) return [merged.origin];
  for (const { columns } of scope.entries) {
    const found = columns.find(({ name }) => name === column);
    if (found !== undefined) return [found.origin];
  }
  return null;
}

/** System columns (ctid, xmin, tableoid) are the only ones the server accepts that no list has. */
function unknownColumn(name: string): never {
  return refuse(
    `column ${name} is not supported in a tview`,
    'System columns change without any change of the row: VACUUM FULL moves it, for example.',
    'Identify the row by its primary key.',
  );
}
