/**
 * What a plan rests on, in two forms. A fingerprint by names of all that the compiler reads: where it is the same, nothing has
 * happened; names and no oids, so that it means the same in a database restored from a dump. And an outline by oids and numbers
 * of columns: where that is the same, nothing has happened but renames, whoever swapped names with whom.
 */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { SqlExecutor } from '../database/executor.ts';
import type { Catalog, CatalogRelation } from './catalog.ts';
import type { AnalysedDefinition } from './compile.ts';
import type { OccurrencePath } from './derive.ts';
import { render } from './expression.ts';
import type { Basis, Outline, RefreshPlan, TypeFacts } from './plan.ts';
import { display } from './refuse.ts';
import type { Operand } from './resolved.ts';
import { firstUnpinnedType, partsOfTypes, typesOfTableExpressions } from './types.ts';

/** Where oids mean what they do here: schema tviews has other ones in a database that was restored. */
export async function homeOf(executor: SqlExecutor): Promise<string> {
  const [row] = await executor.query<{ home: string }>(
    `SELECT pg_catalog.concat_ws('/', d.oid, pg_catalog.to_regclass('tviews.tview')::oid) AS home
     FROM pg_catalog.pg_database AS d
     WHERE d.datname = pg_catalog.current_database()`,
  );
  return row!.home;
}

export async function basisOf(
  executor: SqlExecutor,
  analysed: AnalysedDefinition,
  plan: RefreshPlan,
): Promise<Basis> {
  const { catalog } = analysed;
  const types = (await loadTypeFacts(executor, [catalog])).get(catalog)!;
  return {
    fingerprint: fingerprintOf(catalog, types),
    home: await homeOf(executor),
    trees: treesOf(catalog),
    types,
    outline: outlineOf(analysed, plan),
  };
}

const digest = (value: unknown): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('base64url');

const sorted = <T>(values: Iterable<T>, by: (value: T) => string): T[] =>
  [...values].sort((one, other) => (by(one) < by(other) ? -1 : 1));

export function fingerprintOf(catalog: Catalog, types: readonly TypeFacts[]): string {
  // Not of the definition's own view: what it is called is known, and apply gives it another name when it is built.
  const isOwn = (oid: number): boolean => oid === catalog.root.oid;
  const nameOf = (oid: number): string => (isOwn(oid) ? '' : display(catalog.relations.get(oid)!.name));
  return digest({
    views: sorted(catalog.views.values(), ({ oid }) => nameOf(oid)).map(({ oid, definition, groupedBy }) => [
      nameOf(oid),
      definition,
      groupedBy.map(nameOf),
    ]),
    relations: sorted(catalog.relations.values(), ({ oid }) => nameOf(oid)).map((relation) => ({
      ...relationFacts(relation),
      name: nameOf(relation.oid),
    })),
    types: sorted(types, ({ name }) => name).map(({ name, labels, attributes, hasJsonCast }) => [
      name,
      labels.map(({ label }) => label),
      attributes.map((attribute) => [attribute.name, attribute.type]),
      hasJsonCast,
    ]),
  });
}

function relationFacts(relation: CatalogRelation): object {
  const { relkind, isTview, isTemporary, hasRowSecurity, family, columns, primaryKey, indexes } = relation;
  return {
    relkind,
    isTview,
    isTemporary,
    hasRowSecurity,
    family,
    primaryKey,
    columns: columns.map(({ number: _, baseType: __, collationOid: ___, generation, ...column }) => ({
      ...column,
      ...(generation !== null && { generation: generation.sql }),
    })),
    // Of the others nothing depends but advice.
    unique: indexes.flatMap((index) => (index.isUnique ? [JSON.stringify(index.columns)] : [])).sort(),
  };
}

function treesOf({ views }: Catalog): string {
  return digest(sorted(views.values(), ({ oid }) => String(oid)).map(({ oid, tree }) => [oid, tree]));
}

