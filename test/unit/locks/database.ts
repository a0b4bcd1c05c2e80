/** Committed rows, and locks. What a transaction has written and not committed is its own (transaction.ts). */
import type { Row } from './schema.ts';
import type { State } from './view.ts';

/** Thrown into a statement: the transaction is over. */
export class Failed extends Error {}

export class Database {
  readonly tables: (Row | undefined)[][];
  /** Which process committed, in order: with what a process saw of it, all that tells two histories apart. */
  commits = '';

  constructor(state: State) {
    this.tables = state.map((table) => [...table]);
  }

  commit(process: number, writes: readonly (readonly (Row | null | undefined)[])[]): void {
    writes.forEach((rows, table) => {
      rows.forEach((row, id) => {
        if (row !== undefined) this.tables[table]![id] = row ?? undefined;
      });
    });
    this.commits += process;
  }
}

/** `far` and `near` go with themselves alone: two kinds of holders that exclude each other. */
export type Mode = 'shared' | 'exclusive' | 'far' | 'near' | 'key share' | 'no key update';

const COMPATIBLE: ReadonlySet<string> = new Set([
  'shared/shared',
  'far/far',
  'near/near',
  'key share/key share',
  'key share/no key update',
  'no key update/key share',
]);

export interface Request {
  readonly lock: number;
  readonly mode: Mode;
}

interface Holder {
  readonly process: number;
  readonly mode: Mode;
}

/** Row locks, table locks and advisory locks in one space of numbers: all are held to the end of the transaction. */
export class Locks {
  private readonly held = new Map<number, Holder[]>();

  /** Who stands in the way. */
  blockers(process: number, request: Request): number[] {
    const blockers: number[] = [];
    for (const holder of this.held.get(request.lock) ?? [])
      if (holder.process !== process && !COMPATIBLE.has(`${holder.mode}/${request.mode}`))
        blockers.push(holder.process);
    return blockers;
  }

  isFree(process: number, request: Request): boolean {
    const holders = this.held.get(request.lock);
    if (holders === undefined) return true;
    for (const holder of holders)
      if (holder.process !== process && !COMPATIBLE.has(`${holder.mode}/${request.mode}`)) return false;
    return true;
  }

  take(process: number, request: Request): void {
    const holders = this.held.get(request.lock);
    if (holders === undefined) this.held.set(request.lock, [{ process, mode: request.mode }]);
    else if (!holders.some((each) => each.process === process && each.mode === request.mode))
      holders.push({ process, mode: request.mode });
  }

  release(process: number): void {
    for (const [lock, holders] of this.held) {
      const rest = holders.filter((each) => each.process !== process);
      if (rest.length === 0) this.held.delete(lock);
      else if (rest.length < holders.length) this.held.set(lock, rest);
    }
  }
}

const ROWS = 1_000_000;
const TABLES = 2_000_000;

export const rowLock = (table: number, id: number): number => ROWS + table * 100 + id;
export const tableLock = (table: number): number => TABLES + table;
export const isAdvisory = (lock: number): boolean => lock < ROWS;

/** Spaces of one tview's advisory locks: one per edge, then these. */
export const KEYS = 98;
export const GATE = 99;
/** The most stripes a space can have. */
export const STRIPES = 64;

export const advisoryLock = (view: number, space: number, stripe: number): number =>
  (view * 100 + space) * STRIPES + stripe;
