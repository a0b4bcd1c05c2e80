/**
 * Compiles a definition to its refresh plan: text → syntax trees → resolved definition → paths → plan. The view exists
 * already, so names mean what PostgreSQL resolved them to; what cannot be kept exactly in step is refused (refuse.ts).
 */
import type { SqlExecutor } from '../database/executor.ts';
import { RefusedDefinition } from '../errors/errors.ts';
import { basisOf } from './basis.ts';
import { type Catalog, type CatalogColumn, type CatalogRelation, loadCatalog } from './catalog.ts';
import { isSameOrigin } from './columns.ts';
import { derivePaths, type OccurrencePath } from './derive.ts';
import { refuseNondeterminism } from './determinism.ts';
import { type DerivedEdges, deriveEdges } from './edges.ts';
import { type ExpressionIndexes, loadExpressionIndexes } from './expression-index.ts';
import { coverUnbounded, type FullRefresh } from './full-refresh.ts';
import { parseSelect, type SelectStmt } from './grammar.ts';
import { indexAdvice } from './index-advice.ts';
import { type ChosenKey, chooseKey, type KeyColumn } from './key.ts';
import { everyKey, type KeyQuery, writeKeyQuery } from './key-query.ts';
import { refuseStranger } from './owner.ts';
import type { Advice, Column, Form, Occurrence, QualifiedName, RefreshPlan, Source } from './plan.ts';
import { display, refuse } from './refuse.ts';
import { resolve } from './resolve.ts';
import type { Origin, ResolvedDefinition, ResolvedOccurrence } from './resolved.ts';
import { refuseTypes } from './types.ts';

export interface CompileInput {
  /** The definition's view, already created. */
  readonly view: QualifiedName;
  /** The tview's table; it need not exist. */
  readonly table: QualifiedName;
  /** `WITH (key = …)`, or null. */
  readonly key: readonly string[] | null;
  /** `WITH (full_refresh = …)`. */
  readonly fullRefresh: FullRefresh;
  /** Whether a table is a tview: then its changes come from its own flush. */
  isTview(oid: number): Promise<boolean> | boolean;
}

/** What is known of a definition before anything is written from it. */
export interface AnalysedDefinition {
  readonly catalog: Catalog;
  readonly definition: ResolvedDefinition;
  readonly key: ChosenKey;
  /** Of the occurrences that have one. */
  readonly bounded: readonly OccurrencePath[];
  /** The others, a change of which makes every row be computed anew. */
  readonly unbounded: readonly number[];
  /** Of the tables that have the key in an expression. */
  readonly expressionIndexes: ExpressionIndexes;
  /** On what the result of the definition depends, beside the rows. */
  readonly advice: readonly Advice[];
}

/** The executor's transaction must have an empty search_path, so that every name is deparsed with its schema. */
export async function compileDefinition(executor: SqlExecutor, input: CompileInput): Promise<RefreshPlan> {
  const analysed = await analyseDefinition(executor, input);
  const plan = writePlan(analysed, input);
  return { ...plan, basis: await basisOf(executor, analysed, plan) };
}

/** Under the same search_path. */
export async function analyseDefinition(
  executor: SqlExecutor,
  input: CompileInput,
): Promise<AnalysedDefinition> {
  const catalog = await loadCatalog(executor, input.view, (oid) => input.isTview(oid));
  const trees = new Map<number, SelectStmt>();
  const advice: Advice[] = [];
  for (const [oid, view] of catalog.views) {
    trees.set(oid, await parseSelect(view.definition));
    const where =
      oid === catalog.root.oid ? 'the definition' : `view ${display(catalog.relations.get(oid)!.name)}`;
    advice.push(...(await refuseNondeterminism(executor, view, where)));
    await refuseTypes(executor, view, where);
  }
  for (const relation of catalog.relations.values()) {
    if (relation.stranger !== null && relation !== catalog.root) refuseStranger('VIEW', relation.stranger);
  }
  const definition = resolve(catalog, trees);
  refuseUnseen(catalog, definition);
  refuseGroupsOfParents(catalog);
  refuseItself(definition, input.table);
  refuseConstant(definition);
  const key = chooseKey(definition, catalog, input.key, input.table.name.replace(/^tv_/, ''));
  const { bounded, unbounded } = derivePaths(definition, key.readings);
  coverUnbounded(definition, key, unbounded, input.fullRefresh);
  const computed = bounded.filter(
    ({ hops, keyParts }) => hops.length === 0 && keyParts.some(({ kind }) => kind === 'expression'),
  );
  const keyed = new Set(computed.map(({ occurrence }) => definition.occurrences[occurrence]!.relation));
  return {
    catalog,
    definition,
    key,
    bounded,
    unbounded: [...unbounded.keys()],
    expressionIndexes: await loadExpressionIndexes(executor, [...keyed]),
    advice: [...definition.advice, ...advice],
  };
}

