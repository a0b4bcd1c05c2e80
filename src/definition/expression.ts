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

/** SQL with the columns left open. `own`: a name of pg_catalog's. `operator`: likewise. */
export type Piece =
  | string
  | { readonly column: string }
  | { readonly own: string }
  | { readonly operator: string };

export interface Expression {
  readonly occurrence: number;
  readonly pieces: readonly Piece[];
  /** Columns that have to be filled for its value to be; null where nothing is known. */
  readonly filledIf: readonly string[] | null;
  /** Whether values of it that are equal are the same. */
  readonly isExact: boolean;
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
    filledIf: written.filledIf,
    isExact: exactKinds.has(written.kind) && columns.every(isExact),
  };
}

/** Whether values of the column that are equal are the same. */
export const isExact = (column: CatalogColumn): boolean =>
  column.isDeterministic && exactKinds.has(kindOf(column)) && column.baseType !== bpchar;

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

/** What a value is, as far as that says what it can be cast to without fail. */
type Kind = 'integer' | 'number' | 'time' | 'text' | 'truth' | 'json' | 'other';

/** numeric and json have several forms of one value, and intervals, which are among the others. */
const exactKinds: ReadonlySet<Kind> = new Set<Kind>(['integer', 'time', 'text', 'truth']);

interface Written {
  readonly pieces: readonly Piece[];
  readonly kind: Kind;
  readonly filledIf: readonly string[] | null;
}

const bpchar = 1042;
const kindsOfTypes: ReadonlyMap<number, Kind> = new Map<number, Kind>([
  [16, 'truth'],
  ...[20, 21, 23].map((type) => [type, 'integer'] as const),
  ...[700, 701, 1700].map((type) => [type, 'number'] as const),
  // date, timestamp, timestamptz
  ...[1082, 1114, 1184].map((type) => [type, 'time'] as const),
  // text, varchar, bpchar, name
  ...[25, 1043, bpchar, 19].map((type) => [type, 'text'] as const),
  ...[114, 3802].map((type) => [type, 'json'] as const),
]);
const kindOf = ({ baseType }: CatalogColumn): Kind => kindsOfTypes.get(baseType) ?? 'other';

/** By the names the grammar gives them. */
const kindsOfNames: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ['bool', 'truth'],
  ...['int2', 'int4', 'int8'].map((name) => [name, 'integer'] as const),
  ...['numeric', 'float4', 'float8'].map((name) => [name, 'number'] as const),
  ...['date', 'timestamp', 'timestamptz'].map((name) => [name, 'time'] as const),
  ...['text', 'varchar'].map((name) => [name, 'text'] as const),
]);

type Columns = (name: ColumnName) => CatalogColumn | null;

function write(node: Node, columns: Columns): Written | null {
  if ('ColumnRef' in node) {
    const name = columnName(node.ColumnRef);
    const column = name === null || name.column === null ? null : columns(name);
    if (column === null) return null;
    return { pieces: [{ column: column.name }], kind: kindOf(column), filledIf: [column.name] };
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
    return { pieces, kind: 'truth', filledIf: allFilled(parts) };
  }
  if ('NullTest' in node) {
    const tested = node.NullTest.arg === undefined ? null : write(node.NullTest.arg, columns);
    // Of a row the test is another one.
    if (tested === null || tested.kind === 'other') return null;
    const word = node.NullTest.nulltesttype === 'IS_NULL' ? ' IS NULL)' : ' IS NOT NULL)';
    return { pieces: ['(', ...tested.pieces, word], kind: 'truth', filledIf: [] };
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

/** NULL is nothing to be grouped by, and what it is cast to is seldom known. */
function constant(value: Extract<Node, { A_Const: unknown }>['A_Const']): Written | null {
  const { sval, ival, fval, boolval } = value;
  const written = (sql: string, kind: Kind): Written => ({ pieces: [sql], kind, filledIf: [] });
  if (sval !== undefined) return written(quoteLiteral(sval.sval ?? ''), 'text');
  if (ival !== undefined) return written(String(ival.ival ?? 0), 'integer');
  if (fval !== undefined) return written(fval.fval ?? '0', 'number');
  if (boolval !== undefined) return written(boolval.boolval === true ? 'true' : 'false', 'truth');
  return null;
}

/** To a type of PostgreSQL's own. What is cast to text can be anything but a row, from text nothing can. */
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
  if ('A_Const' in arg) return { pieces, kind: kind ?? 'other', filledIf: [] };
  if (kind === undefined || (kind !== 'text' && !castable.has(inner.kind))) return null;
  if (kind === 'text' && inner.kind === 'other') return null;
  // In PostgreSQL 18 a json null becomes NULL.
  return { pieces, kind, filledIf: inner.kind === 'json' ? null : inner.filledIf };
}

const castable: ReadonlySet<Kind> = new Set<Kind>(['integer', 'number', 'time', 'truth']);

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
  readonly kind: Kind | 'first';
  /** Null although all arguments have values: of a moment that is infinite, where a pattern does not match. */
  readonly maybeNull?: true;
  /** Arguments, by place, that have to be constants: with these it fails for every row or for none. */
  readonly constants?: readonly number[];
  /** Never null, whatever is. */
  readonly neverNull?: true;
}

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
  ['regexp_replace', { kind: 'text', constants: [1, 2, 3] }],
  ['concat', { kind: 'text', neverNull: true }],
  ['concat_ws', { kind: 'text', constants: [0], neverNull: true }],
  ['to_char', { kind: 'text', constants: [1], maybeNull: true }],
  ...['length', 'char_length', 'character_length', 'octet_length'].map(
    (name) => [name, { kind: 'integer' }] as const,
  ),
  ['date_trunc', { kind: 'time', constants: [0, 2] }],
  ['timezone', { kind: 'time', constants: [0] }],
  ['date', { kind: 'time' }],
  ['date_part', { kind: 'number', constants: [0], maybeNull: true }],
  ['extract', { kind: 'number', constants: [0], maybeNull: true }],
  ...['floor', 'ceil', 'ceiling'].map((name) => [name, { kind: 'number' }] as const),
  ...['round', 'trunc'].map((name) => [name, { kind: 'number', constants: [1] }] as const),
  ['abs', { kind: 'first' }],
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
  if (!takesAll.has(name) && written.some(({ kind }) => kind === 'json' || kind === 'other')) {
    // Of the others, intervals and times of day are what these take; arrays and ranges have functions of the same names.
    if (known.constants?.[0] !== 0) return null;
    if (written.some(({ kind }, place) => kind === 'json' || (kind === 'other' && !isConstant(args[place]))))
      return null;
  }
  // date('yesterday') is a cast of text.
  if (name === 'date' && written[0]!.kind !== 'time') return null;
  const isPart = name === 'substring' && written[1]!.kind === 'integer';
  const mayBeNull = known.maybeNull === true && !isPart;
  return {
    pieces: [{ own: name }, '(', ...list(written, ', '), ')'],
    kind: known.kind === 'first' ? written[0]!.kind : known.kind,
    filledIf: known.neverNull === true ? [] : mayBeNull ? null : allFilled(written),
  };
}

