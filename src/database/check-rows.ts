/** Computes every row of a definition once, before writers have to: what it fails on, they would fail on as well. */
import type { RefreshPlan } from '../definition/plan.ts';
import { TviewsError } from '../errors/errors.ts';
import { adoptParts } from './adopted-parts.ts';
import { addKey, createTable, duplicateKey, keyNames, nullKey } from './create.ts';
import type { SqlExecutor } from './executor.ts';
import { quoteIdentifier, quoteQualified, writtenName } from './identifier.ts';
import { planOf } from './query-plan.ts';
import type { RegisteredTview } from './registry.ts';
import { sqlStateOf, withSettings } from './session.ts';
import { computeSettings } from './settings.ts';
import type { Probe, Wanted } from './wanted.ts';

/** @throws 21000 two rows have one key; 23502 one has none; whatever computing a column ends with */
export async function checkRows(
  executor: SqlExecutor,
  { table }: Wanted,
  { view, plan }: Probe,
): Promise<void> {
  const key = plan.key.map(({ name }) => `v.${quoteIdentifier(name)}`);
  const rest = plan.columns.filter(({ name }) => !plan.key.some((column) => column.name === name));
  // Counted, so that they are computed.
  const computed = rest.map(({ name }) => `, count(v.${quoteIdentifier(name)})`).join('');
  const [bad] = await withSettings(executor, computeSettings, () =>
    executor.query<{ rows: string; is_null: boolean; key: string[] }>(
      `SELECT count(*) AS rows, ${key.map((column) => `${column} IS NULL`).join(' OR ')} AS is_null,
         ARRAY[${key.map((column) => `${column}::text`).join(', ')}] AS key${computed}
       FROM ${quoteQualified(view)} AS v
       GROUP BY ${key.join(', ')}
       HAVING count(*) > 1 OR ${key.map((column) => `${column} IS NULL`).join(' OR ')}
       LIMIT 1`,
    ),
  );
  if (bad === undefined) return;
  const named = { ...plan, table };
  if (bad.is_null) throw nullKey(named);
  throw duplicateKey(named, `Key (${keyNames(plan)})=(${bad.key.join(', ')}) comes ${bad.rows} times.`);
}

/** Rows that are tried on what people have given the old table. */
const triedRows = 100;

/**
 * Whether a table that takes another's place can have that one's columns, constraints and indexes, and its first rows fit them:
 * else the first to be told would be a writer.
 * @throws 2BP01 what cannot be kept; 23… what the rows do not fit
 */
export async function checkParts(
  executor: SqlExecutor,
  existing: RegisteredTview,
  { view, plan }: Probe,
): Promise<void> {
  const table = { schema: view.schema, name: `${view.name}_rows` };
  const tried = { ...plan, table };
  await createTable(executor, tried);
  await addKey(executor, tried);
  await adoptParts(executor, existing, { plan: tried, table }, table.schema);
  const columns = plan.columns.map(({ name }) => quoteIdentifier(name)).join(', ');
  try {
    await withSettings(executor, computeSettings, () =>
      executor.query(
        `INSERT INTO ${quoteQualified(table)} (${columns}) SELECT ${columns} FROM ${quoteQualified(view)} LIMIT ${triedRows}`,
      ),
    );
  } catch (error) {
    const code = sqlStateOf(error);
    if (!code?.startsWith('23')) throw error;
    const name = writtenName(existing);
    throw new TviewsError(code, `rows of the definition do not fit a constraint of tview ${name}`, {
      detail: `PostgreSQL says: ${(error as Error).message}.`,
      hint: 'Drop the constraint first.',
      cause: error,
    });
  }
  await executor.query(`DROP TABLE ${quoteQualified(table)}`);
}

/** How many keys a definition has, as the planner thinks. */
export async function estimateRows(
  executor: SqlExecutor,
  { view, key }: Pick<RefreshPlan, 'view' | 'key'>,
): Promise<number> {
  const names = key.map(({ name }) => quoteIdentifier(name)).join(', ');
  const { rows } = await planOf(executor, `SELECT ${names} FROM ${quoteQualified(view)}`);
  return rows;
}
