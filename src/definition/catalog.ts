/**
 * What the catalog knows about everything a definition reads: the view itself, ordinary views below it, tables. Loaded
 * up front in a few statements, so that resolving is a pure function of texts and these values.
 */

import type { SqlExecutor } from '../database/executor.ts';
import { withSettings } from '../database/session.ts';
import { deparseSettings } from '../database/settings.ts';
import { SqlState, TviewsError } from '../errors/errors.ts';
import { type Family, loadFamilies } from './family.ts';
import { type Owned, strangerSql } from './owner.ts';
import type { Column, QualifiedName } from './plan.ts';

export interface CatalogColumn extends Column {
  readonly number: number;
  /** Type below domains. */
  readonly baseType: number;
  readonly isDomain: boolean;
  readonly isArray: boolean;
  /** Whether a default btree operator class exists, so that the column can be in a primary key. */
  readonly isOrdered: boolean;
  /** Whether a default hash operator class exists for exactly this type: then equal values have equal hashes. */
  readonly isHashable: boolean;
  readonly hasModifier: boolean;
  readonly collationOid: number;
  /** False for collations under which different strings are equal. */
  readonly isDeterministic: boolean;
  readonly notNull: boolean;
  readonly generated: 'no' | 'stored' | 'virtual';
  /** What a generated one is computed by, also in partitions and children; null of any other. */
  readonly generation: {
    /** By names. */
    readonly sql: string;
    /** A digest of the stored trees, in which columns are numbers. */
    readonly tree: string;
  } | null;
}

/** An index that could serve a probe: valid, without a predicate. An expression is null among the columns. */
export interface CatalogIndex {
  readonly name: string;
  readonly columns: readonly (string | null)[];
  readonly isUnique: boolean;
  /** Of a GIN index it makes no difference which of them is the first. */
  readonly method: 'btree' | 'hash' | 'gin';
}

export interface CatalogRelation {
  readonly oid: number;
  readonly name: QualifiedName;
  /** pg_class.relkind */
  readonly relkind: string;
  /** Of a view below the definition, whose owner may not have it (owner.ts); null where all is well, and for tables. */
  readonly stranger: Owned | null;
  readonly isTview: boolean;
  readonly isTemporary: boolean;
  readonly hasRowSecurity: boolean;
  readonly family: Family;
  readonly columns: readonly CatalogColumn[];
  /** Of all the rows that are read by its name: that of a table which others inherit from says nothing of theirs. */
  readonly primaryKey: readonly string[] | null;
  readonly indexes: readonly CatalogIndex[];
}

/** A view as the server keeps it. */
export interface CatalogView {
  readonly oid: number;
  /** pg_get_viewdef with an empty search_path. */
  readonly definition: string;
  /** The stored rule's parse tree (pg_rewrite.ev_action): the only place where built-in functions can be read by oid. */
  readonly tree: string;
  /** Relations PostgreSQL says it reads, with the columns it says are read. */
  readonly reads: ReadonlyMap<number, readonly number[]>;
  /** Relations by whose primary key it groups, and shows their other columns. */
  readonly groupedBy: readonly number[];
}

export interface Catalog {
  /** The major version. */
  readonly serverVersion: number;
  readonly root: CatalogRelation;
  readonly relations: ReadonlyMap<number, CatalogRelation>;
  /** The root and every ordinary view below it. */
  readonly views: ReadonlyMap<number, CatalogView>;
}

const viewsQuery = `
  SELECT rule.ev_class::int8 AS oid,
         pg_catalog.pg_get_viewdef(rule.ev_class) AS definition,
         rule.ev_action::text AS tree,
         COALESCE(
           (SELECT pg_catalog.jsonb_agg(jsonb_build_array(depend.refobjid::int8, depend.refobjsubid))
            FROM pg_catalog.pg_depend AS depend
            WHERE depend.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
              AND depend.objid = rule.oid
              AND depend.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
              AND depend.refobjid <> rule.ev_class),
           '[]') AS reads,
         COALESCE(
           (SELECT pg_catalog.jsonb_agg(DISTINCT key.conrelid::int8)
            FROM pg_catalog.pg_depend AS depend
            JOIN pg_catalog.pg_constraint AS key ON key.oid = depend.refobjid
            WHERE depend.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
              AND depend.objid = rule.oid
              AND depend.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass),
           '[]') AS "groupedBy"
  FROM pg_catalog.pg_rewrite AS rule
  WHERE rule.ev_class = ANY ($1::oid[]) AND rule.rulename = '_RETURN'`;

