/**
 * What a CREATE TVIEW asks for, its names resolved; what its definition compiles to now; and how that differs from the tview
 * there is.
 */
import { isDeepStrictEqual } from 'node:util';
import type { FullRefresh } from '../definition/full-refresh.ts';
import type { CreateTview, QualifiedName, RefreshPlan } from '../definition/plan.ts';
import { RefusedDefinition, SqlState, TviewsError } from '../errors/errors.ts';
import type { SqlExecutor } from './executor.ts';
import { quoteIdentifier, quoteQualified } from './identifier.ts';
import {
  compilerInput,
  isTviewOf,
  movedOf,
  type RegisteredTview,
  type Registry,
  readsTheSame,
} from './registry.ts';
import { currentSchema, sqlStateOf, withSettings } from './session.ts';

/** How a definition becomes a plan: definition/compile.ts, or a test's own. */
export type Compile = (
  executor: SqlExecutor,
  input: {
    readonly view: QualifiedName;
    readonly table: QualifiedName;
    readonly key: readonly string[] | null;
    readonly fullRefresh: FullRefresh;
    isTview(oid: number): boolean;
  },
) => Promise<RefreshPlan>;

export interface Wanted {
  readonly statement: CreateTview;
  readonly table: QualifiedName;
  readonly view: QualifiedName;
  readonly fullRefresh: FullRefresh;
  readonly compile: Compile | undefined;
}

/** Names resolve by the caller's search_path. */
export async function resolveWanted(
  executor: SqlExecutor,
  statement: CreateTview,
  compile?: Compile,
): Promise<Wanted> {
  const table = await tableName(executor, statement);
  const view = { schema: table.schema, name: `v_${table.name.slice('tv_'.length)}` };
  return { statement, table, view, fullRefresh: await listedTables(executor, statement), compile };
}

export async function requireLandlord(executor: SqlExecutor): Promise<void> {
  const [row] = await executor.query<{ ours: boolean; owner: string }>(
    `SELECT pg_catalog.pg_has_role(nspowner, 'USAGE') AS ours, nspowner::pg_catalog.regrole::text AS owner
     FROM pg_catalog.pg_namespace WHERE nspname = 'tviews'`,
  );
  if (row?.ours !== true) {
    throw new TviewsError(SqlState.insufficientPrivilege, 'permission denied to create a tview', {
      hint: `Connect as a member of role ${row?.owner}, which owns schema tviews.`,
    });
  }
}

async function tableName(executor: SqlExecutor, { schema, name }: CreateTview): Promise<QualifiedName> {
  if (!/^tv_./.test(name)) {
    throw new TviewsError('42602', `invalid tview name: "${name}"`, {
      hint: 'The name of a tview starts with "tv_"; its definition is installed as the view "v_…".',
    });
  }
  if (Buffer.byteLength(name) > 63) {
    throw new TviewsError('42622', `identifier "${name}" is too long`, {
      detail: 'A name has at most 63 bytes.',
    });
  }
  if (schema !== null) return { schema, name };
  const current = await currentSchema(executor);
  if (current === null) throw new TviewsError('3F000', 'no schema has been selected to create in');
  return { schema: current, name };
}

/** The tables of `WITH (full_refresh = …)`, as the caller's search_path resolves them. */
async function listedTables(executor: SqlExecutor, { fullRefresh = [] }: CreateTview): Promise<FullRefresh> {
  if (fullRefresh === '*') return fullRefresh;
  const oids: number[] = [];
  for (const { schema, name } of fullRefresh) {
    const written = schema === null ? quoteIdentifier(name) : quoteQualified({ schema, name });
    const [row] = await executor.query<{ oid: string | null }>(
      'SELECT pg_catalog.to_regclass($1)::oid::bigint AS oid',
      [written],
    );
    if (row!.oid === null) {
      throw new TviewsError(SqlState.undefinedTable, `relation ${written} does not exist`, {
        detail: 'Option "full_refresh" names it.',
      });
    }
    oids.push(Number(row!.oid));
  }
  return oids;
}

