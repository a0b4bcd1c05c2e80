/** What an expression of a definition is, seen from outside: a column of an occurrence, computed from one, an element of one, a constant. */
import { computed } from './columns.ts';
import { expressionOf } from './expression.ts';
import type { Findings } from './findings.ts';
import { columnName, type Node, strings } from './grammar.ts';
import { isExact } from './kinds.ts';
import { constantOf } from './operand.ts';
import type { Origin } from './resolved.ts';
import { lookUp, type Scope } from './scope.ts';

export class Origins {
  readonly #findings: Findings;
  readonly #absent: ReadonlySet<number>;

  /** @param absent occurrences of the side of a FULL JOIN that is not there in the rows this reading is about */
  constructor(findings: Findings, absent: ReadonlySet<number>) {
    this.#findings = findings;
    this.#absent = absent;
  }

  of(value: Node | undefined, scope: Scope): Origin {
    if (value === undefined) return computed('nothing');
    const constant = constantOf(value);
    if (constant !== null) return { kind: 'constant', sql: constant, how: 'a constant' };
    if ('ColumnRef' in value) {
      const name = columnName(value.ColumnRef);
      const found = name === null || name.column === null ? null : lookUp(scope, name);
      return found?.length === 1 ? found[0]! : computed('a whole row');
    }
    return this.#firstFilled(value, scope) ?? this.elementOf(value, scope) ?? this.#expression(value, scope);
  }

  /** `unnest(column)`: whatever it is equal to is in the array. */
  elementOf(value: Node, scope: Scope): Origin | null {
    // In FROM a function stands in a list, with its column definitions.
    const call = 'List' in value ? value.List.items?.[0] : value;
    if (call === undefined || !('FuncCall' in call)) return null;
    const { funcname, args = [] } = call.FuncCall;
    if (strings(funcname).join('.') !== 'unnest' || args.length !== 1) return null;
    const array = this.of(args[0], scope);
    if (array.kind !== 'column' || array.isConverted === 'inexactly') return null;
    const { occurrence, column } = array;
    return { kind: 'element', occurrence, column, how: 'an element of an array' };
  }

  /** COALESCE of the two sides of a FULL JOIN: the column of the side that is there. */
  #firstFilled(value: Node, scope: Scope): Origin | null {
    if (!('CoalesceExpr' in value)) return null;
    for (const one of value.CoalesceExpr.args ?? []) {
      const origin = this.of(one, scope);
      if (origin.kind === 'column' && this.#absent.has(origin.occurrence)) continue;
      return origin.kind === 'column' && this.#findings.isFilled(origin, scope.always) ? origin : null;
    }
    return null;
  }

  #expression(value: Node, scope: Scope): Origin {
    const how = 'an expression';
    const found = expressionOf(value, (name) => {
      const [origin, ...more] = lookUp(scope, name) ?? [];
      if (origin?.kind !== 'column' || more.length > 0 || origin.isConverted) return null;
      const { occurrence } = origin;
      const column = this.#findings.columnOf(origin);
      const isStored = this.#findings.occurrences[occurrence]!.home === scope;
      // Where equal ones are taken together on the way, the one that is left may look otherwise than that of the row.
      return isStored || isExact(column) ? { occurrence, column } : null;
    });
    return found === null ? computed(how) : { kind: 'expression', how, ...found };
  }
}
