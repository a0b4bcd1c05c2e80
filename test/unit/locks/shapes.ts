/** The situations the locks are for, each as small as it can be: every order of their steps can be tried. */
import { fill, type Scenario } from './scenario.ts';
import { defineView, NULL, type Occurrence, type Row, type Schema, TARGET_WIDTH } from './schema.ts';
import type { Program, Statement } from './transaction.ts';

type Draft = Omit<Occurrence, 'index' | 'depth'>;

const plain = {
  parent: null,
  key: 0,
  near: [],
  far: [],
  direction: 'up',
  join: 'outer',
  filtered: false,
} as const;

const root = (table: number, key = 0): Draft => ({ ...plain, table, key, join: 'inner' });
/** A row whose `far` refers to the parent's `near`. */
const up = (parent: number, table: number, far = 1, near = 0): Draft => ({
  ...plain,
  table,
  parent,
  near: [near],
  far: [far],
});
/** What the parent's `near` refers to. */
const down = (parent: number, table: number, near = 1, far = 0): Draft => ({
  ...up(parent, table, far, near),
  direction: 'down',
});
const filtered = (draft: Draft): Draft => ({ ...draft, filtered: true });

/** Columns of every table: an id and three links. */
const WIDTH = 4;

const row = (...columns: readonly number[]): Row => ({
  columns: [...columns, ...Array.from({ length: WIDTH - columns.length }, () => NULL)],
  value: 'old',
  shown: true,
});
const hidden = (...columns: readonly number[]): Row => ({ ...row(...columns), shown: false });

const at = (id: number) => ({ column: 0, equals: id });
const insert = (table: number, ...columns: readonly number[]): Statement => ({
  kind: 'insert',
  table,
  row: { ...row(...columns), value: 'new' },
});
const remove = (table: number, id: number): Statement => ({ kind: 'delete', table, where: at(id) });
const rename = (table: number, id: number): Statement => ({
  kind: 'value',
  table,
  where: at(id),
  value: 'renamed',
});
const link = (table: number, id: number, column: number, to: number): Statement => ({
  kind: 'link',
  table,
  where: at(id),
  column,
  to,
});
const toggle = (table: number, id: number): Statement => ({ kind: 'filter', table, where: at(id) });

const transaction = (...statements: readonly Statement[]): Program => ({
  isolation: 'read committed',
  statements,
  end: 'commit',
});
const fixed = (...statements: readonly Statement[]): Program => ({
  ...transaction(...statements),
  isolation: 'repeatable read',
});

function shape(
  drafts: readonly (readonly Draft[])[],
  rows: readonly (readonly Row[])[],
  ...programs: readonly Program[]
): Scenario {
  const sources = rows.length;
  const definitions = drafts.map((view, index) => {
    const occurrences: Occurrence[] = [];
    for (const draft of view) {
      const depth = draft.parent === null ? 0 : occurrences[draft.parent]!.depth + 1;
      occurrences.push({ ...draft, index: occurrences.length, depth });
    }
    return defineView(index, sources + index, occurrences);
  });
  const schema: Schema = {
    widths: [...rows.map(() => WIDTH), ...definitions.map(() => TARGET_WIDTH)],
    sources,
    foreignKeys: [],
    definitions,
  };
  const byId = rows.map((table) => {
    const placed: (Row | undefined)[] = [];
    for (const each of table) placed[each.columns[0]!] = each;
    return placed;
  });
  return { schema, state: fill(schema, byId), programs };
}

const PARENT_CHILD = [[root(0), up(0, 1)]];
const LOOKUP = [[root(0), down(0, 1)]];
const CHAIN = [[root(0), up(0, 1), up(1, 2)]];

