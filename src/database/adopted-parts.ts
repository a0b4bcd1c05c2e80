/**
 * The parts of a table that people have given it beside what the definition says: columns and their values, constraints, indexes. Made
 * of another table that is to take its place, while that one is still empty.
 */
import type { Column, QualifiedName } from '../definition/plan.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import type { SqlExecutor } from './executor.ts';
import { quoteIdentifier, quoteQualified, writtenName } from './identifier.ts';
import { keysEqual, toColumn } from './refresh-function.ts';
import type { RegisteredTview } from './registry.ts';
import { sqlStateOf, withSettings } from './session.ts';
import { computeSettings } from './settings.ts';
import { hasSameKey } from './wanted.ts';

interface OwnColumn {
  readonly name: string;
  readonly type: string;
  /** What follows the type in ADD COLUMN. */
  readonly rest: string;
  /** Computed from others by PostgreSQL: no value to keep. */
  readonly isGenerated: boolean;
  /** Of an identity or serial column: it goes with the table, and a second one gives the same numbers again. */
  readonly hasSequence: boolean;
}

/** A part of a table: its name there, and what makes it again of another table. */
interface Part {
  readonly kind: 'column' | 'constraint' | 'index';
  readonly name: string;
  /**
   * What it is called until the other table has this one's place. An index has its name in a schema, where that of another table may
   * have the same; so it is called after its oid, by which one that was made anew meanwhile is known, too.
   */
  readonly built: string;
  readonly command: string;
}

/**
 * Gives a table that is to take another's place the columns, constraints and indexes people have given that one, as far as it
 * has not got them yet.
 * @returns statements that give them their names, to run when the other table has taken its place in this schema
 * @throws 2BP01 what cannot be kept
 */
export async function adoptParts(
  executor: SqlExecutor,
  from: RegisteredTview,
  to: Pick<RegisteredTview, 'plan'> & { readonly table: QualifiedName },
  schema: string,
): Promise<string[]> {
  if (from.table === null) return [];
  const columns = await ownColumns(executor, from);
  const has = await partNames(executor, to.table);
  const clash = columns.find(({ name }) => to.plan.columns.some((column) => column.name === name));
  if (clash !== undefined)
    throw notKept(from, 'column', clash.name, 'The definition has a column of that name.');
  if (columns.some(({ isGenerated }) => !isGenerated) && !hasSameKey(from.plan, to.plan)) {
    throw notKept(from, 'column', columns[0]!.name, 'Its values go by the key, which is another now.');
  }
  const numbered = columns.find(({ hasSequence }) => hasSequence);
  if (numbered !== undefined)
    throw notKept(from, 'column', numbered.name, 'Its values come from a sequence of its own.');
  const lost = await partOfLostColumn(
    executor,
    from,
    [...to.plan.columns, ...columns].map(({ name }) => name),
  );
  if (lost !== undefined)
    throw notKept(from, lost.kind, lost.name, `The definition has no column "${lost.column}" any more.`);
  const parts = [
    ...columns.map((column) => columnPart(column, to.table)),
    ...(await otherParts(executor, from, to)),
  ];
  await dropParts(executor, to.table, has, parts);
  for (const { kind, name, built, command } of parts) {
    if (has.has(`${kind} ${built}`)) continue;
    try {
      await withSettings(executor, computeSettings, () => executor.query(command));
    } catch (error) {
      throw lostOf(from, kind, name, error);
    }
  }
  // That of a constraint takes its constraint along.
  return parts.flatMap(({ name, built }) =>
    built === name
      ? []
      : [`ALTER INDEX ${quoteQualified({ schema, name: built })} RENAME TO ${quoteIdentifier(name)}`],
  );
}

/** Those that are not the old table's any more. */
async function dropParts(
  executor: SqlExecutor,
  table: QualifiedName,
  has: ReadonlySet<string>,
  parts: readonly Part[],
): Promise<void> {
  for (const part of has) {
    const [, kind, built] = /^(constraint own_c|index own_i)([0-9]+)$/.exec(part) ?? [];
    if (kind === undefined || parts.some((one) => `${one.kind} ${one.built}` === part)) continue;
    await executor.query(
      kind.startsWith('constraint')
        ? `ALTER TABLE ${quoteQualified(table)} DROP CONSTRAINT own_c${built}`
        : `DROP INDEX ${quoteQualified({ schema: table.schema, name: `own_i${built}` })}`,
    );
  }
}

