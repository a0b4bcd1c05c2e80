/**
 * Installs a definition: the view, its plan, the table, the capture of its sources, the refresh and flush functions, and
 * the first fill — in an order in which no writer can slip through between capture and fill.
 */
import type { FullRefresh } from '../definition/full-refresh.ts';
import type { Advice, CreateTview, QualifiedName, RefreshPlan } from '../definition/plan.ts';
import { RefusedDefinition, SqlState, TviewsError } from '../errors/errors.ts';
import { dropRegistered, dropTview, losingWithout, refuseWhileRead } from './drop.ts';
import { equalityOperators } from './equality.ts';
import { exclude } from './exclusion.ts';
import type { SqlExecutor } from './executor.ts';
import { changedFamilies } from './family.ts';
import { ticketName } from './flush-function.ts';
import { generateCapture, generateFlush, generateRefresh, generateSources, stampTicket } from './generate.ts';
import { quoteIdentifier, quoteQualified } from './identifier.ts';
import {
  compilerInput,
  findTview,
  isBroken,
  isTviewOf,
  lockRegistry,
  movedOf,
  type RegisteredTview,
  type Registry,
  readsTheSame,
  requireInPlace,
  sourcesOf,
  tablesBelow,
} from './registry.ts';
import { inTransaction, requireTransaction, sqlStateOf, withSettings } from './session.ts';
import { computeSettings } from './settings.ts';

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

export type ApplyStep = 'compile' | 'lock' | 'capture' | 'fill';

export interface ApplyHooks {
  readonly compile?: Compile;
  /** Told at the start of each step, for progress. */
  step?(step: ApplyStep, table: QualifiedName): void;
}

export interface Applied {
  readonly action: 'created' | 'unchanged' | 'replaced' | 'skipped';
  /** It stays as stale as it is, until it is resumed. */
  readonly isSuspended: boolean;
  readonly table: QualifiedName;
  readonly advice: readonly Advice[];
  readonly rows: number;
}

/** Runs in the caller's transaction, which must be READ COMMITTED; names in the query resolve by the caller's search_path. */
export async function applyTview(
  executor: SqlExecutor,
  statement: CreateTview,
  hooks: ApplyHooks = {},
): Promise<Applied> {
  await requireTransaction(executor, 'CREATE TVIEW');
  const registry = await lockRegistry(executor);
  await requireLandlord(executor);

  const table = await tableName(executor, statement);
  const view = { schema: table.schema, name: `v_${table.name.slice('tv_'.length)}` };
  const wanted: Wanted = { statement, fullRefresh: await listedTables(executor, statement), hooks };
  const existing = await findTview(executor, registry, table);
  for (const tview of registry.tviews) {
    // Its writers fail until it is gone. A tview that was moved, not broken, is in nobody's way until it is generated.
    if (tview !== existing && isBroken(registry, tview)) requireInPlace(registry, tview);
  }
  if (existing === undefined) {
    await requireFree(executor, statement, table, view);
    return await create(executor, registry, { ...wanted, table, view, action: 'created', grants: [] });
  }

  const same = { table, advice: existing.plan.advice, rows: 0, isSuspended: existing.isSuspended };
  if (statement.ifExists === 'skip') return { ...same, action: 'skipped' };
  if (statement.ifExists === 'error') requireInPlace(registry, existing);
  // Of the same definition another plan is made where names have changed.
  const inPlace = movedOf(registry, existing).length === 0;
  // A plan from before there were locks on values has none, and the same definition is compiled anew for them.
  const isCurrent = existing.plan.locks !== undefined || statement.ifExists !== 'replace';
  const probed = await compileProbe(executor, registry, existing, wanted);
  const isSame = probed.hasSameText && readsTheSame(probed.plan, existing, registry);
  if (inPlace && isCurrent && isSame) {
    await followFamilies(executor, registry, existing);
    return { ...same, action: 'unchanged' };
  }
  if (statement.ifExists === 'error') {
    throw new TviewsError(
      SqlState.duplicateTable,
      `tview "${table.name}" already exists with another definition`,
      {
        hint: 'Use CREATE OR REPLACE TVIEW to build it anew.',
      },
    );
  }
  refuseWhileRead(registry, existing, 'replace');
  const grants = await grantsOn(executor, existing);
  // For both steps at once: with the tables of the old definition in hand, we would wait for those of the new one.
  const read = [...sourcesOf(registry, existing), ...probed.plan.sources];
  await exclude(executor, { tables: tablesBelow(registry, read), losing: losingWithout(registry, existing) });
  const rest = await dropRegistered(executor, registry, existing);
  return await create(executor, rest, { ...wanted, table, view, action: 'replaced', grants });
}