/** The names of both, but for those of the tview that is to be replaced. */
export async function requireFree(
  executor: SqlExecutor,
  { statement, table, view }: Wanted,
  existing: RegisteredTview | null,
): Promise<void> {
  for (const name of [table, view]) {
    const [row] = await executor.query<{ taken: boolean }>(
      `SELECT t.relation IS NOT NULL AND t.relation::oid <> ALL ($2::oid[]) AS taken
       FROM pg_catalog.to_regclass($1) AS t (relation)`,
      [quoteQualified(name), existing === null ? [] : [existing.oid, existing.viewOid]],
    );
    if (!row!.taken) continue;
    throw new TviewsError(SqlState.duplicateTable, `relation "${name.name}" already exists`, {
      detail: `It is no tview. CREATE TVIEW ${statement.name} needs the names of both the table and the view.`,
      hint: 'Rename or drop it.',
    });
  }
}

export async function createView(
  executor: SqlExecutor,
  view: QualifiedName,
  query: string,
  command: 'CREATE VIEW' | 'CREATE OR REPLACE VIEW' = 'CREATE VIEW',
): Promise<void> {
  const prefix = `${command} ${quoteQualified(view)} AS\n`;
  try {
    // The line break ends a comment the query may end with.
    await executor.query(`${prefix}${query}\n`);
  } catch (error) {
    if (readsTemporary(error)) {
      throw new RefusedDefinition('temporary tables and views are not supported in a tview', {
        detail: 'They end with their session, and others do not see them.',
        hint: 'Use an ordinary table.',
      });
    }
    throw pointIntoQuery(error, [...prefix].length);
  }
}

/** A view over what is temporary would be so itself, which its schema is not: PostgreSQL says no more, and not which one it is. */
function readsTemporary(error: unknown): boolean {
  return (
    sqlStateOf(error) === SqlState.invalidTableDefinition &&
    (error as { routine?: string }).routine === 'RangeVarAdjustRelationPersistence'
  );
}

/** The server counts from the start of our CREATE VIEW; people look at their query. */
function pointIntoQuery(error: unknown, offset: number): unknown {
  if (!(error instanceof Error) || !('position' in error)) return error;
  const position = Number(error.position) - offset;
  if (!Number.isInteger(position) || position < 1) return error;
  const fields = error as { detail?: string; hint?: string };
  return new TviewsError(sqlStateOf(error) ?? SqlState.syntaxError, error.message, {
    detail: fields.detail,
    hint: fields.hint,
    position,
    cause: error,
  });
}

/** @param view where the definition is installed: under its own name, or another */
export async function compileWanted(
  executor: SqlExecutor,
  registry: Registry,
  { statement, table, fullRefresh, compile: given }: Wanted,
  view: QualifiedName,
): Promise<RefreshPlan> {
  return await compile(executor, registry, { view, table, key: statement.key, fullRefresh }, given);
}

async function compile(
  executor: SqlExecutor,
  registry: Registry,
  input: Omit<Parameters<Compile>[1], 'isTview'>,
  given?: Compile,
): Promise<RefreshPlan> {
  // Loaded here, not above: the compiler carries PostgreSQL's grammar, which nothing else of this folder needs.
  const compileDefinition = given ?? (await import('../definition/compile.ts')).compileDefinition;
  return await compileDefinition(executor, { ...input, isTview: isTviewOf(registry) });
}

/** What a tview's definition compiles to now. */
export const compileAgain = (
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
): Promise<RefreshPlan> => compile(executor, registry, compilerInput(registry, tview));

/** A definition installed under a name of no meaning, for a moment. */
export interface Probe {
  readonly view: QualifiedName;
  readonly plan: RefreshPlan;
}

/** Installs what is wanted beside whatever there is, compiles it, works with it and takes it away. */
export async function withProbe<T>(
  executor: SqlExecutor,
  registry: Registry,
  wanted: Wanted,
  work: (probe: Probe) => Promise<T>,
): Promise<T> {
  // Two who probe at once would wait for each other's name.
  const [row] = await executor.query<{ pid: number }>('SELECT pg_catalog.pg_backend_pid() AS pid');
  const view = { schema: 'tviews', name: `probe_${row!.pid}` };
  await createView(executor, view, wanted.statement.query);
  return await withSettings(executor, { search_path: '' }, async () => {
    const result = await work({ view, plan: await compileWanted(executor, registry, wanted, view) });
    await executor.query(`DROP VIEW ${quoteQualified(view)}`);
    return result;
  });
}

/** How a tview has to change to be what is wanted; `why` for people. */
export type Change =
  | { readonly kind: 'none' }
  /** Columns more at the end, and nothing else. */
  | { readonly kind: 'altered'; readonly why: string }
  /** Another definition. */
  | { readonly kind: 'replaced'; readonly why: string }
  /** The same one, of which something else has to be made. */
  | { readonly kind: 'rebuilt'; readonly why: string };

