/**
 * Expressions that can be a key: computed from one row of one table, by functions of PostgreSQL's own that are known here. Of those it is
 * known that they cannot fail, whatever the row holds (a key query computes them for rows that the definition leaves out, too: a
 * cast of text to a number would fail a write the definition has nothing to do with), and when their result is null. All others
 * are "computed", and a column stored by the table is the way out.
 */
import type { CaseWhen, FuncCall, TypeName } from '@pgsql/types';
import { quoteIdentifier, quoteLiteral } from '../database/identifier.ts';
import type { CatalogColumn } from './catalog.ts';
import { type ColumnName, columnName, type Node, strings } from './grammar.ts';
import {
  areComparable,
  areNumbers,
  castable,
  exactKinds,
  isExact,
  isZoned,
  type Kind,
  kindOf,
  kindsOfNames,
  ofNumbers,
  temporal,
} from './kinds.ts';

/** SQL with the columns left open. `own`: a name of pg_catalog's. `operator`: likewise. */
export type Piece =
  | string
  | { readonly column: string }
  | { readonly own: string }
  | { readonly operator: string };

export interface Expression {
  readonly occurrence: number;
  readonly pieces: readonly Piece[];
  /** What kind of value it gives. */
  readonly gives: Kind;
  /** Columns that have to be filled for its value to be; null where nothing is known. */
  readonly filledIf: readonly string[] | null;
  /** Whether values of it that are equal are the same. */
  readonly isExact: boolean;
  /** Whether equal ones look the same, whatever it is computed from. */
  readonly hasOneForm: boolean;
  /** The major version of PostgreSQL from which on an index can be by it: 0 for any, infinity for none. */
  readonly immutableSince: number;
}

/** What a column reference in an expression is. */
export interface FoundColumn {
  readonly occurrence: number;
  readonly column: CatalogColumn;
}

/** Null: none that a key can be. */
export function expressionOf(node: Node, find: (name: ColumnName) => FoundColumn | null): Expression | null {
  const occurrences = new Set<number>();
  const columns: CatalogColumn[] = [];
  const written = write(node, (name) => {
    const found = find(name);
    if (found === null || found.column.isArray || found.column.generated === 'virtual') return null;
    occurrences.add(found.occurrence);
    columns.push(found.column);
    return found.column;
  });
  const [occurrence, ...others] = occurrences;
  if (written === null || occurrence === undefined || others.length > 0) return null;
  return {
    occurrence,
    pieces: joined(written.pieces),
    gives: written.kind,
    filledIf: written.filledIf,
    isExact: exactKinds.has(written.kind) && columns.every(isExact),
    hasOneForm:
      isRounded(written) || (exactKinds.has(written.kind) && columns.every((one) => one.isDeterministic)),
    immutableSince: written.immutableSince,
  };
}

/** With as many decimals for every value. */
function isRounded({ pieces: [first] }: Written): boolean {
  return typeof first === 'object' && 'own' in first && rounding.has(first.own);
}
const rounding: ReadonlySet<string> = new Set(['round', 'trunc', 'floor', 'ceil', 'ceiling', 'extract']);

export interface Rendering {
  column(name: string): string;
  /** For people: names of PostgreSQL's own as they are, where nobody has others of these names before them in the search_path. */
  readonly isShown?: boolean;
}

export function render(pieces: readonly Piece[], { column, isShown = false }: Rendering): string {
  return pieces
    .map((piece) => {
      if (typeof piece === 'string') return piece;
      if ('column' in piece) return column(piece.column);
      // EXTRACT without its schema is another syntax.
      if ('own' in piece)
        return isShown && piece.own !== 'extract' ? piece.own : `pg_catalog.${quoteIdentifier(piece.own)}`;
      return isShown ? piece.operator : `OPERATOR(pg_catalog.${piece.operator})`;
    })
    .join('');
}