/** The key columns, as the reading has them that an occurrence is of. */
export function keyAt(
  { definition, key }: Pick<AnalysedDefinition, 'definition' | 'key'>,
  occurrence: number,
): readonly KeyColumn[] {
  const columns = key.readings[definition.occurrences[occurrence]!.reading]!;
  return columns instanceof RefusedDefinition ? [] : columns;
}

/** By occurrence. */
export function keyQueriesOf(analysed: AnalysedDefinition): ReadonlyMap<number, KeyQuery> {
  const { definition, bounded, unbounded } = analysed;
  return new Map<number, KeyQuery>([
    ...bounded.map(
      (path) => [path.occurrence, writeKeyQuery(definition, keyAt(analysed, path.occurrence), path)] as const,
    ),
    ...unbounded.map((index) => [index, everyKey(definition, index)] as const),
  ]);
}

export function writePlan(
  analysed: AnalysedDefinition,
  input: Pick<CompileInput, 'table' | 'view'>,
): RefreshPlan {
  const { catalog, definition, key, bounded, advice } = analysed;
  const queries = keyQueriesOf(analysed);
  const relations = [...new Set(definition.occurrences.map(({ relation }) => relation))];
  const { locks, reads } = deriveEdges(definition, key.outputs, bounded, relations);
  return {
    table: input.table,
    view: input.view,
    definition: catalog.views.get(catalog.root.oid)!.definition,
    columns: catalog.root.columns.map(planColumn),
    key: key.outputs.map(planColumn),
    sources: relations.map((relation) => planSource(catalog, definition, relation, queries, reads)),
    ...(isComputedWhole(definition, key) && { isComputedWhole: true }),
    locks,
    advice: [...advice, ...indexAdvice(analysed)],
  };
}

/** PostgreSQL reads it, the walk did not meet it: a gap in the walk must be a refusal, never a stale row. */
function refuseUnseen(catalog: Catalog, definition: ResolvedDefinition): void {
  for (const [oid, relation] of catalog.relations) {
    if (definition.met.has(oid)) continue;
    refuse(
      `relation ${display(relation.name)} is read in a way that is not supported in a tview`,
      'PostgreSQL lists it among what the definition depends on, but no FROM item that is evaluated names it.',
      'Remove WITH queries that are never read, and name tables in FROM.',
    );
  }
}

/** PostgreSQL believes the primary key, of which a child's row can be a second one: which of them is shown then is chance. */
function refuseGroupsOfParents(catalog: Catalog): void {
  for (const { groupedBy } of catalog.views.values()) {
    for (const oid of groupedBy) {
      const relation = catalog.relations.get(oid);
      if (relation?.family.form !== 'parent') continue;
      refuse(
        `GROUP BY the primary key of ${display(relation.name)} is not supported in a tview`,
        'Tables inherit from it, and their rows can have the same key: which row of a group is shown is not determined.',
        'Group by every column that is shown, or aggregate it.',
      );
    }
  }
}

function refuseConstant({ occurrences }: ResolvedDefinition): void {
  if (occurrences.length > 0) return;
  refuse(
    'the definition reads no table',
    'Its rows never change, so that there is nothing to keep in step.',
    'Use a view or a table.',
  );
}

function refuseItself(definition: ResolvedDefinition, table: QualifiedName): void {
  if (definition.occurrences.some(({ relation }) => display(relation.name) === display(table))) {
    refuse(
      `the definition of ${display(table)} reads ${display(table)}`,
      'A row that depends on itself has no definite content.',
      'Read the tables it is computed from.',
    );
  }
}

