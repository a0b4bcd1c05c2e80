/**
 * A transaction as a sequence of requests. Between two requests others may run, so each statement begins with one: it then
 * reads what is committed by now (READ COMMITTED), or what was committed at its first statement (REPEATABLE READ).
 */
import {
  advisoryLock,
  type Database,
  Failed,
  GATE,
  KEYS,
  type Mode,
  type Request,
  rowLock,
  tableLock,
} from './database.ts';
import { edgeLocks, type Locked, type Rule, statementsOf } from './protocol.ts';
import { type Definition, NULL, type Row, type Schema } from './schema.ts';
import { addAllKeys, type Change, contentOf, type Everything, keysOf, type State } from './view.ts';

/** The rows whose `column` is `equals`; column 0 names one row. */
export interface Where {
  readonly column: number;
  readonly equals: number;
}

export type Statement =
  | { readonly kind: 'insert'; readonly table: number; readonly row: Row }
  | { readonly kind: 'value'; readonly table: number; readonly where: Where; readonly value: string }
  | { readonly kind: 'filter'; readonly table: number; readonly where: Where }
  | {
      readonly kind: 'link';
      readonly table: number;
      readonly where: Where;
      readonly column: number;
      readonly to: number;
    }
  | { readonly kind: 'delete'; readonly table: number; readonly where: Where }
  | { readonly kind: 'truncate'; readonly table: number }
  /** A flush before the end, as for a read of what the transaction has changed: its locks stay. */
  | { readonly kind: 'flush' };

export interface Program {
  readonly isolation: 'read committed' | 'repeatable read';
  readonly statements: readonly Statement[];
  readonly end: 'commit' | 'rollback';
}

/** What a session asks for: a lock, or (null) to go on with its next statement. */
export type Session = Generator<Request | null, void, undefined>;

/** What all transactions of a run share. */
export interface World {
  readonly schema: Schema;
  readonly rule: Rule;
  readonly database: Database;
  /** TRUNCATE is modelled only where one is: its table locks cost every other statement a step. */
  readonly tableLocks: boolean;
}

/** The locks are gone with a COMMIT, which the run takes note of. */
export type Committed = () => void;

/** Keys of a tview by its number. */
type Keys = Map<number, Set<number>>;

export function* session(world: World, process: number, program: Program, committed: Committed): Session {
  const transaction = new Transaction(world, program.isolation);
  for (const statement of program.statements) yield* transaction.execute(statement);
  if (program.end === 'rollback') {
    yield null;
    return;
  }
  if (program.isolation === 'read committed' || world.rule.repair !== 'instead of the flush')
    yield* transaction.flush();
  yield null;
  transaction.commit(process);
  committed();

  const { repair } = world.rule;
  if (program.isolation === 'read committed' || repair === 'nothing') return;
  // The durable record: whatever becomes of the session, somebody flushes it again, until it succeeds.
  const again = new Transaction(world, 'read committed');
  again.changes.push(
    ...transaction.changes.filter(({ table }) => repair !== 'statements' || table < world.schema.sources),
  );
  yield* again.flush(repair === 'changes and written keys' ? transaction.written : new Map());
  yield null;
  again.commit(process);
  committed();
}

class Transaction {
  readonly changes: (Change | Everything)[] = [];
  readonly written: Keys = new Map();
  private readonly own: (Row | null | undefined)[][];
  private snapshot: State | null = null;
  private flushed = 0;
  private readonly world: World;
  private readonly isolation: Program['isolation'];

  constructor(world: World, isolation: Program['isolation']) {
    this.world = world;
    this.isolation = isolation;
    this.own = world.schema.widths.map(() => []);
  }

  commit(process: number): void {
    this.world.database.commit(process, this.own);
  }