const typeFactsQuery = `
  ${partsOfTypes}
  SELECT inside.type::int8 AS handled,
         part.oid::int8 AS oid,
         pg_catalog.format_type(part.oid, NULL) AS name,
         COALESCE((
           SELECT pg_catalog.jsonb_agg(
             pg_catalog.jsonb_build_object('oid', enum.oid::int8, 'label', enum.enumlabel) ORDER BY enum.enumsortorder
           )
           FROM pg_catalog.pg_enum AS enum
           WHERE enum.enumtypid = part.oid
         ), '[]') AS labels,
         COALESCE((
           SELECT pg_catalog.jsonb_agg(
             pg_catalog.jsonb_build_object(
               'number', attribute.attnum, 'name', attribute.attname,
               'type', pg_catalog.format_type(attribute.atttypid, attribute.atttypmod)
             ) ORDER BY attribute.attnum
           )
           FROM pg_catalog.pg_attribute AS attribute
           WHERE attribute.attrelid = part.typrelid AND attribute.attnum > 0 AND NOT attribute.attisdropped
         ), '[]') AS attributes,
         EXISTS (
           SELECT FROM pg_catalog.pg_cast AS "cast"
           WHERE "cast".castsource = part.oid AND "cast".casttarget = 'pg_catalog.json'::pg_catalog.regtype
             AND "cast".castfunc <> 0
         ) AS "hasJsonCast"
  FROM inside
  JOIN pg_catalog.pg_type AS part ON part.oid = inside.part AND (part.typtype <> 'b' OR part.typcategory <> 'A')
  JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = part.typnamespace AND namespace.nspname <> 'pg_catalog'
  ORDER BY part.oid`;

/** By catalog; in one statement for all of them. */
export async function loadTypeFacts(
  executor: SqlExecutor,
  catalogs: readonly Catalog[],
): Promise<ReadonlyMap<Catalog, readonly TypeFacts[]>> {
  const handled = new Map(catalogs.map((catalog) => [catalog, typesIn(catalog)]));
  const all = new Set([...handled.values()].flatMap((oids) => [...oids]));
  if (all.size === 0) return new Map(catalogs.map((catalog) => [catalog, []]));
  const rows = await executor.query<Omit<TypeFacts, 'oid'> & { oid: string; handled: string }>(
    typeFactsQuery,
    [[...all]],
  );
  return new Map(
    [...handled].map(([catalog, oids]) => {
      const inside = new Map<number, TypeFacts>();
      for (const { handled: type, oid, ...facts } of rows)
        if (oids.has(Number(type))) inside.set(Number(oid), { oid: Number(oid), ...facts });
      return [catalog, [...inside.values()]];
    }),
  );
}

/** Whatever a field of the stored tree names as a type, but for PostgreSQL's own: one too many costs a look. */
function typesIn({ views }: Catalog): ReadonlySet<number> {
  const found = new Set<number>();
  for (const { tree } of views.values()) {
    for (const [, oid] of tree.matchAll(/ :\w*(?:type|typid|typeId|typeid) (\d+)/g)) found.add(Number(oid));
    for (const oid of typesOfTableExpressions(tree)) found.add(oid);
  }
  for (const oid of found) if (oid < firstUnpinnedType) found.delete(oid);
  return found;
}