export async function changeTo(
  executor: SqlExecutor,
  registry: Registry,
  existing: RegisteredTview,
  { statement }: Wanted,
  { view, plan }: Probe,
): Promise<Change> {
  // Formatting, comments and unqualified names do not count. Of a view that is gone: null.
  const [text] = await executor.query<Texts>(
    `SELECT pg_catalog.pg_get_viewdef($1::pg_catalog.regclass) AS now,
       pg_catalog.pg_get_viewdef(pg_catalog.to_regclass($2)) AS before,
       EXISTS (
         SELECT FROM pg_catalog.pg_rewrite AS r
         WHERE r.ev_class = $1::pg_catalog.regclass AND r.ev_action::text LIKE '%:hasTargetSRFs true%'
       ) AS "givesSets",
       EXISTS (
         SELECT FROM pg_catalog.pg_attribute AS a
         JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
         WHERE a.attrelid = $1::pg_catalog.regclass AND a.attnum > $3 AND t.typtype = 'd'
       ) AS "addsDomains"`,
    [
      quoteQualified(view),
      existing.view === null ? null : quoteQualified(existing.view),
      existing.plan.columns.length,
    ],
  );
  const { now, before } = text!;
  const hasSameText = now === before;
  const moved = movedOf(registry, existing);
  // The same text may read something else by now: a view below it was replaced, a source renamed, a primary key dropped.
  const isSame = hasSameText && readsTheSame(plan, existing, registry);
  // A plan from before there were locks on values has none, and the same definition is compiled anew for them.
  const isCurrent = existing.plan.locks !== undefined || statement.ifExists !== 'replace';
  if (isSame && moved.length === 0 && isCurrent) return { kind: 'none' };
  if (!hasSameText) {
    if (moved.length === 0 && isCurrent && (await addsColumns(registry, existing, plan, text!))) {
      const added = plan.columns.slice(existing.plan.columns.length).map(({ name }) => quoteIdentifier(name));
      return { kind: 'altered', why: `the definition has ${added.join(', ')} more` };
    }
    return { kind: 'replaced', why: whatDiffers(existing.plan, plan) };
  }
  if (moved.length > 0) return { kind: 'rebuilt', why: 'something it reads has another name now' };
  if (!isSame && !hasSameKey(existing.plan, plan))
    return { kind: 'replaced', why: whatDiffers(existing.plan, plan) };
  return {
    kind: 'rebuilt',
    why: isSame
      ? 'its plan is of an earlier version'
      : 'what it reads has changed: a column, a key, or a view below it',
  };
}

/** Of both views, as the server prints them. */
interface Texts {
  readonly now: string;
  readonly before: string | null;
  /** A function in a select list gives several rows, or none. */
  readonly givesSets: boolean;
  /** Of which a column may not be null, as it is before it is filled. */
  readonly addsDomains: boolean;
}

export const hasSameKey = (one: RefreshPlan, other: RefreshPlan): boolean =>
  isDeepStrictEqual(one.key, other.key);

function whatDiffers(before: RefreshPlan, after: RefreshPlan): string {
  if (!hasSameKey(before, after)) return 'the key is another';
  return isDeepStrictEqual(before.columns, after.columns)
    ? 'the definition computes its columns otherwise'
    : 'the definition has other columns';
}

/**
 * Whether a definition is the old one with columns more at the end: then the old columns keep their values, and whoever
 * reads them need not know.
 */
async function addsColumns(
  registry: Registry,
  existing: RegisteredTview,
  plan: RefreshPlan,
  texts: Texts,
): Promise<boolean> {
  const before = existing.plan;
  if (existing.isSuspended || plan.columns.length <= before.columns.length || !hasSameKey(before, plan))
    return false;
  if (!isDeepStrictEqual(plan.columns.slice(0, before.columns.length), before.columns)) return false;
  // Flush goes through the tviews by their ids: it has to come behind all that it reads.
  const readsLater = plan.sources.some(({ oid }) =>
    registry.tviews.some((tview) => tview.oid === oid && tview.id > existing.id),
  );
  if (readsLater) return false;
  const { onlyAddsColumns } = await import('../definition/added-columns.ts');
  if (texts.before === null || texts.givesSets || texts.addsDomains) return false;
  return await onlyAddsColumns(texts.before, texts.now);
}
