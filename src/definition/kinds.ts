/** Kinds of values, as far as a key that is computed has to tell them apart (expression.ts). */
import type { CatalogColumn } from './catalog.ts';

/**
 * What a value is, as far as that says what can be done with it without fail. Of a type that somebody made nothing is known: to compare
 * two of its values may be impossible.
 */
export type Kind =
  | (typeof numbers)[number]
  | (typeof times)[number]
  | 'text'
  | 'truth'
  | 'json'
  | 'other'
  | 'made';
const numbers = ['integer', 'numeric', 'float'] as const;
const times = ['date', 'timestamp', 'timestamptz'] as const;

const numeric: ReadonlySet<Kind> = new Set<Kind>(numbers);
export const temporal: ReadonlySet<Kind> = new Set<Kind>(times);

/** numeric, float and json have several forms of one value, and intervals, which are among the others. */
export const exactKinds: ReadonlySet<Kind> = new Set<Kind>(['integer', ...times, 'text', 'truth']);

const bpchar = 1042;
const kindsOfTypes: ReadonlyMap<number, Kind> = new Map<number, Kind>([
  [16, 'truth'],
  ...[20, 21, 23].map((type) => [type, 'integer'] as const),
  [1700, 'numeric'],
  ...[700, 701].map((type) => [type, 'float'] as const),
  [1082, 'date'],
  [1114, 'timestamp'],
  [1184, 'timestamptz'],
  // text, varchar, bpchar, name
  ...[25, 1043, bpchar, 19].map((type) => [type, 'text'] as const),
  // jsonb. What json holds was never read: \u0000 in it makes every look into it fail.
  [3802, 'json'],
]);
/** What a user creates has this oid or a greater one (FirstNormalObjectId, PostgreSQL's access/transam.h). */
export const firstMadeType = 16384;
export const kindOf = ({ baseType }: Pick<CatalogColumn, 'baseType'>): Kind =>
  kindsOfTypes.get(baseType) ?? (baseType < firstMadeType ? 'other' : 'made');

/** By the names the grammar gives them. */
export const kindsOfNames: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ['bool', 'truth'],
  ...['int2', 'int4', 'int8'].map((name) => [name, 'integer'] as const),
  ['numeric', 'numeric'],
  ...['float4', 'float8'].map((name) => [name, 'float'] as const),
  ...times.map((name) => [name, name] as const),
  ...['text', 'varchar'].map((name) => [name, 'text'] as const),
]);

/** Whether values of the column that are equal are the same. */
export const isExact = (column: CatalogColumn): boolean =>
  column.isDeterministic && exactKinds.has(kindOf(column)) && column.baseType !== bpchar;

/** Of two moments: whether one is in the session's time zone. */
export const isZoned = (one: Kind, other: Kind): boolean =>
  one !== other && [one, other].includes('timestamptz');

export const castable: ReadonlySet<Kind> = new Set<Kind>([...numbers, ...times, 'truth']);

export const areNumbers = (...kinds: readonly Kind[]): boolean => kinds.every((kind) => numeric.has(kind));

export const ofNumbers = (kinds: readonly Kind[]): Kind =>
  kinds.includes('float') ? 'float' : kinds.includes('numeric') ? 'numeric' : 'integer';

export const areComparable = (left: Kind, right: Kind): boolean =>
  (left === right && left !== 'made') ||
  areNumbers(left, right) ||
  (temporal.has(left) && temporal.has(right));

/** What a value of some kind becomes in a UNION with others, without being another value. */
const wider: ReadonlyMap<Kind, readonly Kind[]> = new Map<Kind, readonly Kind[]>([
  ['integer', ['numeric']],
  ['date', ['timestamp', 'timestamptz']],
  ['timestamp', ['timestamptz']],
]);

/**
 * Whether values of an expression come out of the definition as they are in it. An integer that has met a float4 on its way to a float8
 * has lost digits, and nothing tells whether it has.
 */
export const isKept = (kind: Kind, output: Pick<CatalogColumn, 'baseType'>): boolean => {
  const shown = kindOf(output);
  return shown === kind || wider.get(kind)?.includes(shown) === true;
};