const relationsQuery = `
  SELECT class.oid::int8 AS oid,
         namespace.nspname AS schema,
         class.relname AS name,
         class.relkind::text AS relkind,
         CASE WHEN class.relkind = 'v' AND ${strangerSql('class.relowner')} THEN pg_catalog.jsonb_build_object(
           'name', class.oid::pg_catalog.regclass::text,
           'owner', class.relowner::pg_catalog.regrole::text,
           'applier', current_user::pg_catalog.regrole::text) END AS stranger,
         class.relpersistence = 't' AS "isTemporary",
         class.relrowsecurity AS "hasRowSecurity"
  FROM pg_catalog.pg_class AS class
  JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
  WHERE class.oid = ANY ($1::oid[])`;

/** Oids of access methods in every database (BTREE_AM_OID, HASH_AM_OID): a join to pg_am would take longer to plan. */
const btreeMethod = 403;
const hashMethod = 405;

// A domain may be over a domain: the recursion ends at the type everything is stored and compared as.
const columnsQuery = `
  WITH RECURSIVE attribute AS (
    SELECT * FROM pg_catalog.pg_attribute WHERE attrelid = ANY ($1::oid[]) AND attnum > 0 AND NOT attisdropped
  ), below (type, base) AS (
    SELECT DISTINCT atttypid, atttypid FROM attribute
    UNION ALL
    SELECT below.type, domain.typbasetype
    FROM below
    JOIN pg_catalog.pg_type AS domain ON domain.oid = below.base AND domain.typtype = 'd'
  ), ordered (type) AS (
    SELECT class.opcintype FROM pg_catalog.pg_opclass AS class
    WHERE class.opcdefault AND class.opcmethod = ${btreeMethod}
  )
  SELECT attribute.attrelid::int8 AS relation,
         attribute.attnum AS number,
         attribute.attname AS name,
         pg_catalog.format_type(attribute.atttypid, attribute.atttypmod) AS type,
         base.oid::int8 AS "baseType",
         type.typtype = 'd' AS "isDomain",
         base.typcategory = 'A' AS "isArray",
         attribute.atttypmod >= 0 AS "hasModifier",
         base.typtype IN ('e', 'r', 'm')
           OR base.oid IN (SELECT ordered.type FROM ordered)
           OR base.oid IN (
             SELECT same.castsource FROM pg_catalog.pg_cast AS same
             WHERE same.castmethod = 'b' AND same.castcontext = 'i'
               AND same.casttarget IN (SELECT ordered.type FROM ordered)) AS "isOrdered",
         base.typtype = 'e' OR CASE base.oid WHEN 1043 THEN 25 ELSE base.oid END IN (
           SELECT class.opcintype FROM pg_catalog.pg_opclass AS class
           WHERE class.opcdefault AND class.opcmethod = ${hashMethod}) AS "isHashable",
         attribute.attcollation::int8 AS "collationOid",
         COALESCE(coll.collisdeterministic, true) AS "isDeterministic",
         CASE WHEN attribute.attcollation <> type.typcollation THEN
           pg_catalog.quote_ident(place.nspname) || '.' || pg_catalog.quote_ident(coll.collname)
         END AS collation,
         attribute.attnotnull OR type.typnotnull AS "notNull",
         CASE attribute.attgenerated WHEN '' THEN 'no' WHEN 's' THEN 'stored' ELSE 'virtual' END AS generated,
         CASE WHEN attribute.attgenerated <> '' THEN (
           -- A partition or a child can have another one.
           WITH RECURSIVE member (relation) AS (
             SELECT attribute.attrelid
             UNION
             SELECT inherits.inhrelid
             FROM member
             JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhparent = member.relation
           ), expression (sql, tree) AS (
             SELECT pg_catalog.pg_get_expr(def.adbin, def.adrelid),
                    pg_catalog.regexp_replace(def.adbin::text, ':location -?\\d+', '', 'g')
             FROM member
             JOIN pg_catalog.pg_attribute AS own ON own.attrelid = member.relation AND own.attname = attribute.attname
             JOIN pg_catalog.pg_attrdef AS def ON def.adrelid = own.attrelid AND def.adnum = own.attnum
           )
           SELECT pg_catalog.jsonb_build_object(
             'sql', pg_catalog.string_agg(DISTINCT expression.sql, '; '),
             'tree', pg_catalog.md5(pg_catalog.string_agg(DISTINCT expression.tree, ';')))
           FROM expression
         ) END AS generation
  FROM attribute
  JOIN pg_catalog.pg_type AS type ON type.oid = attribute.atttypid
  JOIN below ON below.type = attribute.atttypid
  JOIN pg_catalog.pg_type AS base ON base.oid = below.base AND base.typtype <> 'd'
  LEFT JOIN pg_catalog.pg_collation AS coll ON coll.oid = attribute.attcollation
  LEFT JOIN pg_catalog.pg_namespace AS place ON place.oid = coll.collnamespace
  ORDER BY attribute.attrelid, attribute.attnum`;