/** At READ COMMITTED. */
export const SHAPES: Readonly<Record<string, Scenario>> = {
  'a new referring row, a rename of the row it refers to': shape(
    LOOKUP,
    [[], [row(5)]],
    transaction(insert(0, 1, 5)),
    transaction(rename(1, 5)),
  ),
  'a row re-pointed, a change of its new target': shape(
    LOOKUP,
    [[row(1, 4)], [row(4), row(5)]],
    transaction(link(0, 1, 1, 5)),
    transaction(rename(1, 5)),
  ),
  'a row re-pointed, a change of its old target': shape(
    LOOKUP,
    [[row(1, 4)], [row(4), row(5)]],
    transaction(link(0, 1, 1, 5)),
    transaction(rename(1, 4)),
  ),
  'a lookup given a new value, a new row that refers to it': shape(
    [[root(0), down(0, 1, 1, 1)]],
    [[row(1, 2)], [row(1, 2)]],
    transaction(link(1, 1, 1, 3)),
    transaction(insert(0, 2, 3)),
  ),
  'the same through two hops: a row of the middle inserted, the far lookup renamed': shape(
    [[root(0), up(0, 1), down(1, 2, 2)]],
    [[row(1)], [], [row(5)]],
    transaction(insert(1, 1, 1, 5)),
    transaction(rename(2, 5)),
  ),
  'a middle row moved, a leaf inserted under it': shape(
    CHAIN,
    [[row(1), row(2)], [row(1, 1)], []],
    transaction(link(1, 1, 1, 2)),
    transaction(insert(2, 1, 1)),
  ),
  'a middle row moved, the lookup of a row under it renamed': shape(
    [[root(0), up(0, 1), up(1, 2), down(2, 3, 2)]],
    [[row(1), row(2)], [row(1, 1)], [row(1, 1, 5)], [row(5)]],
    transaction(link(1, 1, 1, 2)),
    transaction(rename(3, 5)),
  ),
  'a row inserted under one that is not linked, which is linked': shape(
    CHAIN,
    [[row(1)], [row(1, NULL)], []],
    transaction(insert(2, 1, 1)),
    transaction(link(1, 1, 1, 1)),
  ),
  'a row inserted under one that is not there, which is inserted': shape(
    CHAIN,
    [[row(1)], [], []],
    transaction(insert(2, 1, 1)),
    transaction(insert(1, 1, 1)),
  ),
  'a child inserted, its parent deleted': shape(
    CHAIN,
    [[row(1)], [row(1, 1)], [row(1, 1)]],
    transaction(insert(2, 2, 1)),
    transaction(remove(1, 1)),
  ),
  'a row under a hidden one changed, which is shown': shape(
    [[root(0), filtered(up(0, 1)), up(1, 2)]],
    [[row(1)], [hidden(1, 1)], [row(1, 1)]],
    transaction(rename(2, 1)),
    transaction(toggle(1, 1)),
  ),
  'two first children of one parent': shape(
    PARENT_CHILD,
    [[row(1)], []],
    transaction(insert(1, 1, 1)),
    transaction(insert(1, 2, 1)),
  ),
  'two first rows of a group': shape(
    [[root(0, 1)]],
    [[]],
    transaction(insert(0, 1, 1)),
    transaction(insert(0, 2, 1)),
  ),
  'a row moved to another group, a child inserted under it': shape(
    [[root(0, 1), up(0, 1)]],
    [[row(1, 1)], []],
    transaction(link(0, 1, 1, 2)),
    transaction(insert(1, 1, 1)),
  ),
  'a parent given a new value, a child that already refers to it': shape(
    [[root(0), up(0, 1, 1, 1)]],
    [[row(1, 1)], [row(1, 1)]],
    transaction(link(0, 1, 1, 2)),
    transaction(insert(1, 2, 2)),
  ),
  'both images moved in one transaction': shape(
    CHAIN,
    [[row(1), row(2)], [row(1, 1), row(2, 2)], [row(1, 1)]],
    transaction(link(2, 1, 1, 2), link(1, 1, 1, 2)),
    transaction(link(1, 2, 1, 1)),
  ),
  'a table met twice: a row re-parented, another put under it': shape(
    [[root(0), up(0, 0), up(1, 0)]],
    [[row(1), row(2), row(3)]],
    transaction(link(0, 2, 1, 1)),
    transaction(link(0, 3, 1, 2)),
  ),
  'three: a lookup re-keyed, a new row between, a new row above that': shape(
    [[root(0), up(0, 0, 2, 1), up(1, 1, 1, 3), down(2, 2, 2, 1)]],
    [[row(1, 3, 3, 3)], [], [row(3, 3)]],
    transaction(insert(1, 4, 3, 3)),
    transaction(link(2, 3, 1, 1)),
    transaction(insert(0, 4, 3, 2, 1)),
  ),
  'a tview over a tview: its source renamed, a new row that refers to it': shape(
    [[root(0)], [root(1), down(0, 2, 1)]],
    [[row(1)], []],
    transaction(rename(0, 1)),
    transaction(insert(1, 1, 1)),
  ),
};

/** One transaction sees the database as it was at its first statement; what it missed is repaired after its COMMIT. */
export const FIXED_SNAPSHOT_SHAPES: Readonly<Record<string, Scenario>> = {
  'a new referring row, a rename of the row it refers to': shape(
    LOOKUP,
    [[], [row(5)]],
    fixed(insert(0, 1, 5)),
    fixed(rename(1, 5)),
  ),
  // Neither state of key 1 that A knows differs, so A writes nothing that B could run into.
  'a parent re-pointed away while nothing refers to it, a row linked to it': shape(
    [[root(0), up(0, 1, 1, 1)]],
    [[row(1, 2)], [row(2, NULL)]],
    transaction(link(0, 1, 1, NULL)),
    fixed(link(1, 2, 1, 2)),
  ),
  // The first tview is right after B's COMMIT: its repair writes nothing, and so passes nothing on.
  'a tview over a tview: a row of each inserted': shape(
    [[root(0)], [root(1), down(0, 2, 1)]],
    [[], []],
    transaction(insert(1, 1, 1)),
    fixed(insert(0, 1)),
  ),
};