/** For people: `lower(u.email)`. */
export const shownExpression = (pieces: readonly Piece[], alias: string): string =>
  render(pieces, { column: (name) => `${alias}.${name}`, isShown: true });

/** What tells one expression from another, and from every column: no name has that character. */
export const expressionKey = (pieces: readonly Piece[]): string => `\0${JSON.stringify(pieces)}`;

export const columnsIn = (pieces: readonly Piece[]): readonly string[] => [
  ...new Set(
    pieces.flatMap((piece) => (typeof piece !== 'string' && 'column' in piece ? [piece.column] : [])),
  ),
];

interface Written {
  readonly pieces: readonly Piece[];
  readonly kind: Kind;
  readonly filledIf: readonly string[] | null;
  /** The first version that calls it IMMUTABLE; none where settings decide it, such as the time zone. */
  readonly immutableSince: number;
}

const everSince = 0;
const never = Number.POSITIVE_INFINITY;
/** date_trunc with a zone as its third argument. */
const zonedTruncSince = 16;

const sinceAll = (parts: readonly Written[]): number =>
  Math.max(everSince, ...parts.map(({ immutableSince }) => immutableSince));

type Columns = (name: ColumnName) => CatalogColumn | null;

function write(node: Node, columns: Columns): Written | null {
  if ('ColumnRef' in node) {
    const name = columnName(node.ColumnRef);
    const column = name === null || name.column === null ? null : columns(name);
    if (column === null) return null;
    return {
      pieces: [{ column: column.name }],
      kind: kindOf(column),
      filledIf: [column.name],
      immutableSince: everSince,
    };
  }
  if ('A_Const' in node) return constant(node.A_Const);
  if ('TypeCast' in node) return cast(node.TypeCast.arg, node.TypeCast.typeName, columns);
  if ('FuncCall' in node) return call(node.FuncCall, columns);
  if ('A_Expr' in node) return operation(node.A_Expr, columns);
  if ('CoalesceExpr' in node) return firstFilled('COALESCE', node.CoalesceExpr.args, columns);
  if ('MinMaxExpr' in node)
    return firstFilled(
      node.MinMaxExpr.op === 'IS_GREATEST' ? 'GREATEST' : 'LEAST',
      node.MinMaxExpr.args,
      columns,
    );
  if ('CaseExpr' in node) return branches(node.CaseExpr, columns);
  if ('BoolExpr' in node) {
    const { boolop, args = [] } = node.BoolExpr;
    const parts = all(args, columns);
    if (parts === null) return null;
    const word = boolop === 'OR_EXPR' ? ' OR ' : ' AND ';
    const pieces =
      boolop === 'NOT_EXPR' ? ['(NOT ', ...parts[0]!.pieces, ')'] : ['(', ...list(parts, word), ')'];
    return { pieces, kind: 'truth', filledIf: allFilled(parts), immutableSince: sinceAll(parts) };
  }
  if ('NullTest' in node) {
    const tested = node.NullTest.arg === undefined ? null : write(node.NullTest.arg, columns);
    // Of a row the test is another one.
    if (tested === null || isOther(tested)) return null;
    const word = node.NullTest.nulltesttype === 'IS_NULL' ? ' IS NULL)' : ' IS NOT NULL)';
    return {
      pieces: ['(', ...tested.pieces, word],
      kind: 'truth',
      filledIf: [],
      immutableSince: tested.immutableSince,
    };
  }
  return null;
}

function all(nodes: readonly Node[], columns: Columns): Written[] | null {
  const written = nodes.map((node) => write(node, columns));
  return written.every((one) => one !== null) ? written : null;
}

const list = (parts: readonly Written[], between: string): Piece[] =>
  parts.flatMap(({ pieces }, place) => (place === 0 ? pieces : [between, ...pieces]));

function allFilled(parts: readonly Written[]): readonly string[] | null {
  const each = parts.map(({ filledIf }) => filledIf);
  return each.every((one) => one !== null) ? [...new Set(each.flat())] : null;
}