const indexesQuery = `
  SELECT index.indrelid::int8 AS relation,
         class.relname AS name,
         index.indisprimary AS "isPrimary",
         index.indisunique AS "isUnique",
         method.amname AS method,
         (SELECT pg_catalog.jsonb_agg(attribute.attname ORDER BY part.place)
          FROM pg_catalog.unnest(index.indkey::int2[]) WITH ORDINALITY AS part (number, place)
          LEFT JOIN pg_catalog.pg_attribute AS attribute
            ON attribute.attrelid = index.indrelid AND attribute.attnum = part.number AND part.number > 0
          WHERE part.place <= index.indnkeyatts) AS columns
  FROM pg_catalog.pg_index AS index
  JOIN pg_catalog.pg_class AS class ON class.oid = index.indexrelid
  JOIN pg_catalog.pg_am AS method ON method.oid = class.relam AND method.amname IN ('btree', 'hash', 'gin')
  WHERE index.indrelid = ANY ($1::oid[]) AND index.indisvalid AND index.indpred IS NULL
  ORDER BY index.indexrelid`;

interface ViewRow {
  readonly oid: string;
  readonly definition: string;
  readonly tree: string;
  readonly reads: readonly (readonly [number, number])[];
  readonly groupedBy: readonly number[];
}

interface RelationRow
  extends Pick<CatalogRelation, 'relkind' | 'stranger' | 'isTemporary' | 'hasRowSecurity'> {
  readonly oid: string;
  readonly schema: string;
  readonly name: string;
}

interface ColumnRow extends Omit<CatalogColumn, 'baseType' | 'collationOid'> {
  readonly relation: string;
  readonly baseType: string;
  readonly collationOid: string;
}

interface IndexRow extends CatalogIndex {
  readonly relation: string;
  readonly isPrimary: boolean;
}

/** Loads the view and, level by level, everything it reads. Tviews are leaves: their changes come from their own flush. */
export async function loadCatalog(
  executor: SqlExecutor,
  view: QualifiedName,
  isTview: (oid: number) => Promise<boolean> | boolean,
): Promise<Catalog> {
  const { serverVersion } = await requireEmptyPath(executor);
  const rootOid = await findView(executor, view);
  const read = await loadRead(executor, [rootOid], isTview);
  return { serverVersion, root: read.relations.get(rootOid)!, ...read };
}

/** The same of many views by their oids, in as few statements. One that is none, or no more, is left out. */
export async function loadCatalogs(
  executor: SqlExecutor,
  views: readonly number[],
  isTview: (oid: number) => boolean,
): Promise<ReadonlyMap<number, Catalog>> {
  const { serverVersion } = await requireEmptyPath(executor);
  const read = await loadRead(executor, views, isTview);
  return new Map(
    views.flatMap((oid) => {
      const root = read.relations.get(oid);
      return root === undefined || !read.views.has(oid)
        ? []
        : [[oid, { serverVersion, root, ...readBy(oid, read) }] as const];
    }),
  );
}

type Read = Pick<Catalog, 'relations' | 'views'>;

/** Of what was loaded for several, what one of them reads. */
function readBy(root: number, read: Read): Read {
  const relations = new Map<number, CatalogRelation>();
  const views = new Map<number, CatalogView>();
  const visit = (oid: number): void => {
    const relation = read.relations.get(oid);
    if (relation === undefined || relations.has(oid)) return;
    relations.set(oid, relation);
    const view = read.views.get(oid);
    if (view === undefined) return;
    views.set(oid, view);
    for (const below of view.reads.keys()) visit(below);
  };
  visit(root);
  return { relations, views };
}