/** PostgreSQL takes a condition on columns into a window's query where every partition has them, and through no fence. */
function isComputedWhole({ readings, isFenced }: ResolvedDefinition, key: ChosenKey): boolean {
  const isInKey = (columns: readonly KeyColumn[], partition: readonly Origin[]): boolean =>
    columns.every(
      (column) => column.kind === 'constant' || partition.some((part) => isSameOrigin(part, column)),
    );
  const isCut = readings.some(({ partitions }, reading) => {
    const columns = key.readings[reading]!;
    return !(columns instanceof RefusedDefinition) && !partitions.every((part) => isInKey(columns, part));
  });
  return isFenced || isCut;
}

function planColumn({ name, type, collation }: CatalogColumn): Column {
  return { name, type, collation };
}

function planSource(
  catalog: Catalog,
  definition: ResolvedDefinition,
  relation: CatalogRelation,
  queries: ReadonlyMap<number, KeyQuery>,
  edgeReads: DerivedEdges['reads'],
): Source {
  const own = definition.occurrences.filter((occurrence) => occurrence.relation === relation);
  const links = new Set(
    own.flatMap(({ index }) => [...queries.get(index)!.reads, ...(edgeReads.get(index) ?? [])]),
  );
  for (const { name, generated } of relation.columns) {
    if (generated === 'virtual' && links.has(name)) refuseVirtual(relation, name);
  }
  const referenced = new Set([
    ...links,
    ...own.flatMap((occurrence) => [...occurrence.referenced]),
    ...columnsByCatalog(catalog, relation),
    ...relation.family.partitionColumns,
  ]);
  // A virtual column has no value in a trigger's transition table: what it is computed from stands for it.
  const readsVirtual = relation.columns.some(
    ({ name, generated }) => generated === 'virtual' && referenced.has(name),
  );
  if (readsVirtual && relation.family.form === 'parent') {
    refuse(
      `virtual generated columns of ${display(relation.name)} are not supported in a tview`,
      'Tables inherit from it, and may compute them from columns of their own, which it does not have.',
      'Make them GENERATED ALWAYS AS (…) STORED.',
    );
  }
  return {
    oid: relation.oid,
    table: relation.name,
    kind: relation.isTview ? 'tview' : 'table',
    form: formOf(relation),
    linkColumns: relation.columns.filter(({ name }) => links.has(name)).map(planColumn),
    referencedColumns: relation.columns
      .filter(({ generated }) => !readsVirtual || generated !== 'virtual')
      .map(({ name }) => name)
      .filter((name) => readsVirtual || referenced.has(name)),
    primaryKey: relation.family.isKeyed ? relation.primaryKey : null,
    occurrences: distinctOccurrences(own, queries),
  };
}

function formOf({ name, family: { form } }: CatalogRelation): Form {
  if (form === 'child') throw new Error(`${display(name)} inherits, and was not refused`);
  return form;
}

/** What several readings have in common, they derive in the same way. */
function distinctOccurrences(
  own: readonly ResolvedOccurrence[],
  queries: ReadonlyMap<number, KeyQuery>,
): readonly Occurrence[] {
  const distinct = new Map<string, Occurrence>();
  const seen = new Map<string, number>();
  for (const { index, reading } of own) {
    const { occurrence } = queries.get(index)!;
    const { alias, path, keyQuery } = occurrence;
    const name = JSON.stringify([reading, alias, path, keyQuery]);
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    const same = JSON.stringify([times, alias, path, keyQuery]);
    if (!distinct.has(same)) distinct.set(same, occurrence);
  }
  return [...distinct.values()];
}

/** What PostgreSQL itself says is read: the walk should have found all of it, and if not, more is only slower. */
function columnsByCatalog(catalog: Catalog, relation: CatalogRelation): readonly string[] {
  const numbers = new Set([...catalog.views.values()].flatMap(({ reads }) => reads.get(relation.oid) ?? []));
  return relation.columns.filter(({ number }) => numbers.has(number)).map(({ name }) => name);
}

function refuseVirtual(relation: CatalogRelation, column: string): never {
  return refuse(
    `virtual generated column ${display(relation.name)}.${column} cannot be a link or a key of a tview`,
    'Triggers see no value in it.',
    'Make it GENERATED ALWAYS AS (…) STORED, or join by the columns it is computed from.',
  );
}
