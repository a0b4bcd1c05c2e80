/**
 * What there is to say of a tview before anything is written: by which way a change of each table it reads comes to its rows,
 * what that looks up and locks, and what the planner thinks of it. Facts as values; the command line makes text of them.
 *
 * The definition is compiled anew, so that indexes and statistics are those of now. Where that gives another plan than the
 * one the refresh was generated from, the facts say so; the locks are always those in force.
 */
import { isDeepStrictEqual } from 'node:util';
import type { CatalogRelation } from '../definition/catalog.ts';
import type { WantedIndex } from '../definition/index-advice.ts';
import type { Advice, Column, Occurrence, QualifiedName, RefreshPlan, Source } from '../definition/plan.ts';
import type { PathNode } from '../definition/tree.ts';
import { RefusedDefinition, TviewsError } from '../errors/errors.ts';
import type { SqlExecutor } from './executor.ts';
import { quoteIdentifier, quoteLiteral } from './identifier.ts';
import { imagesRelation } from './image.ts';
import { locksOf, type TviewLocks } from './lock-facts.ts';
import { elementType } from './locks.ts';
import { type Planned, planOf, type RelationSize, sizesOf } from './query-plan.ts';
import { readableSql, reservedWords } from './readable-sql.ts';
import { rowsByKey, there } from './refresh-function.ts';
import {
  type Construction,
  compilerInput,
  loadRegistry,
  type RegisteredTview,
  type Registry,
  readersOf,
  readsTheSame,
  requireInPlace,
  requireTview,
  tablesBelow,
} from './registry.ts';
import { rolledBack, withSettings } from './session.ts';
import { refreshSettings } from './settings.ts';
import { hang } from './text.ts';

/** A table read from end to end costs this many bytes before it is worth a word. */
const largeTable = 1 << 20;

/** Columns of a readable key query: with the indentation, a terminal of 100. */
const readableWidth = 94;

/** A large table that every refresh of the kind reads as a whole. */
export type FullRead = RelationSize;

export interface ExplainedNode {
  /** Place in `sources`. */
  readonly source: number;
  readonly table: QualifiedName;
  readonly aliases: readonly string[];
  /** How often the definition reads it in this way. */
  readonly places: number;
  readonly role: PathNode['role'];
  readonly mapping: Occurrence['mapping'];
  readonly equalities: readonly string[];
  /** The whole way to the key, for people. */
  readonly path: string;
  /** As it is installed, and as a person would write it; null where any change makes every row be computed. */
  readonly keyQuery: string | null;
  readonly readable: string | null;
  /** Rows of the tview that one changed row leads to: the planner's estimate, of the average row. */
  readonly rows: number;
  readonly fullReads: readonly FullRead[];
  readonly children: readonly ExplainedNode[];
}

export interface ExplainedSource {
  /** Null where the definition reads it now and did not when it was applied. */
  readonly id: number | null;
  readonly table: QualifiedName;
  readonly kind: Source['kind'];
  /** The tables whose writes come through this tview; empty for a table. */
  readonly through: readonly QualifiedName[];
  readonly linkColumns: readonly string[];
  /** Beside the link columns. An update of any other column refreshes nothing. */
  readonly otherColumns: readonly string[];
}

export interface Reader {
  readonly tview: QualifiedName;
  readonly readers: readonly Reader[];
}

/**
 * Whether the definition compiles to the plan in force. `replace`: to another one, which CREATE OR REPLACE TVIEW takes over.
 * `recreate`: to one with the same keys and other locks, for which that does nothing.
 */
export type PlanInForce = 'this' | 'replace' | 'recreate';

export interface Explanation {
  readonly id: number;
  readonly table: QualifiedName;
  readonly view: QualifiedName;
  readonly key: readonly Column[];
  readonly columns: readonly Column[];
  readonly definition: string;
  readonly size: RelationSize;
  /** Then nothing of what follows happens until it is resumed. */
  readonly isSuspended: boolean;
  /** Where not all rows are filled yet. */
  readonly construction: Construction | null;
  readonly inForce: PlanInForce;
  readonly sources: readonly ExplainedSource[];
  readonly tree: readonly ExplainedNode[];
  /** Computing one row, by the planner's estimate. */
  readonly recompute: { readonly cost: number; readonly fullReads: readonly FullRead[] };
  readonly indexes: readonly WantedIndex[];
  readonly locks: TviewLocks;
  /** The tviews that read this one, and those that read them. */
  readonly readers: readonly Reader[];
  readonly advice: readonly Advice[];
}

