/**
 * What people have given a tview's table beside what the definition says: columns and their values, indexes, constraints,
 * triggers, policies, comments, grants. Kept where another table takes its place, or the change is refused: nothing goes unsaid.
 */
import type { QualifiedName, RefreshPlan } from '../definition/plan.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import { ownColumns } from './adopted-parts.ts';
import type { SqlExecutor } from './executor.ts';
import { sqlFile } from './files.ts';
import { quoteQualified, writtenName } from './identifier.ts';
import type { RegisteredTview } from './registry.ts';
import { sqlStateOf, withSettings } from './session.ts';
import { computeSettings } from './settings.ts';

const belongingsSql = sqlFile('belongings.sql');
const usersSql = sqlFile('users.sql');

/** Objects that would go with it, or keep it from being dropped. */
export async function usersOf(executor: SqlExecutor, tview: RegisteredTview): Promise<string[]> {
  const rows = await executor.query<{ name: string }>(usersSql(), [tview.oid, viewOid(tview)]);
  return rows.map(({ name }) => name);
}

const viewOid = (tview: RegisteredTview): number => (tview.view === null ? 0 : tview.viewOid);

/** Of a tview that is to be replaced by one beside it. @throws 42501 it is another's; 2BP01 with the list */
export async function refuseWhileUsed(executor: SqlExecutor, tview: RegisteredTview): Promise<void> {
  const [owned] = await executor.query<{ owner: string; ours: boolean }>(
    `SELECT c.relowner::pg_catalog.regrole::text AS owner, pg_catalog.pg_has_role(c.relowner, 'USAGE') AS ours
     FROM pg_catalog.pg_class AS c WHERE c.oid = $1`,
    [tview.oid],
  );
  if (owned?.ours === false) {
    throw new TviewsError(
      SqlState.insufficientPrivilege,
      `must be owner of tview ${writtenName(tview)} to replace it`,
      { hint: `Connect as a member of role ${owned.owner}.` },
    );
  }
  const users = await usersOf(executor, tview);
  if (users.length === 0) return;
  throw new TviewsError(
    SqlState.dependentObjectsStillExist,
    `cannot replace tview ${writtenName(tview)} because other objects depend on it`,
    {
      detail: users.join('\n'),
      hint: 'Drop those first, and make them again when it is replaced; or only add columns at the end of the definition.',
    },
  );
}

/** As statements to run when table and view of this plan have the old ones' names, which are these already. */
export async function belongingsOf(
  executor: SqlExecutor,
  tview: RegisteredTview,
  { table, view, columns }: Pick<RefreshPlan, 'table' | 'view' | 'columns'>,
): Promise<string[]> {
  if (tview.table === null) return [];
  const own = (await ownColumns(executor, tview)).map(({ name }) => name);
  const rows = await withSettings(executor, computeSettings, async () =>
    executor.query<{ command: string }>(belongingsSql(), [
      tview.oid,
      viewOid(tview),
      quoteQualified(table),
      quoteQualified(view),
      [...columns.map(({ name }) => name), ...own],
    ]),
  );
  return rows.map(({ command }) => command);
}

/** Runs these statements. @throws 2BP01 which of them the new table does not allow */
export async function giveAgain(
  executor: SqlExecutor,
  tview: RegisteredTview,
  commands: readonly string[],
): Promise<void> {
  for (const command of commands) {
    try {
      await executor.query(command);
    } catch (error) {
      if (!sqlStateOf(error)?.startsWith('42')) throw error;
      throw new TviewsError(
        SqlState.dependentObjectsStillExist,
        `cannot replace tview ${writtenName(tview)}: what its table was given could not be kept`,
        {
          detail: `PostgreSQL says: ${(error as Error).message}, of: ${command}`,
          hint: 'Take it from the old table first, or keep what it needs in the definition.',
          cause: error,
        },
      );
    }
  }
}

/** The statement that says an entry `a` of an access list again, of this relation. */
const grantOn = (relation: string): string => `pg_catalog.format(
  'GRANT %s ON TABLE %s TO %s%s', a.privilege_type, ${relation},
  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END,
  CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
)`;

/** What the administrator has said that everybody gets of a new table in this schema: ours was made in another. */
export async function defaultGrants(
  executor: SqlExecutor,
  { oid }: Pick<RegisteredTview, 'oid'>,
  { table, view }: Pick<RefreshPlan, 'table' | 'view'>,
): Promise<string[]> {
  const rows = await executor.query<{ command: string }>(
    `SELECT ${grantOn('relation.name')} AS command
     FROM pg_catalog.pg_default_acl AS d
     LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = d.defaclnamespace
     CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) AS a
     CROSS JOIN pg_catalog.unnest($2::text[]) AS relation (name)
     JOIN pg_catalog.pg_class AS c ON c.oid = $3::oid AND c.relowner = d.defaclrole
     WHERE d.defaclobjtype = 'r'
       AND (d.defaclnamespace = 0 OR n.nspname = $1) AND a.grantee <> d.defaclrole`,
    [table.schema, [quoteQualified(table), quoteQualified(view)], oid],
  );
  return rows.map(({ command }) => command);
}

/** What others may do with the table, as statements that say it again of the table that takes its place, under this name. */
export async function grantsOn(
  executor: SqlExecutor,
  tview: RegisteredTview,
  table: QualifiedName,
): Promise<string[]> {
  const rows = await executor.query<{ command: string }>(
    `SELECT ${grantOn('$2::text')} AS command
     FROM pg_catalog.pg_class AS c
     CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
     WHERE c.oid = $1 AND a.grantee <> c.relowner`,
    [tview.oid, quoteQualified(table)],
  );
  return rows.map(({ command }) => command);
}