  *execute(statement: Statement): Session {
    const { database, schema } = this.world;
    yield null;
    if (statement.kind === 'flush') {
      yield* this.flush();
      return;
    }
    this.begin();
    const { table } = statement;
    if (statement.kind === 'truncate') {
      yield { lock: tableLock(table), mode: 'exclusive' };
      for (let id = 0; id < database.tables[table]!.length; id += 1)
        if (this.row(table, id) !== undefined) this.own[table]![id] = null;
      for (let id = 0; id < this.own[table]!.length; id += 1)
        if (this.own[table]![id] !== undefined) this.own[table]![id] = null;
      this.changes.push({ table, everything: true });
      return;
    }
    if (this.world.tableLocks) yield { lock: tableLock(table), mode: 'shared' };
    if (statement.kind === 'insert') {
      const { row } = statement;
      const id = row.columns[0]!;
      yield* this.lockRow(table, id, 'exclusive');
      if (this.row(table, id) !== undefined) throw new Failed('duplicate key');
      for (const key of schema.foreignKeys)
        if (key.table === table) yield* this.refer(key.target, row, key.column);
      this.write(table, id, row);
      return;
    }
    const { where } = statement;
    for (const found of this.state()[table]!) {
      if (found?.columns[where.column] !== where.equals) continue;
      const id = found.columns[0]!;
      yield* this.lockRow(table, id, statement.kind === 'delete' ? 'exclusive' : 'no key update');
      // Who waited looks again at the row as it is now.
      const row = this.row(table, id);
      if (row?.columns[where.column] !== where.equals) continue;
      if (statement.kind === 'delete') yield* this.remove(table, id);
      else if (statement.kind === 'value') this.write(table, id, { ...row, value: statement.value });
      else if (statement.kind === 'filter') this.write(table, id, { ...row, shown: !row.shown });
      else yield* this.link(table, row, statement.column, statement.to);
    }
  }

  private *link(table: number, row: Row, column: number, to: number): Session {
    if (row.columns[column] === to) return;
    const now = { ...row, columns: row.columns.with(column, to) };
    for (const key of this.world.schema.foreignKeys)
      if (key.table === table && key.column === column) yield* this.refer(key.target, now, column);
    this.write(table, row.columns[0]!, now);
  }

  /** A foreign key's check of a new reference. */
  private *refer(target: number, row: Row, column: number): Session {
    const id = row.columns[column]!;
    if (id === NULL) return;
    yield { lock: rowLock(target, id), mode: 'key share' };
    const { database } = this.world;
    const own = this.own[target]![id];
    // The check sees what is committed, whatever the transaction's snapshot.
    if ((own === undefined ? database.tables[target]![id] : (own ?? undefined)) === undefined)
      throw new Failed('nothing to refer to');
  }

  private *remove(table: number, id: number): Session {
    this.write(table, id, undefined);
    for (const key of this.world.schema.foreignKeys) {
      if (key.target !== table) continue;
      for (const referring of this.latest(key.table)) {
        if (referring?.columns[key.column] !== id) continue;
        if (key.onDelete === 'restrict') throw new Failed('still referred to');
        const below = referring.columns[0]!;
        yield* this.lockRow(key.table, below, key.onDelete === 'cascade' ? 'exclusive' : 'no key update');
        const row = this.row(key.table, below);
        if (row?.columns[key.column] !== id) continue;
        if (key.onDelete === 'cascade') yield* this.remove(key.table, below);
        else this.write(key.table, below, { ...row, columns: row.columns.with(key.column, NULL) });
      }
    }
  }

  private *lockRow(table: number, id: number, mode: Mode): Session {
    yield { lock: rowLock(table, id), mode };
    if (this.snapshot !== null && this.world.database.tables[table]![id] !== this.snapshot[table]![id])
      throw new Failed('could not serialize access');
  }

  /** The refresh of every tview that reads what has changed since the last flush. */
  *flush(extra: Keys = new Map()): Session {
    this.begin();
    const from = this.flushed;
    for (const view of this.world.schema.definitions) {
      // Rows of tviews that were written on the way are among them.
      const changes = this.changes.slice(from).filter(({ table }) => view.sources.has(table));
      const again = extra.get(view.index);
      if (changes.length > 0 || again !== undefined) yield* this.refresh(view, changes, again ?? new Set());
    }
    this.flushed = this.changes.length;
  }