/** What it needs of the old definition, the new one has not. */
function lostOf(from: RegisteredTview, kind: string, name: string, error: unknown): unknown {
  if (!sqlStateOf(error)?.startsWith('42')) return error;
  return notKept(from, kind, name, `PostgreSQL says: ${(error as Error).message}.`, error);
}

const notKept = (
  tview: RegisteredTview,
  kind: string,
  name: string,
  detail: string,
  cause?: unknown,
): TviewsError =>
  new TviewsError(
    SqlState.dependentObjectsStillExist,
    `cannot replace tview ${writtenName(tview)}: its ${kind} "${name}" could not be kept`,
    { detail, hint: `Drop the ${kind} first, or keep what it needs in the definition.`, cause },
  );

/** Columns of the table that are not the definition's. */
export async function ownColumns(
  executor: SqlExecutor,
  { oid, plan }: RegisteredTview,
): Promise<OwnColumn[]> {
  return await withSettings(executor, computeSettings, () =>
    executor.query<OwnColumn>(
      `SELECT
         a.attname AS name,
         format_type(a.atttypid, a.atttypmod) AS type,
         concat(
           (
             SELECT format(' COLLATE %I.%I', n.nspname, l.collname)
             FROM pg_collation AS l
             JOIN pg_namespace AS n ON n.oid = l.collnamespace
             JOIN pg_type AS y ON y.oid = a.atttypid AND y.typcollation <> a.attcollation
             WHERE l.oid = a.attcollation
           ),
           CASE a.attgenerated
             WHEN 's' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED'
             WHEN 'v' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') VIRTUAL'
             ELSE ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
           END,
           CASE WHEN a.attnotnull THEN ' NOT NULL' END
         ) AS rest,
         a.attgenerated <> '' AS "isGenerated",
         EXISTS (
           SELECT FROM pg_depend AS s
           WHERE s.classid = 'pg_class'::regclass AND s.refclassid = 'pg_class'::regclass AND s.deptype IN ('a', 'i')
             AND s.refobjid = a.attrelid AND s.refobjsubid = a.attnum
             AND s.objid IN (SELECT c.oid FROM pg_class AS c WHERE c.relkind = 'S')
         ) AS "hasSequence"
       FROM pg_attribute AS a
       LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL ($2)
       ORDER BY a.attnum`,
      [oid, plan.columns.map(({ name }) => name)],
    ),
  );
}

const columnPart = ({ name, type, rest }: OwnColumn, table: QualifiedName): Part => ({
  kind: 'column',
  name,
  built: name,
  command: `ALTER TABLE ${quoteQualified(table)} ADD COLUMN ${quoteIdentifier(name)} ${type}${rest}`,
});

/** A policy, trigger, rule or statistics, which are made again at the end, over a column that is none of these. */
async function partOfLostColumn(
  executor: SqlExecutor,
  { oid }: RegisteredTview,
  columns: readonly string[],
): Promise<{ readonly kind: string; readonly name: string; readonly column: string } | undefined> {
  const [row] = await executor.query<{ kind: string; name: string; column: string }>(
    `SELECT part.kind, part.name, a.attname AS "column"
     FROM (
       SELECT 'policy' AS kind, p.polname AS name, p.tableoid AS class, p.oid FROM pg_catalog.pg_policy AS p WHERE p.polrelid = $1
       UNION ALL
       SELECT 'trigger', t.tgname, t.tableoid, t.oid FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = $1 AND NOT t.tgisinternal
       UNION ALL
       SELECT 'rule', w.rulename, w.tableoid, w.oid FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class = $1
       UNION ALL
       SELECT 'statistics object', s.stxname, s.tableoid, s.oid FROM pg_catalog.pg_statistic_ext AS s WHERE s.stxrelid = $1
     ) AS part
     JOIN pg_catalog.pg_depend AS d
       ON d.classid = part.class AND d.objid = part.oid
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = $1
     JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attnum > 0
     WHERE a.attname <> ALL ($2)
     ORDER BY 1, 2, 3
     LIMIT 1`,
    [oid, columns],
  );
  return row;
}