const isOther = ({ kind }: Written): boolean => kind === 'other' || kind === 'made';

/** NULL is nothing to be grouped by, and what it is cast to is seldom known. */
function constant(value: Extract<Node, { A_Const: unknown }>['A_Const']): Written | null {
  const { sval, ival, fval, boolval } = value;
  const written = (sql: string, kind: Kind): Written => ({
    pieces: [sql],
    kind,
    filledIf: [],
    immutableSince: everSince,
  });
  if (sval !== undefined) return written(quoteLiteral(sval.sval ?? ''), 'text');
  if (ival !== undefined) return written(String(ival.ival ?? 0), 'integer');
  if (fval !== undefined) return written(fval.fval ?? '0', 'numeric');
  if (boolval !== undefined) return written(boolval.boolval === true ? 'true' : 'false', 'truth');
  return null;
}

/**
 * To a type of PostgreSQL's own. From text nothing can be cast. To text anything can but a row, and a float: PostgreSQL takes its digits for
 * certain and they are the session's, so that an index on them, as sessions left it, does not have what the refresh looks for.
 */
function cast(arg: Node | undefined, type: TypeName | undefined, columns: Columns): Written | null {
  const inner = arg === undefined ? null : write(arg, columns);
  const name = type === undefined ? null : ownTypeName(type);
  if (inner === null || name === null || arg === undefined) return null;
  const kind = kindsOfNames.get(name);
  // CASE … END needs them not, but nobody would read it so. All else is in parentheses that needs some.
  const isBare = !('CaseExpr' in arg);
  const pieces: Piece[] = [
    ...(isBare ? inner.pieces : ['(', ...inner.pieces, ')']),
    '::',
    { own: name },
    modifiersOf(type!),
  ];
  // A constant is what it was when the definition was written.
  if ('A_Const' in arg) return { pieces, kind: kind ?? 'other', filledIf: [], immutableSince: everSince };
  if (kind === undefined || (kind !== 'text' && !castable.has(inner.kind))) return null;
  if (kind === 'text' && (isOther(inner) || inner.kind === 'float')) return null;
  return {
    pieces,
    kind,
    // In PostgreSQL 18 a json null becomes NULL.
    filledIf: inner.kind === 'json' ? null : inner.filledIf,
    immutableSince:
      temporal.has(inner.kind) && (kind === 'text' || isZoned(inner.kind, kind))
        ? never
        : inner.immutableSince,
  };
}

function ownTypeName({ names, arrayBounds, setof, pct_type }: TypeName): string | null {
  const path = strings(names);
  if (setof === true || pct_type === true || (arrayBounds ?? []).length > 0) return null;
  return path.length === 1 || path[0] === 'pg_catalog' ? path.at(-1)! : null;
}

/** `(10,2)`; nothing else is one of the types a value is cast to here. */
function modifiersOf({ typmods = [] }: TypeName): string {
  const numbers = typmods.flatMap((node) =>
    'A_Const' in node && node.A_Const.ival !== undefined ? [node.A_Const.ival.ival ?? 0] : [],
  );
  return numbers.length === 0 ? '' : `(${numbers.join(',')})`;
}

/** What is known of a function. */
interface Known {
  readonly kind: Kind | ((kinds: readonly Kind[]) => Kind);
  /** Null although all arguments have values: of a moment that is infinite, where a pattern does not match. */
  readonly maybeNull?: true;
  /** Arguments, by place, that have to be constants: with these it fails for every row or for none. */
  readonly constants?: readonly number[];
  /** Never null, whatever is. */
  readonly neverNull?: true;
  /** STABLE, for all arguments or where one is a moment in the session's time zone. */
  readonly isStable?: true | 'zoned';
}

const ofFirst = ([kind]: readonly Kind[]): Kind => kind!;

