/**
 * The lock rule, and what is changed of it to see whether the model notices.
 *
 * An edge joins a far row (the child in the tree, farther from the key) to a near one by a value. Before it derives keys, a
 * flush locks, on every edge, the far values of the rows it changed and of the rows on their path to the key, and the near
 * values of the rows whose attachment it changed. Far and near locks of one value exclude each other: who changes something
 * below a link and who changes the link never pass each other unseen.
 */
import { advisoryLock, type Mode, type Request } from './database.ts';
import { type Definition, linkValue, NULL, type Occurrence } from './schema.ts';
import type { Change, State } from './view.ts';

/** Which snapshot a statement's values come from: its own, taken after the locks before it, or an earlier one. */
export type Snapshot = 'own' | 'of the locks before' | 'of the start';

export interface Rule {
  readonly name: string;
  readonly gate: 'shared' | 'exclusive' | 'none';
  readonly far: boolean;
  /** Far locks not only of changed rows but of the rows on their path. */
  readonly hops: boolean;
  /** Whether a change of a near row on this edge takes near locks. */
  readonly attached: (change: Change, occurrence: Occurrence, edge: Occurrence, view: Definition) => boolean;
  /** Which of a changed row's images near locks are taken for. */
  readonly nearImages: 'both' | 'new';
  readonly modes: (edge: Occurrence) => { readonly far: Mode; readonly near: Mode };
  /** Edges locked by one statement: each alone, all of a depth, or all of the tree. */
  readonly statements: 'edge' | 'depth' | 'tree';
  readonly values: Snapshot;
  readonly keys: Snapshot;
  readonly keyLocks: boolean;
  /** Whether rows are recomputed in the snapshot the key locks were taken in. */
  readonly recomputeAtOnce: boolean;
  readonly keyFilters: boolean;
  /** What a REPEATABLE READ transaction leaves to be flushed again after its COMMIT. */
  readonly repair: 'nothing' | 'statements' | 'changes' | 'changes and written keys' | 'instead of the flush';
  /** Whether a flush in a fixed snapshot takes edge locks. */
  readonly fixedSnapshotLocks: boolean;
  readonly stripes: number;
}

const changed = (change: Change, columns: readonly number[]): boolean => {
  const { old, now } = change;
  return (
    old === undefined ||
    now === undefined ||
    columns.some((column) => old.columns[column] !== now.columns[column])
  );
};

/** The columns that attach a row towards the key. */
const towardsKey = (occurrence: Occurrence): readonly number[] =>
  occurrence.parent === null ? [occurrence.key] : occurrence.far;

const anyLink = (change: Change, occurrence: Occurrence, view: Definition): boolean =>
  changed(change, towardsKey(occurrence)) ||
  view.children[occurrence.index]!.some((child) => changed(change, child.near));

/**
 * The rule. A root's key counts among its link columns: it attaches the row to its key. The record of a REPEATABLE READ
 * transaction carries the keys it has written beside its changes: by the changes alone they are not always found again.
 */
export const RULE: Rule = {
  name: 'the rule',
  gate: 'shared',
  far: true,
  hops: true,
  attached: (change, occurrence, _edge, view) => anyLink(change, occurrence, view),
  nearImages: 'both',
  modes: ({ direction }) =>
    direction === 'up' ? { far: 'shared', near: 'exclusive' } : { far: 'exclusive', near: 'shared' },
  statements: 'edge',
  values: 'own',
  keys: 'own',
  keyLocks: true,
  recomputeAtOnce: false,
  keyFilters: false,
  repair: 'changes and written keys',
  fixedSnapshotLocks: true,
  stripes: 64,
};

const variant = (name: string, changes: Partial<Rule>): Rule => ({ ...RULE, ...changes, name });

/** All of these must be exact. */
export const SAFE: readonly Rule[] = [
  RULE,
  variant('one lock per tview', { gate: 'exclusive' }),
  variant('three stripes', { stripes: 3 }),
  variant('one stripe', { stripes: 1 }),
  variant('all locks exclusive', { modes: () => ({ far: 'exclusive', near: 'exclusive' }) }),
  variant('far goes with far, near goes with near', { modes: () => ({ far: 'far', near: 'near' }) }),
  variant('modes the other way round', {
    modes: ({ direction }) =>
      direction === 'down' ? { far: 'shared', near: 'exclusive' } : { far: 'exclusive', near: 'shared' },
  }),
  variant('edges of one depth in one statement', { statements: 'depth' }),
  variant('a filter change is an attachment change too', {
    attached: (change, occurrence, _edge, view) =>
      anyLink(change, occurrence, view) || change.old?.shown !== change.now?.shown,
  }),
];

/**
 * Less than the rule, found exact: a row that left a value, or went, is still what others reach through its old image,
 * which is a change of its own with the same keys. Nothing relies on these.
 */