/** `executor` must not be inside a transaction. Reads only; with the rights of one who may read the tables. */
export async function explainTview(
  executor: SqlExecutor,
  name: string | { readonly schema: string | null; readonly name: string },
): Promise<Explanation> {
  return await rolledBack(executor, 'READ ONLY', async () => {
    const registry = await loadRegistry(executor);
    const tview = await requireTview(executor, registry, name);
    requireInPlace(registry, tview);
    return await explainRegistered(executor, registry, tview);
  });
}

async function explainRegistered(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
): Promise<Explanation> {
  const { plan, queries, tree, indexes, advice } = await compileNow(executor, registry, tview);
  const planned = await planEverything(executor, tview, plan);
  const reserved = await reservedWords(executor);
  const sizes = await sizesOf(executor, [
    plan.table,
    ...[...planned.byQuery.values(), planned.recompute].flatMap(({ fullReads }) => fullReads),
  ]);
  const sizeOf = ({ schema, name }: QualifiedName): RelationSize =>
    sizes.find((size) => size.schema === schema && size.name === name)!;
  const large = ({ fullReads }: Pick<Planned, 'fullReads'>): FullRead[] =>
    fullReads.map(sizeOf).filter(({ tableBytes }) => tableBytes >= largeTable);

  const node = ({ occurrences: indexesOf, children, ...rest }: PathNode): ExplainedNode => {
    const { table, occurrence } = queries.get(indexesOf[0]!)!;
    const { mapping, path, keyQuery } = occurrence;
    const estimate = keyQuery === null ? undefined : planned.byQuery.get(keyQuery);
    return {
      source: plan.sources.findIndex((source) => source.oid === table.oid),
      table: table.name,
      ...rest,
      places: indexesOf.length,
      mapping,
      path,
      keyQuery,
      readable: keyQuery === null ? null : readableSql(keyQuery, reserved, readableWidth),
      rows: estimate?.rows ?? 1,
      fullReads: estimate === undefined ? [] : large(estimate),
      children: children.map(node),
    };
  };
  return {
    id: tview.id,
    table: plan.table,
    view: plan.view,
    key: plan.key,
    columns: plan.columns,
    definition: plan.definition,
    size: sizeOf(plan.table),
    isSuspended: tview.isSuspended,
    construction: tview.construction,
    inForce: isSamePlan(plan, tview.plan)
      ? 'this'
      : readsTheSame(plan, tview, registry) && tview.plan.locks !== undefined
        ? 'recreate'
        : 'replace',
    sources: plan.sources.map((source) => explainSource(registry, source)),
    tree: tree.map(node),
    recompute: { cost: planned.recompute.cost, fullReads: large(planned.recompute) },
    indexes,
    locks: locksOf(tview, registry.settings),
    readers: cascade(registry, tview),
    advice,
  };
}

interface CompiledNow {
  readonly plan: RefreshPlan;
  /** By place in the definition. */
  readonly queries: ReadonlyMap<number, { readonly table: CatalogRelation; readonly occurrence: Occurrence }>;
  readonly tree: readonly PathNode[];
  readonly indexes: readonly WantedIndex[];
  readonly advice: readonly Advice[];
}

async function compileNow(
  executor: SqlExecutor,
  registry: Registry,
  tview: RegisteredTview,
): Promise<CompiledNow> {
  // Loaded here, not above: the compiler carries PostgreSQL's grammar, which nothing else of this folder needs.
  const { analyseDefinition, keyQueriesOf, writePlan } = await import('../definition/compile.ts');
  const { wantedIndexes } = await import('../definition/index-advice.ts');
  const { pathTree } = await import('../definition/tree.ts');
  const { table, view } = tview.plan;
  try {
    return await withSettings(executor, { search_path: '' }, async () => {
      const analysed = await analyseDefinition(executor, compilerInput(registry, tview));
      const { definition, advice } = analysed;
      return {
        plan: writePlan(analysed, { table, view }),
        queries: new Map(
          [...keyQueriesOf(analysed)].map(([index, { occurrence }]) => [
            index,
            { table: definition.occurrences[index]!.relation, occurrence },
          ]),
        ),
        tree: pathTree(analysed),
        indexes: wantedIndexes(analysed),
        advice,
      };
    });
  } catch (error) {
    if (!(error instanceof RefusedDefinition)) throw error;
    throw new TviewsError(
      error.code,
      `tview ${table.schema}.${table.name} would be refused if it were created now: ${error.message}`,
      { detail: error.detail, hint: error.hint, cause: error },
    );
  }
}

