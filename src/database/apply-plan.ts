/**
 * What applying would do, without doing it: in the caller's transaction, which is rolled back, and under no lock that keeps a
 * writer or a reader waiting. What would be created is there meanwhile, empty and known to nobody else, so that what reads
 * it can be looked at too. What would change has its columns of before.
 */
import type {
  CreateTview,
  DropTview,
  QualifiedName,
  RefreshPlan,
  TviewStatement,
} from '../definition/plan.ts';
import { addKey, createTable } from './create.ts';
import { findNamed, refuseWhileRead } from './drop.ts';
import type { SqlExecutor } from './executor.ts';
import { quoteQualified } from './identifier.ts';
import { decide } from './online-apply.ts';
import {
  type ConstructionAction,
  loadRegistry,
  type RegisteredTview,
  type Registry,
  sourcesOf,
  tablesBelow,
} from './registry.ts';
import { withSettings } from './session.ts';
import { createView, resolveWanted, type Wanted } from './wanted.ts';

export interface PlannedAction {
  readonly action: ConstructionAction | 'unchanged' | 'skipped' | 'dropped';
  /** Null where nothing would change. */
  readonly why: string | null;
  /** To be computed, as the planner thinks; of one that is being built, those that are left. */
  readonly rows: number | null;
  /** Whose writers would be locked out for a moment. */
  readonly locked: readonly QualifiedName[];
}

export class ApplyPlanner {
  readonly #executor: SqlExecutor;
  #registry: Registry;
  /** Tviews that an earlier statement would drop; their names are free for a later one. */
  readonly #dropped = new Set<number>();

  private constructor(executor: SqlExecutor, registry: Registry) {
    this.#executor = executor;
    this.#registry = registry;
  }

  static async begin(executor: SqlExecutor): Promise<ApplyPlanner> {
    return new ApplyPlanner(executor, await loadRegistry(executor));
  }

  /** One statement after the other. After an error the next can be asked for: what the one with it did is undone. */
  async next(statement: TviewStatement): Promise<PlannedAction> {
    await this.#executor.query('SAVEPOINT tviews_plan');
    try {
      return await (statement.kind === 'drop' ? this.#drop(statement) : this.#create(statement));
    } catch (error) {
      // A connection that is gone has nothing to undo.
      await this.#executor.query('ROLLBACK TO SAVEPOINT tviews_plan').catch(() => undefined);
      throw error;
    }
  }

  async #drop(statement: DropTview): Promise<PlannedAction> {
    const { tview, construction } = await findNamed(this.#executor, this.#left(), statement);
    if (tview === null && construction === null) return nothing('skipped');
    if (tview !== null) refuseWhileRead(this.#left(), tview, 'drop');
    const gone = [tview, construction].filter((one) => one !== null);
    for (const { id } of gone) this.#dropped.add(id);
    return { action: 'dropped', why: 'the file says so', rows: null, locked: this.#tables(gone, []) };
  }

  /** Without what would be dropped: its readers and what is being built. */
  #left(): Registry {
    return {
      ...this.#registry,
      tviews: this.#registry.tviews.filter(({ id }) => !this.#dropped.has(id)),
    };
  }

  async #create(statement: CreateTview): Promise<PlannedAction> {
    const executor = this.#executor;
    const wanted = await resolveWanted(executor, statement);
    const decision = await decide(executor, this.#registry, wanted, true);
    if (decision.kind === 'resume') {
      const { keys, filled, action } = decision.construction.construction!;
      return {
        action,
        why: 'it has been begun',
        rows: keys === null ? null : keys - filled,
        locked: action === 'altered' ? [] : this.#tables([decision.construction], []),
      };
    }
    const { existing } = decision;
    const isGone = existing !== null && this.#dropped.has(existing.id);
    if (decision.kind === 'nothing' && !isGone) return nothing(decision.action);
    if (decision.kind === 'nothing') {
      return {
        action: 'created',
        why: 'it is dropped before',
        rows: null,
        locked: this.#tables([existing!], []),
      };
    }
    const { change, plan, rows } = decision;
    if (existing === null) await this.#pretend(wanted, plan);
    return {
      action: isGone ? 'created' : change.kind,
      why: isGone ? 'it is dropped before' : change.why,
      rows,
      locked: this.#tables(existing === null ? [] : [existing], plan.sources),
    };
  }

  #tables(tviews: readonly RegisteredTview[], sources: RefreshPlan['sources']): QualifiedName[] {
    const read = [...tviews.flatMap((tview) => sourcesOf(this.#registry, tview)), ...sources];
    return tablesBelow(this.#registry, read).map(({ table }) => table);
  }

  /** What later statements can read: without rows, and without anything that follows from it. */
  async #pretend({ statement, table, view }: Wanted, compiled: RefreshPlan): Promise<void> {
    const executor = this.#executor;
    await createView(executor, view, statement.query);
    const plan = { ...compiled, table, view };
    await withSettings(executor, { search_path: '' }, async () => {
      await createTable(executor, plan);
      await addKey(executor, plan);
    });
    const [row] = await executor.query<{ oid: string; viewOid: string }>(
      'SELECT $1::pg_catalog.regclass::oid::bigint AS oid, $2::pg_catalog.regclass::oid::bigint AS "viewOid"',
      [quoteQualified(table), quoteQualified(view)],
    );
    const sources = [...this.#registry.sources];
    const sourceIds = plan.sources.map(({ oid, kind, table: name }) => {
      const known = sources.find((source) => source.oid === oid);
      if (known !== undefined) return known.id;
      const id = -1 - sources.length;
      sources.push({ id, oid, kind, table: name });
      return id;
    });
    const last = Math.max(0, ...this.#registry.tviews.map(({ id }) => id));
    this.#registry = {
      ...this.#registry,
      sources,
      tviews: [
        ...this.#registry.tviews,
        {
          id: last + 1,
          oid: Number(row!.oid),
          viewOid: Number(row!.viewOid),
          ...table,
          requestedKey: statement.key,
          keyOperators: [],
          plan,
          table,
          view,
          sourceIds,
          isSuspended: false,
          problem: null,
          construction: null,
        },
      ],
    };
  }
}

const nothing = (action: 'unchanged' | 'skipped'): PlannedAction => ({
  action,
  why: null,
  rows: null,
  locked: [],
});