function outlineOf({ catalog, definition, bounded }: AnalysedDefinition, plan: RefreshPlan): Outline {
  const number = (oid: number, name: string): number =>
    catalog.relations.get(oid)!.columns.find((column) => column.name === name)!.number;
  const relationOf = (occurrence: number): number => definition.occurrences[occurrence]!.relation.oid;
  const path = ({ occurrence, hops, keyParts }: OccurrencePath): string => {
    const last = relationOf(hops.at(-1)?.to ?? occurrence);
    const side = ({ occurrence: at, column, casts, isElement }: Operand) => [
      number(relationOf(at), column),
      casts,
      ...(isElement ? ['element'] : []),
    ];
    return JSON.stringify([
      occurrence,
      relationOf(occurrence),
      hops.map(({ to, links }) => [
        to,
        relationOf(to),
        links.map((link) => [side(link.from), side(link.to)]),
      ]),
      keyParts.map((part) => {
        if (part.kind === 'constant') return part.sql;
        if (part.kind === 'column') return number(last, part.column);
        return render(part.pieces, { column: (name) => `\0${number(last, name)}` });
      }),
    ]);
  };
  // A virtual column that is read is not among those that a trigger compares.
  const generationsOf = (oid: number, compared: ReadonlySet<string>) => {
    const own = definition.occurrences.filter(({ relation }) => relation.oid === oid);
    const isRead = (name: string): boolean =>
      compared.has(name) || own.some(({ referenced }) => referenced.has(name));
    return catalog.relations
      .get(oid)!
      .columns.flatMap(({ number: column, name, generation }) =>
        generation !== null && isRead(name) ? [[column, generation.tree] as const] : [],
      );
  };
  return {
    sources: plan.sources.map(
      ({ oid, kind, form = 'table', linkColumns, referencedColumns, primaryKey, occurrences }) => {
        const links = linkColumns.map(({ name }) => name);
        const names = new Set([...links, ...referencedColumns, ...(primaryKey ?? [])]);
        return {
          oid,
          kind,
          form,
          links: links.map((name) => number(oid, name)),
          linkTypes: linkColumns.map(({ type }) => type),
          reads: referencedColumns.map((name) => number(oid, name)),
          primaryKey: primaryKey?.map((name) => number(oid, name)) ?? null,
          mappings: occurrences.map(({ mapping }) => mapping),
          generations: generationsOf(oid, names),
          names: [...names].map((name) => ({ number: number(oid, name), name })),
        };
      },
    ),
    key: plan.key.map(({ name }) => name),
    paths: bounded.map(path),
    edges: (plan.locks?.edges ?? []).map(({ farSource, nearSource, links, exclusive }) => {
      const [far, near] = [plan.sources[farSource]!.oid, plan.sources[nearSource]!.oid];
      return {
        far,
        near,
        links: links.map((link) => [number(far, link.far), number(near, link.near), link.isHashed]),
        exclusive,
      };
    }),
    isComputedWhole: plan.isComputedWhole === true,
  };
}

/**
 * Whether what was generated from the plan of then has been right all the time up to now, for all that differs are names, or
 * facts it did not rely on: where a key came that was not there, it did without. Of the same home alone.
 */
export function stillHolds(then: Basis, now: Basis): boolean {
  return (
    then.trees === now.trees &&
    then.types.every((type) => isShownAsBefore(type, now.types)) &&
    isDeepStrictEqual(comparable(then.outline, then.outline), comparable(now.outline, then.outline))
  );
}

/** A label more changes no row; another name for one does. */
function isShownAsBefore(then: TypeFacts, types: readonly TypeFacts[]): boolean {
  const now = types.find(({ oid }) => oid === then.oid);
  if (now === undefined || now.hasJsonCast !== then.hasJsonCast) return false;
  return (
    then.labels.every((label) => now.labels.some((same) => isDeepStrictEqual(same, label))) &&
    isDeepStrictEqual(now.attributes, then.attributes)
  );
}

/** Without names, and without what one has gained. */
function comparable({ sources, edges, ...rest }: Outline, then: Outline): unknown {
  const outline = {
    ...rest,
    sources: sources.map(({ names: _, primaryKey, generations, ...source }, i) => ({
      ...source,
      // Plans from before say nothing of them.
      generations: then.sources[i]?.generations === undefined ? null : generations,
      primaryKey: then.sources[i]?.primaryKey == null ? null : primaryKey,
    })),
    edges: edges.map((edge, i) =>
      then.edges[i]?.exclusive === 'far' ? { ...edge, exclusive: 'far' } : edge,
    ),
  };
  // What was stored has been through JSON.
  return JSON.parse(JSON.stringify(outline));
}
