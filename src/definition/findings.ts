/** What the walk over a definition (resolve.ts) writes down: occurrences, what must be equal, what is never null, what to tell people. */
import type { RefusedDefinition } from '../errors/errors.ts';
import type { CatalogColumn, CatalogRelation } from './catalog.ts';
import type { Occurrences } from './columns.ts';
import { columnsIn, shownExpression } from './expression.ts';
import { kindOf } from './kinds.ts';
import { noteForms } from './lint.ts';
import type { Side } from './operand.ts';
import type { Advice } from './plan.ts';
import {
  columnKey,
  type Equality,
  type NamedOrigin,
  type Origin,
  type ResolvedOccurrence,
} from './resolved.ts';
import type { Scope } from './scope.ts';

export type ColumnOrigin = Extract<Origin, { readonly kind: 'column' }>;

interface FoundOccurrence extends ResolvedOccurrence {
  readonly referenced: Set<string>;
  /** The query in whose FROM it stands: there its rows are as they are stored. */
  readonly home: Scope;
}

export class Findings {
  readonly occurrences: FoundOccurrence[] = [];
  readonly equalities: Equality[] = [];
  readonly notNull = new Set<string>();
  readonly nearMisses = new Map<number, string>();
  readonly met = new Set<number>();
  readonly advice: Advice[] = [];

  /** @returns its number */
  meet(
    relation: CatalogRelation,
    alias: string,
    home: Scope,
    why: { readonly unbounded: RefusedDefinition | null; readonly peering: RefusedDefinition | null },
  ): number {
    const index = this.occurrences.length;
    this.occurrences.push({ index, alias, relation, home, referenced: new Set(), ...why, reading: 0 });
    return index;
  }

  columnOf({ occurrence, column }: Pick<ColumnOrigin, 'occurrence' | 'column'>): CatalogColumn {
    return this.occurrences[occurrence]!.relation.columns.find(({ name }) => name === column)!;
  }

  /** What an expression is computed from was met where it is computed. */
  reference(origin: Origin): void {
    if (origin.kind === 'column') this.occurrences[origin.occurrence]!.referenced.add(origin.column);
  }

  /** Equality is strict: a row that passes it has a value on both sides. */
  notNullFor(occurrence: number, column: string, owners: Occurrences): void {
    if (owners.includes(occurrence)) this.notNull.add(columnKey(occurrence, column));
  }

  /** Whether a column has a value in every row of what these occurrences are in. */
  isFilled(origin: ColumnOrigin, always: Occurrences): boolean {
    const { occurrence, column } = origin;
    if (!always.includes(occurrence)) return false;
    return this.columnOf(origin).notNull || this.notNull.has(columnKey(occurrence, column));
  }

  equate(left: Equality['left'], right: Equality['right'], owners: Occurrences): void {
    if (left.occurrence === right.occurrence || (left.isElement && right.isElement)) return;
    // What an unbounded occurrence is compared with does not bound it.
    if ([left, right].some(({ occurrence }) => this.occurrences[occurrence]!.unbounded !== null)) return;
    this.equalities.push({ left, right, owners: new Set(owners) });
  }

  noteNearMiss(owners: Occurrences, ...sides: readonly Side[]): void {
    const miss = sides.find((side) => side.kind === 'computed' && side.how !== 'a constant');
    if (miss?.kind !== 'computed') return;
    for (const owner of owners) {
      if (!this.nearMisses.has(owner)) this.nearMisses.set(owner, miss.how);
    }
  }

  isFloat(origin: Origin): boolean {
    return origin.kind === 'column' && kindOf(this.columnOf(origin)) === 'float';
  }

  /** A column where it has been given a type in common with others, floats among them or not. */
  converted({ name, origin }: NamedOrigin, withFloats: boolean): NamedOrigin {
    if (origin.kind !== 'column') return { name, origin };
    const isInexact = (withFloats && !this.isFloat(origin)) || origin.isConverted === 'inexactly';
    return { name, origin: { ...origin, isConverted: isInexact ? 'inexactly' : 'exactly' } };
  }

  // Advice ----------------------------------------------------------------------------------------------------------

  advise(advice: Advice): void {
    if (!this.advice.some(({ message }) => message === advice.message)) this.advice.push(advice);
  }

  noteForms(origin: Pick<ColumnOrigin, 'occurrence' | 'column'>, what: string, where: string): void {
    for (const advice of noteForms(this.columnOf(origin), what, where)) this.advise(advice);
  }

  noteGroups(grouping: readonly Origin[], clause: string, where: string): void {
    for (const origin of grouping) {
      if (origin.kind !== 'column' && (origin.kind !== 'expression' || origin.hasOneForm)) continue;
      const { occurrence } = origin;
      const { alias, relation } = this.occurrences[occurrence]!;
      const isGrouped = (name: string): boolean =>
        grouping.some((one) => one.kind === 'column' && one.occurrence === occurrence && one.column === name);
      // With its primary key beside it there is only one row to show.
      if (relation.primaryKey?.every(isGrouped) === true) continue;
      if (origin.kind === 'column') this.noteForms(origin, `${clause} ${origin.column}`, where);
      else {
        const what = `${clause} ${shownExpression(origin.pieces, alias)}`;
        for (const column of columnsIn(origin.pieces)) this.noteForms({ occurrence, column }, what, where);
      }
    }
  }
}