/** The same in a transaction of its own. */
export async function applyInTransaction(
  executor: SqlExecutor,
  statement: CreateTview,
  hooks: ApplyHooks = {},
): Promise<Applied> {
  return await inTransaction(executor, () => applyTview(executor, statement, hooks));
}

/** What is asked for, its names resolved. */
interface Wanted {
  readonly statement: CreateTview;
  readonly fullRefresh: FullRefresh;
  readonly hooks: ApplyHooks;
}

interface Creation extends Wanted {
  readonly table: QualifiedName;
  readonly view: QualifiedName;
  readonly action: 'created' | 'replaced';
  readonly grants: readonly string[];
}

async function create(executor: SqlExecutor, registry: Registry, creation: Creation): Promise<Applied> {
  const { statement, fullRefresh, table, view, hooks, action, grants } = creation;
  await createView(executor, view, statement.query);
  return await withSettings(executor, { search_path: '' }, async () => {
    hooks.step?.('compile', table);
    const plan = await compile(executor, registry, { view, table, key: statement.key, fullRefresh }, hooks);
    await createTable(executor, plan);

    hooks.step?.('lock', table);
    // A transaction that has written a source before its capture was there, or was as wide as this tview needs, owes us
    // a change nobody has recorded. This lock waits until all of those are over, and keeps new ones out until we commit.
    // Tables behind tviews that we read count too: their writers may be about to flush with a flush that knows nothing of
    // us. The triggers below take the same lock; taken here, all at once and in one order, nothing is half done.
    await exclude(executor, { tables: tablesBelow(registry, plan.sources) });

    hooks.step?.('capture', table);
    const extended = await register(executor, registry, statement, plan);
    const tview = extended.tviews.at(-1)!;
    // With a ticket that no snapshot older than this transaction's commit sees: the fill has read what such a one does not.
    await executor.query(`CREATE SEQUENCE tviews.${ticketName(tview.id)}`);
    await stampTicket(executor, tview.id);
    await generateSources(executor, extended, tview, { moved: 'refuse' });
    await generateRefresh(executor, extended, tview);
    await generateFlush(executor, extended);

    hooks.step?.('fill', table);
    const rows = await fill(executor, plan);
    for (const grant of grants) await executor.query(grant);
    return { action, isSuspended: false, table, advice: plan.advice, rows };
  });
}

async function compile(
  executor: SqlExecutor,
  registry: Registry,
  input: Omit<Parameters<Compile>[1], 'isTview'>,
  hooks: ApplyHooks,
): Promise<RefreshPlan> {
  // Loaded here, not above: the compiler carries PostgreSQL's grammar, which nothing else of this folder needs.
  const compileDefinition = hooks.compile ?? (await import('../definition/compile.ts')).compileDefinition;
  return await compileDefinition(executor, {
    ...input,
    isTview: isTviewOf(registry),
  });
}

/** What a tview's definition compiles to now. */
export const compileAgain = (
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
): Promise<RefreshPlan> => compile(executor, registry, compilerInput(registry, tview), {});