/**
 * Whether a refresh generated from either plan does the same. Oids are others in a database that was restored, and another
 * version of the server may write the definition's text otherwise.
 */
function isSamePlan(now: RefreshPlan, then: RefreshPlan): boolean {
  const comparable = ({ table, view, columns, key, sources, locks }: RefreshPlan): unknown => ({
    table,
    view,
    columns,
    key,
    sources: sources.map(({ oid: _, ...source }) => source),
    locks,
  });
  // What was stored came back from JSON, which has no undefined.
  return isDeepStrictEqual(JSON.parse(JSON.stringify(comparable(now))), comparable(then));
}

interface EverythingPlanned {
  /** By the text of each mapped occurrence's key query: rows of one changed row, and what is read for any number of them. */
  readonly byQuery: ReadonlyMap<string, Pick<Planned, 'rows' | 'fullReads'>>;
  readonly recompute: Planned;
}

/** As a flush has it planned: under its settings, and without looking at the values. */
async function planEverything(
  executor: SqlExecutor,
  tview: RegisteredTview,
  plan: RefreshPlan,
): Promise<EverythingPlanned> {
  return await withSettings(executor, refreshSettings, async () => {
    const byQuery = new Map<string, Pick<Planned, 'rows' | 'fullReads'>>();
    for (const source of plan.sources) {
      for (const { mapping, keyQuery } of source.occurrences) {
        if (mapping !== 'mapped' || keyQuery === null || byQuery.has(keyQuery)) continue;
        const { rows, fullReads } = await planOf(executor, keysOfUnknownRow(source, keyQuery));
        byQuery.set(keyQuery, { rows, fullReads });
      }
    }
    const noKeys = plan.key.map(() => '{}');
    return { byQuery, recompute: await planOf(executor, rowsOfKeys(tview, plan, noKeys)) };
  });
}

/**
 * A key query over one row whose values the planner does not know, so that it takes the average of what the statistics say.
 * Of values that come out of JSON it assumes that they are all different ones of a hundred, which says nothing of one.
 */
function keysOfUnknownRow({ linkColumns }: Source, keyQuery: string): string {
  const unknown = linkColumns.map(({ name, type, collation }) => {
    const collate = collation === null ? '' : ` COLLATE ${collation}`;
    return `(SELECT NULL::${type})${collate} AS ${quoteIdentifier(name)}`;
  });
  return `WITH changed AS (SELECT ${unknown.join(', ')})\n${keyQuery}`;
}

/** A key query over images given as a JSON array, as the refresh function has it. */
export const keysOfImages = (source: Source, keyQuery: string, images: string): string => `WITH changed AS (
  ${hang(imagesRelation(images, source.linkColumns), 2)}
)
${keyQuery}`;

/**
 * A query that computes the rows of some keys as the refresh function does.
 * @param arrays of each key column its values, as the text of an array
 */
export function rowsOfKeys(
  { keyOperators }: RegisteredTview,
  plan: RefreshPlan,
  arrays: readonly string[],
): string {
  const values = plan.key.map(({ type }, i) => `${quoteLiteral(arrays[i]!)}::${elementType(type)}[]`);
  const keys = `unnest(${values.join(', ')}) AS k (${plan.key.map((_, i) => `k${i + 1}`).join(', ')})`;
  return `SELECT ${plan.columns.map(({ name }) => `v.${quoteIdentifier(name)}`).join(', ')}
${rowsByKey({ plan, keyEquality: keyOperators }, keys)}
WHERE v.${there}`;
}

function explainSource(registry: Registry, source: Source): ExplainedSource {
  const { oid, table, kind, linkColumns, referencedColumns } = source;
  const links = linkColumns.map(({ name }) => name);
  return {
    id: registry.sources.find((registered) => registered.oid === oid)?.id ?? null,
    table,
    kind,
    through: kind === 'tview' ? tablesBelow(registry, [source]).map((below) => below.table) : [],
    linkColumns: links,
    otherColumns: referencedColumns.filter((name) => !links.includes(name)),
  };
}

const cascade = (registry: Registry, tview: RegisteredTview): Reader[] =>
  readersOf(registry, tview).map((reader) => ({
    tview: { schema: reader.schema, name: reader.name },
    readers: cascade(registry, reader),
  }));