/** Constraints but for the key, and indexes that stand behind none. */
async function otherParts(
  executor: SqlExecutor,
  { oid, plan }: RegisteredTview,
  to: Pick<RegisteredTview, 'plan'> & { readonly table: QualifiedName },
): Promise<Part[]> {
  const keys = [...plan.key, ...to.plan.key].map(({ name }) => name);
  const kept = to.plan.columns.map(({ name }) => name).filter((name) => !keys.includes(name));
  return await withSettings(executor, computeSettings, () =>
    executor.query<Part>(
      `SELECT 'constraint' AS kind, o.conname AS name, called.built,
         format('ALTER TABLE %s ADD CONSTRAINT %I %s', $2::text, called.built, pg_get_constraintdef(o.oid)) AS command
       FROM pg_constraint AS o
       CROSS JOIN LATERAL (SELECT CASE WHEN o.contype IN ('u', 'x') THEN 'own_c' || o.oid ELSE o.conname END AS built) AS called
       WHERE o.conrelid = $1 AND o.contype IN ('u', 'c', 'x', 'f')
       UNION ALL
       SELECT 'constraint', a.attname || ' IS NOT NULL', a.attname || ' IS NOT NULL',
         format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', $2::text, a.attname)
       FROM pg_attribute AS a
       WHERE a.attrelid = $1 AND a.attnotnull AND a.attname = ANY ($3)
       UNION ALL
       SELECT 'index', c.relname, 'own_i' || c.oid,
         format(
           'CREATE %sINDEX %I ON %s%s',
           CASE WHEN i.indisunique THEN 'UNIQUE ' END, 'own_i' || c.oid, $2::text,
           -- The definition, from behind the table's name on.
           substr(
             pg_get_indexdef(i.indexrelid),
             length(format(
               'CREATE %sINDEX %I ON %I.%I',
               CASE WHEN i.indisunique THEN 'UNIQUE ' END, c.relname, n.nspname, t.relname
             )) + 1
           )
         )
       FROM pg_index AS i
       JOIN pg_class AS c ON c.oid = i.indexrelid
       JOIN pg_class AS t ON t.oid = i.indrelid
       JOIN pg_namespace AS n ON n.oid = t.relnamespace
       WHERE i.indrelid = $1 AND i.indisvalid
         AND NOT EXISTS (SELECT FROM pg_constraint AS o WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x'))
       ORDER BY 1, 2`,
      [oid, quoteQualified(to.table), kept],
    ),
  );
}

async function partNames(executor: SqlExecutor, table: QualifiedName): Promise<Set<string>> {
  const rows = await executor.query<{ part: string }>(
    `SELECT 'column ' || a.attname AS part FROM pg_catalog.pg_attribute AS a
     WHERE a.attrelid = $1::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
     UNION ALL
     SELECT 'constraint ' || a.attname || ' IS NOT NULL' FROM pg_catalog.pg_attribute AS a
     WHERE a.attrelid = $1::pg_catalog.regclass AND a.attnum > 0 AND a.attnotnull
     UNION ALL
     SELECT 'constraint ' || o.conname FROM pg_catalog.pg_constraint AS o WHERE o.conrelid = $1::pg_catalog.regclass
     UNION ALL
     SELECT 'index ' || c.relname FROM pg_catalog.pg_index AS i
     JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = $1::pg_catalog.regclass`,
    [quoteQualified(table)],
  );
  return new Set(rows.map(({ part }) => part));
}

/**
 * Brings the values of people's own columns into the table that takes another's place, where they differ.
 * @param places of the keys in the list of those to fill; null: of all rows
 */
export async function copyValues(
  executor: SqlExecutor,
  from: RegisteredTview,
  to: RegisteredTview,
  places: { readonly list: string; readonly after: number; readonly upto: number } | null,
): Promise<void> {
  if (from.table === null) return;
  const columns = (await ownColumns(executor, from)).filter(({ isGenerated }) => !isGenerated);
  if (columns.length === 0) return;
  const names = columns.map(({ name }) => quoteIdentifier(name));
  const isKeyOf = (right: (column: Column, index: number) => string): string =>
    keysEqual({ plan: to.plan, keyEquality: to.keyOperators }, 't', right);
  const row = (alias: string): string =>
    `ROW(${names.map((name) => `${alias}.${name}`).join(', ')})::pg_catalog.record`;
  const listed =
    places === null
      ? ''
      : `AND EXISTS (
           SELECT FROM ${places.list} AS k
           WHERE k.place > ${places.after} AND k.place <= ${places.upto} AND ${isKeyOf((_, i) => `k.k${i + 1}`)}
         )`;
  await executor.query(`SELECT pg_catalog.set_config('tviews.flushing', 'on', true)`);
  await executor.query(
    `UPDATE ${quoteQualified(to.table!)} AS t
     SET ${names.map((name) => `${name} = o.${name}`).join(', ')}
     FROM ${quoteQualified(from.table!)} AS o
     WHERE ${isKeyOf(toColumn('o'))} AND ${row('t')} OPERATOR(pg_catalog.*<>) ${row('o')} ${listed}`,
  );
  await executor.query(`SELECT pg_catalog.set_config('tviews.flushing', 'off', true)`);
}
