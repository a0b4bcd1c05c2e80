/** Reads one side of an equality: a plain column under casts, or something computed. */

import { quoteIdentifier, quoteLiteral } from '../database/identifier.ts';
import { type ColumnName, columnName, isEquality, type Node, strings, type TypeName } from './grammar.ts';
import type { Operand, Origin } from './resolved.ts';

export type Side =
  | ({ readonly kind: 'column' } & Operand)
  | { readonly kind: 'computed'; readonly how: string };

export function operandOf(
  node: Node | undefined,
  lookUp: (name: ColumnName) => readonly Origin[] | null,
): Side {
  if (node === undefined) return { kind: 'computed', how: 'nothing' };
  if ('A_Const' in node) return { kind: 'computed', how: 'a constant' };
  if ('TypeCast' in node) {
    const inner = operandOf(node.TypeCast.arg, lookUp);
    const type = node.TypeCast.typeName === undefined ? null : typeSql(node.TypeCast.typeName);
    if (inner.kind === 'computed') return inner;
    if (inner.isElement) return { kind: 'computed', how: 'a cast of an element of an array' };
    return type === null
      ? { kind: 'computed', how: 'a cast to a type with modifiers' }
      : { ...inner, casts: [...inner.casts, type] };
  }
  if (!('ColumnRef' in node)) {
    return { kind: 'computed', how: 'FuncCall' in node ? 'the result of a function' : 'an expression' };
  }
  const name = columnName(node.ColumnRef);
  if (name === null || name.column === null) return { kind: 'computed', how: 'a whole row' };
  const [origin, ...more] = lookUp(name) ?? [];
  if (origin === undefined || more.length > 0) return { kind: 'computed', how: 'a whole row' };
  const operand = operandFrom(origin);
  if (operand === null) {
    const text = name.relation === null ? name.column : `${name.relation}.${name.column}`;
    return {
      kind: 'computed',
      how: `${text}, which is ${'how' in origin ? origin.how : 'a number that has become a float'}`,
    };
  }
  return { kind: 'column', ...operand };
}

/** Null for what can be no side of a link. */
export function operandFrom(origin: Origin): Operand | null {
  if (origin.kind !== 'column' && origin.kind !== 'element') return null;
  if (origin.kind === 'column' && origin.isConverted === 'inexactly') return null;
  const { kind, occurrence, column } = origin;
  return { occurrence, column, casts: [], ...(kind === 'element' && { isElement: true }) };
}

/** One side of an equality, as it stands in a condition. */
export interface EqualSide {
  readonly node: Node | undefined;
  /** An array, of which an element is equal. */
  readonly isElement?: true;
}

/** What has to be equal for a condition to hold: `a = b`, `a = ANY (array)`, `array @> ARRAY[a, b]`. */
export function equalities(condition: Node): readonly (readonly [EqualSide, EqualSide])[] {
  if (!('A_Expr' in condition)) return [];
  const { kind, name, lexpr, rexpr } = condition.A_Expr;
  if (kind === 'AEXPR_OP_ANY') {
    return isEquality(name) ? [[{ node: lexpr }, { node: rexpr, isElement: true }]] : [];
  }
  if (kind !== 'AEXPR_OP') return [];
  if (isEquality(name)) return [[{ node: lexpr }, { node: rexpr }]];
  const operator = strings(name).join('.');
  const [whole, part] = operator === '@>' ? [lexpr, rexpr] : operator === '<@' ? [rexpr, lexpr] : [];
  if (part === undefined || !('A_ArrayExpr' in part)) return [];
  return (part.A_ArrayExpr.elements ?? []).map((node) => [{ node }, { node: whole, isElement: true }]);
}

/** A constant as SQL, to be cast to the type of the column that shows it; null for NULL, and for what is none. */
export function constantOf(node: Node): string | null {
  if ('TypeCast' in node) {
    const { arg, typeName } = node.TypeCast;
    const isPlain = typeName !== undefined && typeSql(typeName) !== null;
    // One cast: a second one could have lost something of the value.
    return isPlain && arg !== undefined && 'A_Const' in arg ? constantOf(arg) : null;
  }
  if (!('A_Const' in node)) return null;
  const { sval, ival, boolval, isnull } = node.A_Const;
  if (isnull === true) return null;
  if (sval !== undefined) return quoteLiteral(sval.sval ?? '');
  if (ival !== undefined) return String(ival.ival ?? 0);
  return boolval === undefined ? null : String(boolval.boolval ?? false);
}

/** Types a deparsed cast names without their schema; all others come qualified. */
function typeSql(type: TypeName): string | null {
  const names = strings(type.names);
  if (names.length === 0 || type.setof === true || type.pct_type === true) return null;
  if ((type.typmods ?? []).length > 0) return null;
  const qualified = names.length === 1 ? ['pg_catalog', ...names] : names;
  return (
    qualified.map((name) => quoteIdentifier(name)).join('.') + '[]'.repeat(type.arrayBounds?.length ?? 0)
  );
}