async function requireLandlord(executor: SqlExecutor): Promise<void> {
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
  const [row] = await executor.query<{ schema: string | null }>(
    'SELECT pg_catalog.current_schema() AS schema',
  );
  if (row?.schema == null) throw new TviewsError('3F000', 'no schema has been selected to create in');
  return { schema: row.schema, name };
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

async function requireFree(
  executor: SqlExecutor,
  statement: CreateTview,
  ...names: readonly QualifiedName[]
): Promise<void> {
  for (const name of names) {
    const [row] = await executor.query<{ taken: boolean }>(
      'SELECT pg_catalog.to_regclass($1) IS NOT NULL AS taken',
      [quoteQualified(name)],
    );
    if (!row!.taken) continue;
    throw new TviewsError(SqlState.duplicateTable, `relation "${name.name}" already exists`, {
      detail: `It is no tview. CREATE TVIEW ${statement.name} needs the names of both the table and the view.`,
      hint: 'Rename or drop it.',
    });
  }
}

async function createView(executor: SqlExecutor, view: QualifiedName, query: string): Promise<void> {
  const prefix = `CREATE VIEW ${quoteQualified(view)} AS\n`;
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

async function createTable(executor: SqlExecutor, plan: RefreshPlan): Promise<void> {
  const columns = plan.columns.map(
    ({ name, type, collation }) =>
      `  ${quoteIdentifier(name)} ${type}${collation === null ? '' : ` COLLATE ${collation}`}`,
  );
  // Room in each page, so that a new version of a row mostly finds place beside the old one and no index is touched.
  await executor.query(
    `CREATE TABLE ${quoteQualified(plan.table)} (\n${columns.join(',\n')}\n) WITH (fillfactor = 85)`,
  );
}

async function register(
  executor: SqlExecutor,
  registry: Registry,
  statement: CreateTview,
  plan: RefreshPlan,
): Promise<Registry> {
  const [oids] = await executor.query<{ table: string; view: string }>(
    'SELECT $1::pg_catalog.regclass::oid::bigint AS table, $2::pg_catalog.regclass::oid::bigint AS view',
    [quoteQualified(plan.table), quoteQualified(plan.view)],
  );
  const key = plan.key.map(({ name }) => name);
  const keyOperators = await equalityOperators(executor, oids!.table, key);
  const [row] = await executor.query<{ id: number }>(
    `INSERT INTO tviews.tview (
       schema, name, relation, view, key_columns, key_operators, requested_key, definition, plan
     )
     VALUES ($1, $2, $3::oid, $4::oid, $5, $6, $7, $8, $9::text::jsonb)
     RETURNING id`,
    [
      plan.table.schema,
      plan.table.name,
      oids!.table,
      oids!.view,
      key,
      keyOperators,
      statement.key,
      plan.definition,
      JSON.stringify(plan),
    ],
  );
  const sources = [...registry.sources];
  const sourceIds: number[] = [];
  for (const { oid, kind, table } of plan.sources) {
    let source = sources.find((known) => known.oid === oid);
    if (source === undefined) {
      const [added] = await executor.query<{ id: number }>(
        'INSERT INTO tviews.source (relation, kind) VALUES ($1::oid, $2) RETURNING id',
        [oid, kind],
      );
      source = { id: added!.id, oid, kind, table };
      sources.push(source);
    }
    sourceIds.push(source.id);
  }
  await executor.query(
    `INSERT INTO tviews.tview_source (tview, source, place)
     SELECT $1, s.id, s.place FROM pg_catalog.unnest($2::integer[]) WITH ORDINALITY AS s (id, place)`,
    [row!.id, sourceIds],
  );
  const tview: RegisteredTview = {
    id: row!.id,
    oid: Number(oids!.table),
    viewOid: Number(oids!.view),
    schema: plan.table.schema,
    name: plan.table.name,
    requestedKey: statement.key,
    keyOperators,
    plan,
    table: plan.table,
    view: plan.view,
    sourceIds,
    isSuspended: false,
    problem: null,
  };
  return { ...registry, tviews: [...registry.tviews, tview], sources };
}

/** In a statement after the locks, so with a snapshot that has everything committed by those we waited for. */
async function fill(executor: SqlExecutor, plan: RefreshPlan): Promise<number> {
  const table = quoteQualified(plan.table);
  const columns = plan.columns.map(({ name }) => quoteIdentifier(name)).join(', ');
  const key = plan.key.map(({ name }) => quoteIdentifier(name)).join(', ');
  const rows = await withSettings(executor, computeSettings, async () => {
    const [filled] = await executor.query<{ rows: string }>(
      `WITH filled AS (
         INSERT INTO ${table} (${columns}) SELECT ${columns} FROM ${quoteQualified(plan.view)} RETURNING true
       )
       SELECT count(*)::bigint AS rows FROM filled`,
    );
    return Number(filled!.rows);
  });
  try {
    await executor.query(`ALTER TABLE ${table} ADD PRIMARY KEY (${key})`);
  } catch (error) {
    throw badKey(error, plan);
  }
  await executor.query(
    `CREATE TRIGGER tviews_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ${table}
     FOR EACH STATEMENT WHEN (pg_catalog.current_setting('tviews.flushing', true) IS DISTINCT FROM 'on')
     EXECUTE FUNCTION tviews.refuse_write();
     ANALYZE ${table}`,
  );
  return rows;
}

function badKey(error: unknown, plan: RefreshPlan): unknown {
  const names = plan.key.map(({ name }) => name).join(', ');
  const code = sqlStateOf(error);
  if (code === '23505') {
    return new TviewsError(
      SqlState.cardinalityViolation,
      `definition of tview "${plan.table.schema}.${plan.table.name}" gives more than one row for a key`,
      {
        detail: (error as { detail?: string }).detail,
        hint: `Group the rows of the definition by (${names}), or give the tview another key: WITH (key = '…').`,
        cause: error,
      },
    );
  }
  if (code === '23502') {
    return new TviewsError(
      '23502',
      `definition of tview "${plan.table.schema}.${plan.table.name}" gives a row whose key is null`,
      { detail: `The key is (${names}).`, hint: 'Leave such rows out in the definition.', cause: error },
    );
  }
  return error;
}

/** What the statement's definition would compile to, beside the tview there is; and whether the server makes the same of both texts. */
async function compileProbe(
  executor: SqlExecutor,
  registry: Registry,
  existing: RegisteredTview,
  { statement, fullRefresh, hooks }: Wanted,
): Promise<{ readonly plan: RefreshPlan; readonly hasSameText: boolean }> {
  const { table } = existing.plan;
  const probe = { schema: table.schema, name: `tviews_probe_${existing.id}` };
  await createView(executor, probe, statement.query);
  return await withSettings(executor, { search_path: '' }, async () => {
    // Formatting, comments and unqualified names do not count. Of a view that is gone: null.
    const [row] = await executor.query<{ same: boolean | null }>(
      `SELECT pg_catalog.pg_get_viewdef($1::pg_catalog.regclass)
         = pg_catalog.pg_get_viewdef(pg_catalog.to_regclass($2)) AS same`,
      [quoteQualified(probe), quoteQualified(existing.plan.view)],
    );
    // The same text may read something else by now: a view below it was replaced, a source renamed, a primary key dropped.
    const input = { view: probe, table, key: statement.key, fullRefresh };
    const plan = await compile(executor, registry, input, hooks);
    await executor.query(`DROP VIEW ${quoteQualified(probe)}`);
    return { plan, hasSameText: row!.same === true };
  });
}

/** Puts the capture on partitions that were not there when it was generated last. */
async function followFamilies(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
): Promise<void> {
  const changed = (await changedFamilies(executor)).filter(({ source }) => tview.sourceIds.includes(source));
  for (const { source } of changed) await generateCapture(executor, registry, source);
  if (changed.length > 0) await generateFlush(executor, registry);
}

/** What others may do with the table, as statements that say it again of the table that takes its place. */
async function grantsOn(executor: SqlExecutor, tview: RegisteredTview): Promise<string[]> {
  const rows = await executor.query<{ command: string }>(
    `SELECT pg_catalog.format(
       'GRANT %s ON TABLE %s TO %s%s', a.privilege_type, $2::text,
       CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END,
       CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
     ) AS command
     FROM pg_catalog.pg_class AS c
     CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
     WHERE c.oid = $1 AND a.grantee <> c.relowner`,
    [tview.oid, quoteQualified(tview.plan.table)],
  );
  return rows.map(({ command }) => command);
}

export { dropTview };