  private *refresh(
    view: Definition,
    changes: readonly (Change | Everything)[],
    again: ReadonlySet<number>,
  ): Session {
    const { rule } = this.world;
    const images = changes.filter((change) => !('everything' in change)) as Change[];
    const everything = images.length < changes.length;
    const gate = everything ? 'exclusive' : rule.gate;
    if (gate !== 'none') yield { lock: advisoryLock(view.index, GATE, 0), mode: gate };
    if (this.world.tableLocks)
      for (const table of view.sources) yield { lock: tableLock(table), mode: 'shared' };
    const skip = everything || gate === 'exclusive';

    yield null;
    const start = this.state();
    let before = start;
    if (!skip && (this.snapshot === null || rule.fixedSnapshotLocks)) {
      const locked: Locked = new Map();
      let isFirst = true;
      for (const edges of statementsOf(rule, view)) {
        if (!isFirst) yield null;
        isFirst = false;
        const now = this.state();
        const state = rule.values === 'own' ? now : rule.values === 'of the start' ? start : before;
        const requests = edges.flatMap((edge) => edgeLocks(rule, view, edge, images, state, locked));
        for (const request of requests) yield request;
        before = now;
      }
    }

    yield null;
    const keyState = this.state();
    const source = rule.keys === 'own' ? keyState : rule.keys === 'of the start' ? start : before;
    const keys = keysOf(view, source, changes, rule.keyFilters);
    if (everything) addAllKeys(view, source, keys);
    for (const key of again) keys.add(key);
    if (keys.size === 0) return;
    if (!skip && rule.keyLocks) {
      const stripes = new Set([...keys].map((key) => key % rule.stripes));
      for (const stripe of [...stripes].sort((a, b) => a - b))
        yield { lock: advisoryLock(view.index, KEYS, stripe), mode: 'exclusive' };
    }

    yield null;
    this.recompute(view, rule.recomputeAtOnce ? keyState : this.state(), keys);
  }

  private recompute(view: Definition, state: State, keys: ReadonlySet<number>): void {
    for (const key of keys) {
      const now = contentOf(view, state, key);
      const old = state[view.target]![key];
      if (now?.value === old?.value) continue;
      if (
        this.snapshot !== null &&
        this.world.database.tables[view.target]![key] !== this.snapshot[view.target]![key]
      )
        throw new Failed('could not serialize access');
      this.own[view.target]![key] = now ?? null;
      this.changes.push({ table: view.target, old, now });
      const written = this.written.get(view.index);
      if (written === undefined) this.written.set(view.index, new Set([key]));
      else written.add(key);
    }
  }

  private begin(): void {
    if (this.isolation === 'repeatable read' && this.snapshot === null)
      this.snapshot = this.world.database.tables.map((table) => [...table]);
  }

  private write(table: number, id: number, now: Row | undefined): void {
    const old = this.row(table, id);
    this.own[table]![id] = now ?? null;
    this.changes.push({ table, old, now });
  }

  private row(table: number, id: number): Row | undefined {
    const own = this.own[table]![id];
    return own === undefined ? (this.snapshot ?? this.world.database.tables)[table]![id] : (own ?? undefined);
  }

  /** What the transaction sees of every table. */
  private state(): State {
    return (this.snapshot ?? this.world.database.tables).map((rows, table) => this.overlay(rows, table));
  }

  private latest(table: number): readonly (Row | undefined)[] {
    return this.overlay(this.world.database.tables[table]!, table);
  }

  private overlay(rows: readonly (Row | undefined)[], table: number): readonly (Row | undefined)[] {
    const own = this.own[table]!;
    if (own.length === 0) return this.snapshot === null ? [...rows] : rows;
    const seen = [...rows];
    for (let id = 0; id < own.length; id += 1) {
      const row = own[id];
      if (row !== undefined) seen[id] = row ?? undefined;
    }
    return seen;
  }
}