/** By name: in all the forms that have it, and for all arguments of the kinds that they take. None of them is an aggregate or returns a set. */
const functions: ReadonlyMap<string, Known> = new Map<string, Known>([
  ...['lower', 'upper', 'initcap', 'btrim', 'ltrim', 'rtrim', 'reverse', 'replace', 'translate', 'md5'].map(
    (name) => [name, { kind: 'text' }] as const,
  ),
  ...['left', 'right'].map((name) => [name, { kind: 'text', constants: [1] }] as const),
  ['substr', { kind: 'text', constants: [1, 2] }],
  ['substring', { kind: 'text', constants: [1, 2], maybeNull: true }],
  ['lpad', { kind: 'text', constants: [1] }],
  ['rpad', { kind: 'text', constants: [1] }],
  ['split_part', { kind: 'text', constants: [1, 2] }],
  ['regexp_replace', { kind: 'text', constants: [1, 2, 3, 4, 5] }],
  ['concat', { kind: 'text', neverNull: true, isStable: true }],
  ['concat_ws', { kind: 'text', constants: [0], neverNull: true, isStable: true }],
  ['to_char', { kind: 'text', constants: [1], maybeNull: true, isStable: true }],
  ...['length', 'char_length', 'character_length', 'octet_length'].map(
    (name) => [name, { kind: 'integer' }] as const,
  ),
  ['date_trunc', { kind: ([, moment]) => moment!, constants: [0, 2], isStable: 'zoned' }],
  [
    'timezone',
    {
      kind: ([, moment]) => (moment === 'timestamptz' ? 'timestamp' : 'timestamptz'),
      constants: [0],
    },
  ],
  ['date', { kind: 'date', isStable: 'zoned' }],
  ['date_part', { kind: 'float', constants: [0], maybeNull: true, isStable: 'zoned' }],
  ['extract', { kind: 'numeric', constants: [0], maybeNull: true, isStable: 'zoned' }],
  ...['floor', 'ceil', 'ceiling', 'abs'].map((name) => [name, { kind: ofFirst }] as const),
  ...['round', 'trunc'].map((name) => [name, { kind: ofFirst, constants: [1] }] as const),
]);

/** Those that read a value of any kind. */
const takesAll: ReadonlySet<string> = new Set(['concat', 'concat_ws']);

function call(node: FuncCall, columns: Columns): Written | null {
  const { funcname, args = [], agg_order, agg_filter, over, agg_star, agg_distinct, func_variadic } = node;
  if (agg_order ?? agg_filter ?? over) return null;
  if (agg_star === true || agg_distinct === true || func_variadic === true) return null;
  const path = strings(funcname);
  const name = path.at(-1) ?? '';
  const known = path.length === 1 || path[0] === 'pg_catalog' ? functions.get(name) : undefined;
  const written = known === undefined ? null : all(args, columns);
  if (known === undefined || written === null || written.length === 0) return null;
  if (known.constants?.some((place) => args[place] !== undefined && !isConstant(args[place]))) return null;
  if (!takesAll.has(name) && written.some((one) => one.kind === 'json' || isOther(one))) {
    // Of the others, intervals and times of day are what these take; arrays and ranges have functions of the same names.
    if (known.constants?.[0] !== 0) return null;
    if (written.some((one, place) => one.kind === 'json' || (isOther(one) && !isConstant(args[place]))))
      return null;
  }
  const kinds = written.map(({ kind }) => kind);
  // date('yesterday') is a cast of text.
  if (name === 'date' && !temporal.has(kinds[0]!)) return null;
  const isPart = name === 'substring' && written[1]!.kind === 'integer';
  const mayBeNull = known.maybeNull === true && !isPart;
  return {
    pieces: [
      { own: name },
      '(',
      ...list(
        written.map((part) => asCalled(part, name)),
        ', ',
      ),
      ')',
    ],
    kind: typeof known.kind === 'string' ? known.kind : known.kind(kinds),
    filledIf: known.neverNull === true ? [] : mayBeNull ? null : allFilled(written),
    immutableSince: Math.max(sinceAll(written), sinceOf(known, kinds)),
  };
}

