/** What resolving a definition yields: every occurrence of a table and every equality that binds two of them. */

import type { RefusedDefinition } from '../errors/errors.ts';
import type { CatalogRelation } from './catalog.ts';
import { type Expression, expressionKey, type Piece } from './expression.ts';
import type { Advice } from './plan.ts';

/** Where an output column comes from. Only a column or an element of one can be one side of a link; only a column, an expression or a constant can be part of a key. */
export type Origin =
  | {
      readonly kind: 'column';
      readonly occurrence: number;
      readonly column: string;
      /**
       * It has met others on its way, and may have become what they are: 1 / 2 is 0, and 0.5 where 1 has been in a UNION with 1.0.
       * `inexactly`: to a float, whose equal values were not equal before.
       */
      readonly isConverted?: 'exactly' | 'inexactly';
    }
  | ({ readonly kind: 'expression'; readonly how: string } & Expression)
  | {
      /** One of those of an array. */
      readonly kind: 'element';
      readonly occurrence: number;
      readonly column: string;
      readonly how: string;
    }
  | { readonly kind: 'constant'; readonly sql: string; readonly how: string }
  | { readonly kind: 'computed'; readonly how: string };

export interface NamedOrigin {
  readonly name: string;
  readonly origin: Origin;
}

/** One reference to a base table or tview anywhere in the definition, views expanded. */
export interface ResolvedOccurrence {
  readonly index: number;
  readonly alias: string;
  readonly relation: CatalogRelation;
  /** Columns the definition reads through this occurrence. */
  readonly referenced: ReadonlySet<string>;
  /** Why nothing can be derived from a change of it: the construct it stands in. Null where something can. */
  readonly unbounded: RefusedDefinition | null;
  /** Of peers of a window: what to tell where nothing links them to the rows they are peers of. */
  readonly peering: RefusedDefinition | null;
  /** Which of the definition's readings it belongs to. */
  readonly reading: number;
}

/** One side of an equality: a column, and the casts around it from the inside out, as SQL. */
export interface Operand {
  readonly occurrence: number;
  readonly column: string;
  readonly casts: readonly string[];
  /** Of an array: equal to the other side is one of its elements. Never of both. */
  readonly isElement?: true;
}

/** `base`, as the operand's column is written where the operand stands, with the casts around it. */
export const withCasts = (base: string, { casts }: Operand): string =>
  casts.reduce((inner, cast) => `(${inner})::${cast}`, base);

/**
 * A conjunct `left = right` between two occurrences. It is a necessary condition for the influence of its `owners`
 * only: not for what stands on the preserved side of the outer join it belongs to, nor on a nullable side below it.
 */
export interface Equality {
  readonly left: Operand;
  readonly right: Operand;
  readonly owners: ReadonlySet<number>;
}

export interface ResolvedDefinition {
  readonly occurrences: readonly ResolvedOccurrence[];
  readonly equalities: readonly Equality[];
  /** What depends on which branches and sides are looked at (readings.ts). */
  readonly readings: readonly {
    /** Output columns, in order, by the names the catalog has for them. */
    readonly outputs: readonly NamedOrigin[];
    /** DISTINCT ON or GROUP BY of the top level, which tells its rows apart; null where there is neither. */
    readonly grouping: readonly Origin[] | null;
    /** PARTITION BY of each window whose peers are among the occurrences. */
    readonly partitions: readonly (readonly Origin[])[];
  }[];
  /** A FULL JOIN or an EXCEPT is met, into which PostgreSQL takes no condition: one row costs as much as all. */
  readonly isFenced: boolean;
  /** Occurrences whose row is there in every output row: not on the nullable side of an outer join. */
  readonly always: ReadonlySet<number>;
  /** What the conditions show not to be null in any row they let through: by columnKey, or by expressionKey in its place. */
  readonly notNull: ReadonlySet<string>;
  /** Conditions that look like links and are none, by occurrence: the reason to tell when there is no path. */
  readonly nearMisses: ReadonlyMap<number, string>;
  /** Relations the walk met, views included, for the comparison with what PostgreSQL says is read. */
  readonly met: ReadonlySet<number>;
  readonly advice: readonly Advice[];
}

/** For people: `product p`, or the alias alone where it is the table's name. */
export function shownOccurrence({ occurrences }: ResolvedDefinition, occurrence: number): string {
  const { alias, relation } = occurrences[occurrence]!;
  return alias === relation.name.name ? alias : `${relation.name.name} ${alias}`;
}

/** For people: `p.fk_category`. */
export const shownOperand = ({ occurrences }: ResolvedDefinition, { occurrence, column }: Operand): string =>
  `${occurrences[occurrence]!.alias}.${column}`;

export function columnKey(occurrence: number, column: string): string {
  return `${occurrence}.${column}`;
}

/** As much of an origin, or of a key column, as tells it from others. */
export type OriginName =
  | { readonly kind: 'column'; readonly occurrence: number; readonly column: string }
  | { readonly kind: 'expression'; readonly occurrence: number; readonly pieces: readonly Piece[] }
  | { readonly kind: 'element' | 'constant' | 'computed' };

/** What tells one origin from another; null for what is read from no row, or nobody knows how. */
export function originKey(origin: OriginName): string | null {
  if (origin.kind === 'column') return columnKey(origin.occurrence, origin.column);
  return origin.kind === 'expression' ? columnKey(origin.occurrence, expressionKey(origin.pieces)) : null;
}
