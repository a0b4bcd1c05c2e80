/** Schemas filled with rows, and transactions to run on them. */
import type { Random } from '../../kit/random.ts';
import { makeSchema, NULL, pathTables, type Row, type Schema, type Shape } from './schema.ts';
import type { Program, Statement, Where } from './transaction.ts';
import { addAllKeys, contentOf, type State } from './view.ts';

type Rows = readonly (readonly (Row | undefined)[])[];

export interface Scenario {
  readonly schema: Schema;
  readonly state: State;
  readonly programs: readonly Program[];
}

export interface Options extends Shape {
  readonly transactions: readonly [fewest: number, most: number];
  readonly mostStatements: number;
  /** How likely a transaction flushes in its middle, is REPEATABLE READ, ends with ROLLBACK; how likely one truncates. */
  readonly flushes: number;
  readonly repeatableRead: number;
  readonly rollbacks: number;
  readonly truncates: number;
}

export const USUAL: Options = {
  views: 1,
  mostOccurrences: 6,
  deepest: 4,
  transactions: [2, 3],
  mostStatements: 3,
  flushes: 0,
  repeatableRead: 0,
  rollbacks: 0.05,
  truncates: 0,
};

/** What the searches make up. */
export const PROFILES = {
  usual: USUAL,
  'three transactions': { ...USUAL, transactions: [3, 3], mostStatements: 2 },
  'flushes in the middle': { ...USUAL, flushes: 0.7 },
  truncate: { ...USUAL, truncates: 0.15 },
  'fixed snapshots': { ...USUAL, mostStatements: 2, repeatableRead: 0.6 },
  'fixed snapshots, flushes in the middle': {
    ...USUAL,
    mostStatements: 2,
    repeatableRead: 0.6,
    flushes: 0.5,
  },
  'a tview over a tview': { ...USUAL, views: 2, mostOccurrences: 4, mostStatements: 2 },
  'a tview over a tview, fixed snapshots': {
    ...USUAL,
    views: 2,
    mostOccurrences: 4,
    mostStatements: 2,
    repeatableRead: 0.6,
  },
} as const satisfies Record<string, Options>;

/** A state in which every tview is exact. */
export function fill(schema: Schema, rows: Rows): State {
  const state: (Row | undefined)[][] = schema.widths.map((_, table) => [...(rows[table] ?? [])]);
  for (const view of schema.definitions) {
    const keys = new Set<number>();
    addAllKeys(view, state, keys);
    for (const key of keys) state[view.target]![key] = contentOf(view, state, key);
  }
  return state;
}

export function makeScenario(random: Random, options: Options): Scenario {
  const schema = makeSchema(random, options);
  // The fewer values there are, the more rows and transactions meet.
  const values = random.pick([1, 2, 2, 3]);
  const rows: (Row | undefined)[][] = Array.from({ length: schema.sources }, () => []);
  for (let table = 0; table < schema.sources; table += 1)
    for (let id = 1; id <= values; id += 1)
      if (random.chance(0.85)) rows[table]![id] = makeRow(random, schema, rows, values, table, id, `${id}`);
  // A foreign key's rows refer to what is there.
  for (const key of schema.foreignKeys)
    rows[key.table] = rows[key.table]!.map(
      (row) =>
        row &&
        (rows[key.target]![row.columns[key.column]!] === undefined
          ? { ...row, columns: row.columns.with(key.column, NULL) }
          : row),
    );
  // Transactions that touch one path meet; those that touch anything seldom do.
  const paths = schema.definitions.map((view) => pathTables(view, random.pick(view.occurrences)));
  const tables = paths.flat().filter((table) => table < schema.sources);
  const programs = Array.from({ length: random.int(...options.transactions) }, (_, place) =>
    makeProgram(random, schema, rows, values, tables, options, 'ABC'[place]!),
  );
  return { schema, state: fill(schema, rows), programs };
}

const present = (rows: readonly (Row | undefined)[]): number[] =>
  rows.flatMap((row) => (row === undefined ? [] : [row.columns[0]!]));

/** A link's value; of a foreign key mostly one that is there, since a transaction that fails shows nothing. */
function makeLink(
  random: Random,
  schema: Schema,
  rows: Rows,
  values: number,
  table: number,
  column: number,
): number {
  if (random.chance(0.08)) return NULL;
  const key = schema.foreignKeys.find((each) => each.table === table && each.column === column);
  const targets = key === undefined ? [] : present(rows[key.target]!);
  return targets.length > 0 && random.chance(0.95) ? random.pick(targets) : random.int(1, values);
}

function makeRow(
  random: Random,
  schema: Schema,
  rows: Rows,
  values: number,
  table: number,
  id: number,
  value: string,
): Row {
  const columns = [id];
  while (columns.length < schema.widths[table]!)
    columns.push(makeLink(random, schema, rows, values, table, columns.length));
  return { columns, value, shown: random.chance(0.8) };
}

function makeProgram(
  random: Random,
  schema: Schema,
  rows: Rows,
  values: number,
  tables: readonly number[],
  options: Options,
  name: string,
): Program {
  const statements: Statement[] = [];
  const count = random.int(1, options.mostStatements);
  const isFlushing = random.chance(options.flushes);
  for (let place = 0; place < count; place += 1) {
    if (isFlushing && place > 0 && random.chance(0.6)) statements.push({ kind: 'flush' });
    statements.push(makeStatement(random, schema, rows, values, tables, options, `${name}${place}`));
  }
  // A flush is followed by more, or by what somebody does before COMMIT.
  if (isFlushing && random.chance(0.3)) statements.push({ kind: 'flush' });
  return {
    isolation: random.chance(options.repeatableRead) ? 'repeatable read' : 'read committed',
    statements,
    end: random.chance(options.rollbacks) ? 'rollback' : 'commit',
  };
}

function makeStatement(
  random: Random,
  schema: Schema,
  rows: Rows,
  values: number,
  tables: readonly number[],
  options: Options,
  value: string,
): Statement {
  const table =
    tables.length > 0 && random.chance(0.85) ? random.pick(tables) : random.int(0, schema.sources - 1);
  if (random.chance(options.truncates) && !schema.foreignKeys.some((key) => key.target === table))
    return { kind: 'truncate', table };
  const width = schema.widths[table]!;
  const ids = present(rows[table]!);
  const absent = Array.from({ length: values + 1 }, (_, place) => place + 1).filter(
    (id) => !ids.includes(id),
  );
  // Now and then a row that is not there, or is there already: it may be another transaction's.
  const anyId = (from: readonly number[]): number =>
    from.length > 0 && random.chance(0.9) ? random.pick(from) : random.int(1, values + 1);
  const where: Where =
    width > 1 && random.chance(0.15)
      ? { column: random.int(1, width - 1), equals: random.int(1, values) }
      : { column: 0, equals: anyId(ids) };
  const kind = random.next();
  if (kind < 0.28 || ids.length === 0)
    return { kind: 'insert', table, row: makeRow(random, schema, rows, values, table, anyId(absent), value) };
  if (kind < 0.42) return { kind: 'delete', table, where };
  if (kind < 0.5) return { kind: 'filter', table, where };
  if (kind < 0.62 || width === 1) return { kind: 'value', table, where, value };
  const column = random.int(1, width - 1);
  return { kind: 'link', table, where, column, to: makeLink(random, schema, rows, values, table, column) };
}