function sinceOf({ isStable }: Known, kinds: readonly Kind[]): number {
  if (isStable === true) return never;
  if (isStable !== 'zoned' || !kinds.includes('timestamptz')) return everSince;
  return kinds.length < 3 ? never : zonedTruncSince;
}

/** Those that have a syntax of SQL, in which the server leaves out how it converts a column. */
const spelled: ReadonlySet<string> = new Set(['btrim', 'ltrim', 'rtrim', 'substring']);

/** The same for a call and for SQL's own syntax: an index that was created by the one is looked for by the other. */
function asCalled(part: Written, name: string): Written {
  const [first, ...more] = part.pieces;
  if (part.kind !== 'text' || first === undefined) return part;
  // EXTRACT (year FROM …) has a text without its type.
  if (typeof first === 'string' && more.length === 0)
    return { ...part, pieces: [first, '::', { own: 'text' }] };
  const isCast =
    more.length === 3 && typeof more[1] === 'object' && 'own' in more[1] && more[1].own === 'text';
  return spelled.has(name) && isCast && typeof first === 'object' && 'column' in first
    ? { ...part, pieces: [first] }
    : part;
}

/** A literal, with or without its type. Of numbers those that are not negative: SUBSTRING takes no other length. */
function isConstant(node: Node | undefined): boolean {
  const value = node === undefined ? undefined : literalOf(node);
  return value !== undefined && 'A_Const' in value;
}

const comparisons: ReadonlySet<string> = new Set(['=', '<>', '<', '>', '<=', '>=']);
/** LIKE and regular expressions, as the server writes them. */
const likes: ReadonlySet<string> = new Set(['~~', '!~~', '~~*', '!~~*']);
const patterns: ReadonlySet<string> = new Set([...likes, '~', '!~', '~*', '!~*']);

function operation(
  { kind: form, name: names, lexpr, rexpr }: Extract<Node, { A_Expr: unknown }>['A_Expr'],
  columns: Columns,
): Written | null {
  if (form !== 'AEXPR_OP' || rexpr === undefined || lexpr === undefined) return null;
  const path = strings(names);
  if (path.length !== 1 && path[0] !== 'pg_catalog') return null;
  const operator = path.at(-1)!;
  const left = write(lexpr, columns);
  const right = write(rexpr, columns);
  if (left === null || right === null) return null;
  const known = resultOf(operator, left.kind, right.kind, rexpr);
  if (known === null) return null;
  return {
    pieces: ['(', ...left.pieces, ' ', { operator }, ' ', ...right.pieces, ')'],
    kind: known.kind,
    filledIf: known.maybeNull ? null : allFilled([left, right]),
    immutableSince:
      comparisons.has(operator) && isZoned(left.kind, right.kind) ? never : sinceAll([left, right]),
  };
}

function resultOf(
  operator: string,
  left: Kind,
  right: Kind,
  operand: Node,
): { readonly kind: Kind; readonly maybeNull: boolean } | null {
  const filled = (kind: Kind) => ({ kind, maybeNull: false });
  if (comparisons.has(operator)) return areComparable(left, right) ? filled('truth') : null;
  if (patterns.has(operator)) {
    const isPattern = isConstant(operand) && !(likes.has(operator) && endsInEscape(operand));
    return left === 'text' && right === 'text' && isPattern ? filled('truth') : null;
  }
  if (operator === '||') return left === 'text' && right === 'text' ? filled('text') : null;
  // What is not there is null.
  if (left === 'json' && (operator === '->' || operator === '->>'))
    return { kind: operator === '->' ? 'json' : 'text', maybeNull: true };
  if (!areNumbers(left, right)) return null;
  const kind = ofNumbers([left, right]);
  if (['+', '-', '*'].includes(operator)) return filled(kind);
  const divides = ['/', '%'].includes(operator) && isConstant(operand) && !isZero(operand);
  return divides ? filled(kind) : null;
}

