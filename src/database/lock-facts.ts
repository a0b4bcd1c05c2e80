/** What a flush locks for a tview (locks.ts), as values: what explain shows, and how to know the locks in pg_locks. */
import type { Edge, QualifiedName } from '../definition/plan.ts';
import {
  edgeNumber,
  gateNumber,
  keyNumber,
  type LockedTview,
  type LockOptions,
  locksValues,
  type Mode,
  maximumStripes,
} from './locks.ts';

/** The first and the last number, pg_locks.objid, of a lock's stripes. */
export type LockNumbers = readonly [first: number, last: number];

export interface LockedSide {
  readonly table: QualifiedName;
  readonly columns: readonly string[];
  readonly mode: Mode;
}

export interface LockedEdge {
  readonly path: string;
  readonly numbers: LockNumbers;
  /** Values of changed rows, and of rows through which the edges of `from` lead. */
  readonly far: LockedSide;
  /** Places, from 0, of the edges farther from the key whose values are carried on to this one. */
  readonly from: readonly number[];
  /** Values of rows that came, went or moved. */
  readonly near: LockedSide;
}

export interface TviewLocks {
  /** pg_locks.classid. */
  readonly space: number;
  readonly gate: number;
  /** False: the gate alone, exclusive, so that flushes of the tview run one after the other. */
  readonly byValue: boolean;
  /** In the order in which they are locked. */
  readonly edges: readonly LockedEdge[];
  readonly keys: { readonly columns: readonly string[]; readonly numbers: LockNumbers } | null;
}

export function locksOf({ id, plan }: LockedTview, options: LockOptions): TviewLocks {
  const byValue = locksValues(plan, options);
  const numbers = (first: number, isHashed: boolean): LockNumbers => [
    first,
    isHashed ? first + (options.lockStripes ?? maximumStripes) - 1 : first,
  ];
  const side = (edge: Edge, end: 'far' | 'near'): LockedSide => ({
    table: plan.sources[end === 'far' ? edge.farSource : edge.nearSource]!.table,
    columns: edge.links.map((link) => link[end]),
    mode: edge.exclusive === end ? 'exclusive' : 'shared',
  });
  return {
    space: options.lockSpace,
    gate: gateNumber(id),
    byValue,
    edges: !byValue
      ? []
      : plan.locks!.edges.map((edge, index) => ({
          path: edge.path,
          numbers: numbers(
            edgeNumber(id, index),
            edge.links.some(({ isHashed }) => isHashed),
          ),
          far: side(edge, 'far'),
          from: edge.hops.map((hop) => hop.edge),
          near: side(edge, 'near'),
        })),
    keys: byValue
      ? {
          columns: plan.key.map(({ name }) => name),
          numbers: numbers(keyNumber(id), plan.locks!.keyIsHashed),
        }
      : null,
  };
}