/** A literal, with or without its type. Of numbers those that are not negative: SUBSTRING takes no other length. */
const isConstant = (node: Node | undefined): boolean =>
  node !== undefined &&
  ('A_Const' in node ||
    ('TypeCast' in node && node.TypeCast.arg !== undefined && 'A_Const' in node.TypeCast.arg));

const comparisons: ReadonlySet<string> = new Set(['=', '<>', '<', '>', '<=', '>=']);
/** LIKE and regular expressions, as the server writes them. */
const patterns: ReadonlySet<string> = new Set(['~~', '!~~', '~~*', '!~~*', '~', '!~', '~*', '!~*']);
const numeric: ReadonlySet<Kind> = new Set<Kind>(['integer', 'number']);

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
  };
}

function resultOf(
  operator: string,
  left: Kind,
  right: Kind,
  operand: Node,
): { readonly kind: Kind; readonly maybeNull: boolean } | null {
  const filled = (kind: Kind) => ({ kind, maybeNull: false });
  if (comparisons.has(operator)) return left === right || areNumbers(left, right) ? filled('truth') : null;
  if (patterns.has(operator))
    return left === 'text' && right === 'text' && isConstant(operand) ? filled('truth') : null;
  if (operator === '||') return left === 'text' && right === 'text' ? filled('text') : null;
  // What is not there is null.
  if (left === 'json' && (operator === '->' || operator === '->>'))
    return { kind: operator === '->' ? 'json' : 'text', maybeNull: true };
  if (!areNumbers(left, right)) return null;
  const kind = left === 'integer' && right === 'integer' ? 'integer' : 'number';
  if (['+', '-', '*'].includes(operator)) return filled(kind);
  const divides = ['/', '%'].includes(operator) && isConstant(operand) && !isZero(operand);
  return divides ? filled(kind) : null;
}

const areNumbers = (left: Kind, right: Kind): boolean => numeric.has(left) && numeric.has(right);

function isZero(node: Node): boolean {
  const value = 'TypeCast' in node ? node.TypeCast.arg : node;
  if (value === undefined || !('A_Const' in value)) return true;
  const { ival, fval, sval } = value.A_Const;
  return Number(ival === undefined ? (fval?.fval ?? sval?.sval ?? 0) : (ival.ival ?? 0)) === 0;
}

function firstFilled(word: string, args: readonly Node[] = [], columns: Columns): Written | null {
  const parts = all(args, columns);
  if (parts === null || parts.length === 0) return null;
  const kind = sameKind(parts);
  if (kind === null) return null;
  // Any of them will do; the last one is what there is when all else fails, by habit.
  const known = parts.flatMap(({ filledIf }) => (filledIf === null ? [] : [filledIf]));
  const filledIf = known.find(({ length }) => length === 0) ?? known.at(-1) ?? null;
  return { pieces: [word, '(', ...list(parts, ', '), ')'], kind, filledIf };
}

function sameKind(parts: readonly Written[]): Kind | null {
  const kinds = new Set(parts.map(({ kind }) => kind));
  if (kinds.size === 1) return [...kinds][0]!;
  return [...kinds].every((kind) => numeric.has(kind)) ? 'number' : null;
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
  if (subject !== null && whens.some(({ test }) => sameKind([subject, test]) === null)) return null;
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