const literalOf = (node: Node): Node | undefined => ('TypeCast' in node ? node.TypeCast.arg : node);

/** LIKE 'a\' fails, but for those texts alone that have come so far. */
function endsInEscape(node: Node): boolean {
  const value = literalOf(node);
  const text = value !== undefined && 'A_Const' in value ? (value.A_Const.sval?.sval ?? '') : '';
  return /\\*$/.exec(text)![0].length % 2 === 1;
}

function isZero(node: Node): boolean {
  const value = literalOf(node);
  if (value === undefined || !('A_Const' in value)) return true;
  const { ival, fval, sval } = value.A_Const;
  return Number(ival === undefined ? (fval?.fval ?? sval?.sval ?? 0) : (ival.ival ?? 0)) === 0;
}

function firstFilled(word: string, args: readonly Node[] = [], columns: Columns): Written | null {
  const parts = all(args, columns);
  if (parts === null || parts.length === 0) return null;
  const kind = sameKind(parts);
  if (kind === null || (word !== 'COALESCE' && kind === 'made')) return null;
  // Any of them will do; the last one is what there is when all else fails, by habit.
  const known = parts.flatMap(({ filledIf }) => (filledIf === null ? [] : [filledIf]));
  const filledIf = known.find(({ length }) => length === 0) ?? known.at(-1) ?? null;
  return { pieces: [word, '(', ...list(parts, ', '), ')'], kind, filledIf, immutableSince: sinceAll(parts) };
}

function sameKind(parts: readonly Written[]): Kind | null {
  const kinds = new Set(parts.map(({ kind }) => kind));
  if (kinds.size === 1) return [...kinds][0]!;
  return areNumbers(...kinds) ? ofNumbers([...kinds]) : null;
}

function branches(
  { arg, args = [], defresult }: Extract<Node, { CaseExpr: unknown }>['CaseExpr'],
  columns: Columns,
): Written | null {
  const subject = arg === undefined ? null : write(arg, columns);
  if (subject === null && arg !== undefined) return null;
  const whens = args.map((node): { test: Written; result: Written } | null => {
    const { expr, result }: CaseWhen = 'CaseWhen' in node ? node.CaseWhen : {};
    const test = expr === undefined ? null : write(expr, columns);
    const then = result === undefined ? null : write(result, columns);
    return test === null || then === null ? null : { test, result: then };
  });
  if (!whens.every((when) => when !== null)) return null;
  if (subject !== null && !whens.every(({ test }) => areComparable(subject.kind, test.kind))) return null;
  const otherwise = defresult === undefined ? null : write(defresult, columns);
  if (otherwise === null && defresult !== undefined) return null;
  const results = [...whens.map(({ result }) => result), ...(otherwise === null ? [] : [otherwise])];
  const kind = sameKind(results);
  if (kind === null) return null;
  return {
    pieces: [
      'CASE ',
      ...(subject === null ? [] : [...subject.pieces, ' ']),
      ...whens.flatMap(({ test, result }) => ['WHEN ', ...test.pieces, ' THEN ', ...result.pieces, ' ']),
      ...(otherwise === null ? [] : ['ELSE ', ...otherwise.pieces, ' ']),
      'END',
    ],
    kind,
    filledIf: otherwise === null ? null : allFilled(results),
    immutableSince: whens.some(({ test }) => subject !== null && isZoned(subject.kind, test.kind))
      ? never
      : sinceAll([...(subject === null ? [] : [subject]), ...whens.map(({ test }) => test), ...results]),
  };
}

/** Neighbouring texts as one: what is written in one way is the same. */
function joined(pieces: readonly Piece[]): Piece[] {
  const result: Piece[] = [];
  for (const piece of pieces) {
    const last = result.at(-1);
    if (typeof piece === 'string' && typeof last === 'string') result[result.length - 1] = last + piece;
    else result.push(piece);
  }
  return result;
}
