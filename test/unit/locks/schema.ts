/**
 * Tables, definitions as trees of occurrences, and how they are made up. Column 0 of every table is its id, which never
 * changes; the others are link columns of small numbers, 0 standing for NULL. Few values, so that rows meet.
 */
import type { Random } from '../../kit/random.ts';

export interface Row {
  readonly columns: readonly number[];
  /** What a definition shows of the row. */
  readonly value: string;
  /** What a filter asks for. */
  readonly shown: boolean;
}

export const NULL = 0;
/** Links are numbers below this, which folds those of several columns into one. */
const RADIX = 8;

/** How a row depends on what is joined to it: kept without, dropped without, dropped with (NOT EXISTS). */
export type Join = 'outer' | 'inner' | 'anti';

export interface Occurrence {
  readonly index: number;
  readonly table: number;
  /** The occurrence it is joined to, nearer to the key; null for a root, which has the key in its own row. */
  readonly parent: number | null;
  /** The key's column, of a root. */
  readonly key: number;
  /** The columns of the edge to the parent, in the parent's row and in the own row. */
  readonly near: readonly number[];
  readonly far: readonly number[];
  /** `up`: the far row refers to the near one, whose value is unique; `down`: the near row refers to a lookup. */
  readonly direction: 'up' | 'down';
  readonly join: Join;
  /** Whether only rows that are `shown` count. */
  readonly filtered: boolean;
  readonly depth: number;
}

export interface Definition {
  /** In the order of dependencies, which is the order in which locks are taken. */
  readonly index: number;
  /** The table that keeps its rows. */
  readonly target: number;
  readonly occurrences: readonly Occurrence[];
  readonly roots: readonly Occurrence[];
  readonly children: readonly (readonly Occurrence[])[];
  /** The edges, each named by its far occurrence, the deepest first and each depth together. */
  readonly levels: readonly (readonly Occurrence[])[];
  readonly sources: ReadonlySet<number>;
}

/** `column` of `table` refers to the id of `target`. */
export interface ForeignKey {
  readonly table: number;
  readonly column: number;
  readonly target: number;
  readonly onDelete: 'restrict' | 'cascade' | 'set null';
}

export interface Schema {
  /** The number of columns of each table, those of the tviews among them. */
  readonly widths: readonly number[];
  /** Tables that are written by statements: these come first. */
  readonly sources: number;
  readonly foreignKeys: readonly ForeignKey[];
  readonly definitions: readonly Definition[];
}

/** The value of a link, NULL where any of its columns is. */
export function linkValue(row: Row, columns: readonly number[]): number {
  let value = 0;
  for (const column of columns) {
    const part = row.columns[column]!;
    if (part === NULL) return NULL;
    value = value * RADIX + part;
  }
  return value;
}

export function defineView(index: number, target: number, occurrences: readonly Occurrence[]): Definition {
  const depths = [...new Set(occurrences.filter((each) => each.parent !== null).map((each) => each.depth))];
  return {
    index,
    target,
    occurrences,
    roots: occurrences.filter((each) => each.parent === null),
    children: occurrences.map((parent) => occurrences.filter((each) => each.parent === parent.index)),
    levels: depths.sort((a, b) => b - a).map((depth) => occurrences.filter((each) => each.depth === depth)),
    sources: new Set(occurrences.map((each) => each.table)),
  };
}

export interface Shape {
  readonly views: number;
  readonly mostOccurrences: number;
  readonly deepest: number;
}

/** The tables of an occurrence and of what stands between it and the key. */
export function pathTables(view: Definition, occurrence: Occurrence): number[] {
  const tables = [occurrence.table];
  for (let at = occurrence; at.parent !== null; ) {
    at = view.occurrences[at.parent]!;
    tables.push(at.table);
  }
  return tables;
}

/** The link columns of a tview's own table: ids, and two that are worked out from its content. */
export const TARGET_WIDTH = 3;

/** A schema with definitions over it: the second reads the first's table somewhere in its tree. */
export function makeSchema(random: Random, shape: Shape): Schema {
  const tables: number[] = [];
  const foreignKeys: ForeignKey[] = [];
  const newTable = (): number => tables.push(1) - 1;
  const drafts: Occurrence[][] = [];
  /** Stands for the first tview's table until all sources are counted. */
  const FIRST_TARGET = -1;

  for (let view = 0; view < shape.views; view += 1) {
    const occurrences: Occurrence[] = [];
    drafts.push(occurrences);
    const wanted = random.int(2, shape.mostOccurrences);
    const readsFirst = view === 0 ? -1 : random.int(0, wanted - 1);
    const chooseTable = (place: number): number => {
      if (place === readsFirst) return FIRST_TARGET;
      return tables.length > 0 && random.chance(view === 0 ? 0.2 : 0.4)
        ? random.int(0, tables.length - 1)
        : newTable();
    };
    /** A link column, shared with another link now and then: a row is then re-pointed and referred to by one value. */
    const linkColumn = (table: number): number => {
      if (table === FIRST_TARGET) return random.int(1, TARGET_WIDTH - 1);
      const width = tables[table]!;
      if (width > 1 && (width > 4 || random.chance(0.25))) return random.int(1, width - 1);
      tables[table] = width + 1;
      return width;
    };
    for (let index = 0; index < wanted; index += 1) {
      const table = chooseTable(index);
      const common = {
        index,
        table,
        join: random.chance(0.8) ? 'outer' : random.chance(0.65) ? 'inner' : 'anti',
        filtered: random.chance(0.3),
      } as const;
      if (index === 0 || random.chance(0.12)) {
        const key = index === 0 && random.chance(0.7) ? 0 : linkColumn(table);
        occurrences.push({
          ...common,
          join: index === 0 ? 'inner' : common.join,
          parent: null,
          key,
          near: [],
          far: [],
          direction: 'up',
          depth: 0,
        });
        continue;
      }
      const parents = occurrences.filter((each) => each.depth < shape.deepest);
      // Chains are what the rule is about: the newest one is the parent more often than not.
      const parent = random.chance(0.7) ? parents.at(-1)! : random.pick(parents);
      const direction = random.chance(0.5) ? 'up' : 'down';
      const refersToId = random.chance(direction === 'up' ? 0.65 : 0.55);
      const near = direction === 'up' && refersToId ? [0] : [linkColumn(parent.table)];
      const far = direction === 'down' && refersToId ? [0] : [linkColumn(table)];
      if (random.chance(0.1)) {
        near.push(linkColumn(parent.table));
        far.push(linkColumn(table));
      }
      const [from, to, column] =
        direction === 'up' ? [table, parent.table, far[0]!] : [parent.table, table, near[0]!];
      if (
        refersToId &&
        from !== FIRST_TARGET &&
        to !== FIRST_TARGET &&
        random.chance(0.25) &&
        !foreignKeys.some((each) => each.table === from && each.column === column)
      )
        foreignKeys.push({
          table: from,
          column,
          target: to,
          onDelete: random.pick(['restrict', 'cascade', 'set null'] as const),
        });
      occurrences.push({
        ...common,
        parent: parent.index,
        key: 0,
        near,
        far,
        direction,
        depth: parent.depth + 1,
      });
    }
  }

  const sources = tables.length;
  const definitions = drafts.map((occurrences, view) =>
    defineView(
      view,
      sources + view,
      occurrences.map((each) => (each.table === FIRST_TARGET ? { ...each, table: sources } : each)),
    ),
  );
  return {
    widths: [...tables, ...drafts.map(() => TARGET_WIDTH)],
    sources,
    foreignKeys,
    definitions,
  };
}
