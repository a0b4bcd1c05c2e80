/**
 * The families of tables: a partitioned table and its partitions, a table and those that inherit from it. A statement fires
 * the statement triggers of the table it names and of no other, whichever member's rows it writes; so what a source is in
 * its family decides where its capture has to be, and what of its constraints can be believed.
 */
import type { SqlExecutor } from '../database/executor.ts';
import type { Form } from './plan.ts';

export interface Family {
  readonly form: Form | 'child';
  /** Whether other tables' rows are read with its own. */
  readonly hasChildren: boolean;
  /** Of a partition: the columns by which its rows came to it, and not to another partition. */
  readonly partitionColumns: readonly string[];
  /**
   * Whether its primary key tells its rows from all those a statement can write together with them: from those of a
   * partition's neighbours, too. Never of a table that others inherit from: constraints are not inherited.
   */
  readonly isKeyed: boolean;
  /** A member whose rows are read with its own and cannot be watched, and why; null where all can. */
  readonly unfit: { readonly name: string; readonly kind: 'foreign' | 'temporary' } | null;
}

const familiesQuery = `
  WITH RECURSIVE up (relation, ancestor) AS (
    SELECT class.oid, class.oid FROM pg_catalog.pg_class AS class WHERE class.oid = ANY ($1::oid[])
    UNION
    SELECT up.relation, inherits.inhparent
    FROM up
    JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhrelid = up.ancestor
  ), down (relation, member) AS (
    SELECT class.oid, class.oid FROM pg_catalog.pg_class AS class WHERE class.oid = ANY ($1::oid[])
    UNION
    SELECT down.relation, inherits.inhrelid
    FROM down
    JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhparent = down.member
  ), key AS (
    SELECT index.indrelid AS relation,
           (SELECT pg_catalog.array_agg(attribute.attname ORDER BY attribute.attname)
            FROM pg_catalog.pg_attribute AS attribute
            WHERE attribute.attrelid = index.indrelid AND attribute.attnum = ANY (index.indkey::int2[])) AS columns
    FROM pg_catalog.pg_index AS index
    WHERE index.indisprimary AND index.indrelid IN (SELECT up.ancestor FROM up)
  )
  SELECT class.oid::int8,
         CASE
           WHEN class.relispartition THEN 'partition'
           WHEN class.relkind = 'p' THEN 'partitioned'
           WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits AS above WHERE above.inhrelid = class.oid) THEN 'child'
           WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits AS below WHERE below.inhparent = class.oid) THEN 'parent'
           ELSE 'table'
         END AS form,
         class.relkind = 'p'
           OR EXISTS (SELECT FROM pg_catalog.pg_inherits AS below WHERE below.inhparent = class.oid) AS "hasChildren",
         -- Those in expressions, too: each column that partitions a table depends on the table, and on nothing else does.
         COALESCE((
           SELECT pg_catalog.jsonb_agg(DISTINCT attribute.attname)
           FROM up
           JOIN pg_catalog.pg_depend AS depend
             ON depend.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND depend.objid = up.ancestor
             AND depend.refclassid = depend.classid AND depend.refobjid = depend.objid
             AND depend.objsubid > 0 AND depend.refobjsubid = 0 AND depend.deptype = 'i'
           JOIN pg_catalog.pg_attribute AS attribute
             ON attribute.attrelid = depend.objid AND attribute.attnum = depend.objsubid
           WHERE class.relispartition AND up.relation = class.oid AND up.ancestor <> class.oid
         ), '[]') AS "partitionColumns",
         CASE
           WHEN class.relispartition THEN COALESCE((
             SELECT pg_catalog.bool_and(COALESCE(theirs.columns = own.columns, false))
             FROM up
             LEFT JOIN key AS theirs ON theirs.relation = up.ancestor
             LEFT JOIN key AS own ON own.relation = class.oid
             WHERE up.relation = class.oid
           ), false)
           ELSE class.relkind = 'p'
             OR NOT EXISTS (SELECT FROM pg_catalog.pg_inherits AS link WHERE class.oid IN (link.inhrelid, link.inhparent))
         END AS "isKeyed",
         (
           SELECT pg_catalog.jsonb_build_object(
             'name', pg_catalog.format('%I.%I', namespace.nspname, member.relname),
             'kind', CASE member.relkind WHEN 'f' THEN 'foreign' ELSE 'temporary' END
           )
           FROM down
           JOIN pg_catalog.pg_class AS member ON member.oid = down.member
           JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = member.relnamespace
           WHERE down.relation = class.oid AND member.oid <> class.oid
             AND (member.relkind = 'f' OR member.relpersistence = 't')
           ORDER BY member.oid
           LIMIT 1
         ) AS unfit
  FROM pg_catalog.pg_class AS class
  WHERE class.oid = ANY ($1::oid[])`;

// Most tables have no family, and planning the query above takes ten times as long as running it.
const relativesQuery = `
  SELECT class.oid::int8,
         class.relkind = 'p' AS "isPartitioned",
         EXISTS (
           SELECT FROM pg_catalog.pg_inherits AS link WHERE link.inhrelid = class.oid OR link.inhparent = class.oid
         ) AS "hasRelatives"
  FROM pg_catalog.pg_class AS class
  WHERE class.oid = ANY ($1::oid[])`;

/** By oid; of views and the like as of a table that has no family. */
export async function loadFamilies(
  executor: SqlExecutor,
  oids: readonly number[],
): Promise<ReadonlyMap<number, Family>> {
  const found = await executor.query<{ oid: string; isPartitioned: boolean; hasRelatives: boolean }>(
    relativesQuery,
    [oids],
  );
  const families = new Map<number, Family>(
    found.map(({ oid, isPartitioned }) => [Number(oid), aloneFamily(isPartitioned)]),
  );
  const related = found.flatMap(({ oid, hasRelatives }) => (hasRelatives ? [oid] : []));
  if (related.length === 0) return families;
  const rows = await executor.query<Family & { oid: string }>(familiesQuery, [related]);
  for (const { oid, ...family } of rows) families.set(Number(oid), family);
  return families;
}

const aloneFamily = (isPartitioned: boolean): Family => ({
  form: isPartitioned ? 'partitioned' : 'table',
  hasChildren: isPartitioned,
  partitionColumns: [],
  isKeyed: true,
  unfit: null,
});