async function loadRead(
  executor: SqlExecutor,
  roots: readonly number[],
  isTview: (oid: number) => Promise<boolean> | boolean,
): Promise<Read> {
  const relations = new Map<number, CatalogRelation>();
  const views = new Map<number, CatalogView>();
  // The roots' own relations come with those of the first level: one round less.
  let found = new Set(roots);
  let frontier = [...roots];
  // A constant is written as the session shows it: with its date style, its time zone, and as many digits.
  await withSettings(executor, deparseSettings, async () => {
    while (frontier.length > 0) {
      for (const row of await executor.query<ViewRow>(viewsQuery, [frontier])) {
        const definition = catalogView(row);
        views.set(definition.oid, definition);
        for (const oid of definition.reads.keys()) if (!relations.has(oid)) found.add(oid);
      }
      await loadRelations(executor, [...found], isTview, relations);
      frontier = [...found].filter((oid) => relations.get(oid)?.relkind === 'v' && !views.has(oid));
      found = new Set();
    }
  });
  return { relations, views };
}

async function findView(executor: SqlExecutor, view: QualifiedName): Promise<number> {
  const [row] = await executor.query<{ oid: string }>(
    `SELECT class.oid::int8
     FROM pg_catalog.pg_class AS class
     JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
     WHERE namespace.nspname = $1 AND class.relname = $2 AND class.relkind = 'v'`,
    [view.schema, view.name],
  );
  if (row === undefined) {
    throw new TviewsError(SqlState.undefinedTable, `view "${view.schema}.${view.name}" does not exist`);
  }
  return Number(row.oid);
}

/** With anything in the path, names would be deparsed without their schema and could be resolved to another object. */
async function requireEmptyPath(executor: SqlExecutor): Promise<{ readonly serverVersion: number }> {
  const [row] = await executor.query<{ path: string; serverVersion: number }>(
    `SELECT pg_catalog.current_setting('search_path') AS path,
       pg_catalog.current_setting('server_version_num')::int / 10000 AS "serverVersion"`,
  );
  if (row !== undefined && ['', '""'].includes(row.path)) return row;
  throw new TviewsError(SqlState.internalError, 'definitions are compiled under an empty search_path');
}

function catalogView(row: ViewRow): CatalogView {
  const oid = Number(row.oid);
  const reads = new Map<number, number[]>();
  const add = (relation: number): number[] => {
    const columns = reads.get(relation) ?? [];
    reads.set(relation, columns);
    return columns;
  };
  for (const [relation, column] of row.reads) {
    const columns = add(Number(relation));
    if (column > 0) columns.push(column);
  }
  // Pinned objects (the system catalogs) are not in pg_depend; the tree's range table has them.
  for (const [, relation] of row.tree.matchAll(/:relid (\d+) /g)) {
    if (Number(relation) !== oid && Number(relation) !== 0) add(Number(relation));
  }
  return { oid, definition: row.definition, tree: row.tree, reads, groupedBy: row.groupedBy };
}

async function loadRelations(
  executor: SqlExecutor,
  oids: readonly number[],
  isTview: (oid: number) => Promise<boolean> | boolean,
  into: Map<number, CatalogRelation>,
): Promise<void> {
  if (oids.length === 0) return;
  const relations = await executor.query<RelationRow>(relationsQuery, [oids]);
  const columns = await executor.query<ColumnRow>(columnsQuery, [oids]);
  const indexes = await executor.query<IndexRow>(indexesQuery, [oids]);
  const families = await loadFamilies(executor, oids);
  for (const row of relations) {
    const { schema, name, ...rest } = row;
    const oid = Number(row.oid);
    const family = families.get(oid)!;
    const own = indexes
      .filter(({ relation }) => relation === row.oid)
      .map((index) => (family.form === 'parent' ? { ...index, isPrimary: false, isUnique: false } : index));
    into.set(oid, {
      ...rest,
      oid,
      family,
      name: { schema, name },
      isTview: row.relkind === 'r' && (await isTview(oid)),
      columns: columns
        .filter(({ relation }) => relation === row.oid)
        .map(({ relation: _, ...column }) => ({
          ...column,
          baseType: Number(column.baseType),
          collationOid: Number(column.collationOid),
        })),
      primaryKey: (own.find(({ isPrimary }) => isPrimary)?.columns as readonly string[] | undefined) ?? null,
      indexes: own.map(({ name: index, columns: indexed, isUnique, method }) => ({
        name: index,
        columns: indexed,
        isUnique,
        method,
      })),
    });
  }
}