export const LESS: readonly Rule[] = [
  variant('near locks only where the edge itself or the way to the key changed', {
    attached: (change, occurrence, edge) =>
      changed(change, towardsKey(occurrence)) || changed(change, edge.near),
  }),
  variant('near locks for new images only', { nearImages: 'new' }),
  variant('no edge locks in a fixed snapshot, whose repair takes them', { fixedSnapshotLocks: false }),
];

/** What REPEATABLE READ needs beside its own flush: with less of it rows stay stale after every repair. */
export const WEAKENED_REPAIRS: readonly Rule[] = [
  variant('nothing is repaired', { repair: 'nothing' }),
  variant("only statements' changes are flushed again", { repair: 'statements' }),
  variant('only changes are flushed again', { repair: 'changes' }),
];

/** Each leaves something out that the rule needs: the model is worth nothing if it does not see it. */
export const WEAKENED: readonly Rule[] = [
  variant('no edge locks at all', { far: false, attached: () => false }),
  variant('no near locks', { attached: () => false }),
  variant('no far locks', { far: false }),
  variant('far locks on the first edge only', { hops: false }),
  variant('no key locks', { keyLocks: false }),
  variant('keys derived before the locks', { keys: 'of the start' }),
  variant('keys derived in the statement of the last edge locks', { keys: 'of the locks before' }),
  variant('values read before the locks', { values: 'of the start' }),
  variant('values read in the statement of the edge locks before', { values: 'of the locks before' }),
  variant('all edges in one statement', { statements: 'tree' }),
  variant('rows recomputed in the statement of the key locks', { recomputeAtOnce: true }),
  variant('near locks for inserted and deleted rows only', { attached: (change) => changed(change, []) }),
  variant('near locks not for a row that is re-pointed towards the key', {
    attached: (change, occurrence, _edge, view) =>
      changed(change, []) || view.children[occurrence.index]!.some((child) => changed(change, child.near)),
  }),
  variant('near locks not for a row that refers to another below it', {
    attached: (change, occurrence) => changed(change, towardsKey(occurrence)),
  }),
  variant("near locks not for a root's change of key", {
    attached: (change, occurrence, _edge, view) =>
      changed(change, occurrence.far) ||
      view.children[occurrence.index]!.some((child) => changed(change, child.near)),
  }),
  variant('near and far locks do not exclude each other', {
    modes: () => ({ far: 'shared', near: 'shared' }),
  }),
  variant('up edges do not exclude', {
    modes: (edge) => (edge.direction === 'up' ? { far: 'shared', near: 'shared' } : RULE.modes(edge)),
  }),
  variant('down edges do not exclude', {
    modes: (edge) => (edge.direction === 'down' ? { far: 'shared', near: 'shared' } : RULE.modes(edge)),
  }),
  variant('key queries keep filters', { keyFilters: true }),
];

/** Edges by statement, in the order of their locks. */
export function statementsOf(rule: Rule, view: Definition): readonly (readonly Occurrence[])[] {
  if (rule.statements === 'depth') return view.levels;
  const edges = view.levels.flat();
  if (rule.statements === 'edge') return edges.map((edge) => [edge]);
  return edges.length > 0 ? [edges] : [];
}

/** The far values of every edge this flush has locked, by the edge's number. */
export type Locked = Map<number, Set<number>>;

/** What to lock on an edge, by what is known in the state given; its far values are remembered for the edges above it. */
export function edgeLocks(
  rule: Rule,
  view: Definition,
  edge: Occurrence,
  changes: readonly Change[],
  state: State,
  locked: Locked,
): Request[] {
  const far = new Set<number>();
  const near = new Set<number>();
  const parent = view.occurrences[edge.parent!]!;
  for (const change of changes) {
    if (change.table === edge.table && rule.far) {
      if (change.old !== undefined) far.add(linkValue(change.old, edge.far));
      if (change.now !== undefined) far.add(linkValue(change.now, edge.far));
    }
    if (change.table === parent.table && rule.attached(change, parent, edge, view)) {
      if (change.old !== undefined && rule.nearImages === 'both') near.add(linkValue(change.old, edge.near));
      if (change.now !== undefined) near.add(linkValue(change.now, edge.near));
    }
  }
  if (rule.hops && rule.far)
    for (const child of view.children[edge.index]!) {
      const below = locked.get(child.index);
      if (below === undefined || below.size === 0) continue;
      for (const row of state[edge.table]!)
        if (row !== undefined && below.has(linkValue(row, child.near))) far.add(linkValue(row, edge.far));
    }
  far.delete(NULL);
  near.delete(NULL);
  locked.set(edge.index, far);

  const modes = rule.modes(edge);
  const byStripe = new Map<number, Mode>();
  for (const value of far) byStripe.set(value % rule.stripes, modes.far);
  for (const value of near) {
    const stripe = value % rule.stripes;
    const other = byStripe.get(stripe);
    byStripe.set(stripe, other === undefined || other === modes.near ? modes.near : 'exclusive');
  }
  return [...byStripe]
    .sort(([a], [b]) => a - b)
    .map(([stripe, mode]) => ({ lock: advisoryLock(view.index, edge.index, stripe), mode }));
}
