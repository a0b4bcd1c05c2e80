/** What makes a tview of a plan: its table, its registration, the capture of its sources, the refresh and flush functions. */
import type { Column, CreateTview, RefreshPlan } from '../definition/plan.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import { equalityOperators } from './equality.ts';
import type { SqlExecutor } from './executor.ts';
import { ticketName } from './flush-function.ts';
import { generateFlush, generateRefresh, generateSources, stampTicket } from './generate.ts';
import { quoteIdentifier, quoteQualified } from './identifier.ts';
import type { RegisteredTview, Registry } from './registry.ts';
import { sqlStateOf } from './session.ts';

/** A column as CREATE TABLE and ADD COLUMN have it. */
export const declared = ({ name, type, collation }: Column): string =>
  `${quoteIdentifier(name)} ${type}${collation === null ? '' : ` COLLATE ${collation}`}`;

export async function createTable(executor: SqlExecutor, plan: RefreshPlan): Promise<void> {
  const columns = plan.columns.map((column) => `  ${declared(column)}`);
  // Room in each page, so that a new version of a row mostly finds place beside the old one and no index is touched.
  await executor.query(
    `CREATE TABLE ${quoteQualified(plan.table)} (\n${columns.join(',\n')}\n) WITH (fillfactor = 85)`,
  );
}

/** Once it is there, a row of a key that has one already, or of none, is an error. */
export async function addKey(executor: SqlExecutor, plan: RefreshPlan): Promise<void> {
  const key = plan.key.map(({ name }) => quoteIdentifier(name)).join(', ');
  try {
    await executor.query(`ALTER TABLE ${quoteQualified(plan.table)} ADD PRIMARY KEY (${key})`);
  } catch (error) {
    throw badKey(error, plan);
  }
}

export async function addGuard(executor: SqlExecutor, plan: RefreshPlan): Promise<void> {
  await executor.query(
    `CREATE TRIGGER tviews_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ${quoteQualified(plan.table)}
     FOR EACH STATEMENT WHEN (pg_catalog.current_setting('tviews.flushing', true) IS DISTINCT FROM 'on')
     EXECUTE FUNCTION tviews.refuse_write()`,
  );
}

function badKey(error: unknown, plan: RefreshPlan): unknown {
  const code = sqlStateOf(error);
  if (code === '23505') return duplicateKey(plan, (error as { detail?: string }).detail, error);
  if (code === '23502') return nullKey(plan, error);
  return error;
}

export const duplicateKey = (plan: RefreshPlan, detail: string | undefined, cause?: unknown): TviewsError =>
  new TviewsError(
    SqlState.cardinalityViolation,
    `definition of tview "${plan.table.schema}.${plan.table.name}" gives more than one row for a key`,
    {
      detail,
      hint: `Group the rows of the definition by (${keyNames(plan)}), or give the tview another key: WITH (key = '…').`,
      cause,
    },
  );

export const nullKey = (plan: RefreshPlan, cause?: unknown): TviewsError =>
  new TviewsError(
    '23502',
    `definition of tview "${plan.table.schema}.${plan.table.name}" gives a row whose key is null`,
    { detail: `The key is (${keyNames(plan)}).`, hint: 'Leave such rows out in the definition.', cause },
  );

export const keyNames = ({ key }: RefreshPlan): string => key.map(({ name }) => name).join(', ');

/** Its id, before it is registered: what is built beside another is called after it. */
export async function nextId(executor: SqlExecutor): Promise<number> {
  const [row] = await executor.query<{ id: string }>(
    `SELECT pg_catalog.nextval(pg_catalog.pg_get_serial_sequence('tviews.tview', 'id')) AS id`,
  );
  return Number(row!.id);
}

/** With the sources locked against writes. Gives the registry with it, as its last. */
export async function install(
  executor: SqlExecutor,
  registry: Registry,
  statement: CreateTview,
  plan: RefreshPlan,
  id: number,
): Promise<Registry> {
  const extended = await register(executor, registry, statement, plan, id);
  const tview = extended.tviews.at(-1)!;
  // With a ticket that no snapshot older than this transaction's commit sees: the fill reads what such a one does not.
  await executor.query(`CREATE SEQUENCE tviews.${ticketName(tview.id)}`);
  await stampTicket(executor, tview.id);
  await generateSources(executor, extended, tview, { moved: 'refuse' });
  await generateRefresh(executor, extended, tview);
  await generateFlush(executor, extended);
  return extended;
}

async function register(
  executor: SqlExecutor,
  registry: Registry,
  statement: CreateTview,
  plan: RefreshPlan,
  id: number,
): Promise<Registry> {
  const [oids] = await executor.query<{ table: string; view: string }>(
    'SELECT $1::pg_catalog.regclass::oid::bigint AS table, $2::pg_catalog.regclass::oid::bigint AS view',
    [quoteQualified(plan.table), quoteQualified(plan.view)],
  );
  const key = plan.key.map(({ name }) => name);
  const keyOperators = await equalityOperators(
    executor,
    key.map((name) => ({ relation: Number(oids!.table), name })),
  );
  await executor.query(
    `INSERT INTO tviews.tview (
       id, schema, name, relation, view, key_columns, key_operators, requested_key, definition, plan
     )
     OVERRIDING SYSTEM VALUE
     VALUES ($1, $2, $3, $4::oid, $5::oid, $6, $7, $8, $9, $10::text::jsonb)`,
    [
      id,
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
  const { sources, sourceIds } = await registerSources(executor, registry, id, plan);
  const tview: RegisteredTview = {
    id,
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
    construction: null,
  };
  return { ...registry, tviews: [...registry.tviews, tview], sources };
}

/** Says which tables a tview reads, in the order of its plan; those it read before are forgotten. */
export async function registerSources(
  executor: SqlExecutor,
  registry: Registry,
  tview: number,
  plan: RefreshPlan,
): Promise<Pick<Registry, 'sources'> & Pick<RegisteredTview, 'sourceIds'>> {
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
  await executor.query('DELETE FROM tviews.tview_source WHERE tview = $1', [tview]);
  await executor.query(
    `INSERT INTO tviews.tview_source (tview, source, place)
     SELECT $1, s.id, s.place FROM pg_catalog.unnest($2::integer[]) WITH ORDINALITY AS s (id, place)`,
    [tview, sourceIds],
  );
  return { sources, sourceIds };
}
