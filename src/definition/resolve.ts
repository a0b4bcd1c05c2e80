/**
 * Walks a definition and lists its occurrences, the equalities that bind them and the columns they are read by. The walk
 * is total: whatever it does not know it refuses, and every column reference must resolve (Theorem 2 stands on the links
 * being necessary conditions; see `owners`).
 */
import type { FuncCall, JoinExpr, RangeSubselect, RangeVar, SubLink } from '@pgsql/types';
import { type RefusedDefinition, SqlState, TviewsError } from '../errors/errors.ts';
import type { Catalog, CatalogColumn, CatalogRelation } from './catalog.ts';
import {
  computed,
  firstNames,
  groupsOf,
  isSameOrigin,
  joinKinds,
  namesTable,
  ofGroups,
  outputName,
  readBy,
  renamed,
  valuesNames,
} from './columns.ts';
import { givesRowsOfItsOwn } from './existence.ts';
import { expressionKey } from './expression.ts';
import { Findings } from './findings.ts';
import {
  columnName,
  conjuncts,
  isEquality,
  type Node,
  type SelectStmt,
  strings,
  tableExpression,
} from './grammar.ts';
import { noteUnordered, noteUnorderedArray } from './lint.ts';
import { type EqualSide, equalities, operandFrom, operandOf, type Side } from './operand.ts';
import { Origins } from './origins.ts';
import { type Choices, everyReading, type Reading } from './readings.ts';
import {
  type BlockPlace,
  display,
  refuse,
  refuseClauses,
  refuseFromItem,
  refuseSessionValue,
  refuseWholeRow,
  unboundedBlock,
  unboundedFullJoin,
  unboundedRecursion,
  unboundedWindow,
} from './refuse.ts';
import type { NamedOrigin, Origin, ResolvedDefinition } from './resolved.ts';
import { type CommonTable, findCommonTable, findEntry, lookUp, openScope, type Scope } from './scope.ts';
import { checkSource } from './source.ts';
import { partitionsOf } from './windows.ts';

export function resolve(catalog: Catalog, trees: ReadonlyMap<number, SelectStmt>): ResolvedDefinition {
  return everyReading((choices) => new Walk(catalog, trees, choices).reading());
}

/** A FROM item, or a whole SELECT seen from outside. */
interface Item {
  readonly columns: readonly NamedOrigin[];
  /** Occurrences whose row is there in every row of the item. */
  readonly always: readonly number[];
}

interface Block extends Item {
  readonly grouping: readonly Origin[] | null;
}

/** One SELECT's FROM, conditions and expressions, walked once. */
interface Body extends Item {
  readonly scope: Scope;
}

class Walk {
  private readonly catalog: Catalog;
  private readonly trees: ReadonlyMap<number, SelectStmt>;
  private readonly choices: Choices | null;
  /** Some set operation gives floats: what comes into it may have been another number. */
  private readonly hasFloats: boolean;
  private readonly findings = new Findings();
  /** The view whose text is being walked: what a message calls the place. */
  private where = 'the definition';
  /** Why nothing can be derived from a change of what is met here; null where something can. */
  private unbounded: RefusedDefinition | null = null;
  /** The recursive WITH queries being walked, with their columns. */
  private readonly recurring = new Map<CommonTable['query'], readonly NamedOrigin[]>();

  /** Why peers of a window are read, while they are walked. */
  private peering: RefusedDefinition | null = null;
  private readonly partitions: (readonly Origin[])[] = [];
  private isFenced = false;
  /** Occurrences of the side of a FULL JOIN that is not there in the rows this reading is about. */
  private readonly absent = new Set<number>();
  private readonly origins = new Origins(this.findings, this.absent);

  /** @param choices null: what stands behind a fork is unbounded */
  constructor(catalog: Catalog, trees: ReadonlyMap<number, SelectStmt>, choices: Choices | null) {
    this.catalog = catalog;
    this.trees = trees;
    this.choices = choices;
    this.hasFloats = [...catalog.views.values()].some(({ tree }) => unitesFloats.test(tree));
  }

  reading(): Reading {
    const { root } = this.catalog;
    const { occurrences, equalities, notNull, nearMisses, met, advice } = this.findings;
    met.add(root.oid);
    const block = this.block(this.treeOf(root), null, 'top');
    return {
      occurrences: occurrences.map(({ home: _, ...occurrence }) => occurrence),
      equalities,
      outputs: root.columns.map(({ name }, place) => ({ name, origin: block.columns[place]!.origin })),
      always: new Set(block.always),
      grouping: block.grouping,
      partitions: this.partitions,
      isFenced: this.isFenced,
      notNull,
      nearMisses,
      met,
      advice,
    };
  }

  private treeOf(view: CatalogRelation): SelectStmt {
    const tree = this.trees.get(view.oid);
    if (tree === undefined) throw internal(`view ${display(view.name)} was not loaded`);
    return tree;
  }

  /**
   * One SELECT. `outer` is what it may refer to outside itself: nothing, for a view or a plain derived table. Where rows of
   * it depend on rows that its columns do not name, no column of it is a link or a key.
   * @param needing occurrences outside that count only where it gives a row
   */
  private block(
    select: SelectStmt,
    outer: Scope | null,
    place: BlockPlace,
    needing: readonly number[] = [],
  ): Block {
    refuseClauses(select, `in ${this.where}`);
    const reason = unboundedBlock(select, place, `in ${this.where}`, this.choices === null);
    if (reason === null) return this.query(select, outer, needing);
    const { columns } = this.within(reason, () => this.query(select, outer, needing));
    const origin = computed('a column that depends on other rows');
    return { columns: columns.map(({ name }) => ({ name, origin })), always: [], grouping: null };
  }

  /** Walks what nothing can be derived from: the outermost reason is the one to tell. */
  private within<Walked>(reason: RefusedDefinition, walk: () => Walked): Walked {
    const outside = this.unbounded;
    this.unbounded ??= reason;
    try {
      return walk();
    } finally {
      this.unbounded = outside;
    }
  }

  private query(select: SelectStmt, outer: Scope | null, needing: readonly number[]): Block {
    const scope = openScope(outer);
    this.commonTables(select, scope, outer);
    noteUnordered(select, (advice) => this.findings.advise(advice), this.where);
    if (select.larg !== undefined && select.rarg !== undefined)
      return this.setOperation(select, select.larg, select.rarg, scope, outer);
    if (select.valuesLists !== undefined) {
      this.visit(select.valuesLists, scope);
      const names = valuesNames(select.valuesLists);
      const origin = computed('one of several constants');
      return { columns: names.map((name) => ({ name, origin })), always: [], grouping: null };
    }
    const body = this.body(select, scope, givesRowsOfItsOwn(select) ? needing : []);
    if (this.unbounded === null) {
      for (const partition of partitionsOf(select)) this.peers(select, outer, body, partition);
    }
    const grouping = select.groupClause?.map((node) => this.origins.of(node, scope)) ?? null;
    this.findings.noteGroups(grouping ?? [], 'GROUP BY', this.where);
    const named = ofGroups(body.columns, grouping);
    const origins = this.inEverySet(
      select,
      named.map(({ origin }) => origin),
      scope,
    );
    const outputs = named.map(({ name }, place) => ({ name, origin: origins[place]! }));
    const on = this.distinctOn(select, outputs, scope);
    const columns = this.passedThrough(select, outputs, on);
    return { columns, always: body.always, grouping: on ?? grouping };
  }

  private body(select: SelectStmt, scope: Scope, needing: readonly number[] = []): Body {
    const items = (select.fromClause ?? []).map((item) => this.fromItem(item, scope));
    const always = items.flatMap((item) => item.always);
    scope.always = always;
    this.condition(select.whereClause, scope, [...always, ...needing]);
    this.visit(select.groupClause, scope);
    this.visit(select.havingClause, scope);
    this.visit(select.windowClause, scope);
    this.sortClause(select, scope);
    this.visit(select.limitCount, scope);
    this.visit(select.limitOffset, scope);
    return { columns: (select.targetList ?? []).map((target) => this.output(target, scope)), always, scope };
  }

  /**
   * A window function is a correlated subquery over the same rows again, its peers, that have the same partition (R11). So they are
   * walked again, and what a peer's partition equals is the partition of the row it is a peer of. A partition that may be null
   * is none: nulls are peers, and equal nothing.
   */
  private peers(select: SelectStmt, outer: Scope | null, row: Body, partition: readonly Node[]): void {
    const scope = openScope(outer);
    this.commonTables(select, scope, outer);
    const outside = this.peering;
    this.peering ??= unboundedWindow(`in ${this.where}`);
    const peer = this.body(select, scope);
    this.peering = outside;
    const written = partition.map((node) => this.origins.of(node, row.scope));
    const columns = this.inEverySet(select, written, row.scope);
    this.partitions.push(columns);
    for (const [place, mine] of columns.entries()) {
      const theirs = this.origins.of(partition[place], scope);
      const [here, there] = [operandFrom(mine), operandFrom(theirs)];
      if (mine.kind !== 'column' || here === null || there === null) continue;
      if (!this.findings.isFilled(mine, row.always)) continue;
      this.findings.equate(there, here, peer.always);
    }
  }

  private commonTables(select: SelectStmt, scope: Scope, outer: Scope | null): void {
    const mayRecur = select.withClause?.recursive === true;
    for (const node of select.withClause?.ctes ?? []) {
      if (!('CommonTableExpr' in node)) throw internal('a WITH clause holds something else');
      // It sees the tables before it, and itself not at all: a copy of the scope as it stands. With RECURSIVE it sees all.
      const tables = mayRecur ? scope.tables : new Map(scope.tables);
      const seen: Scope = { ...openScope(outer), tables };
      const query = node.CommonTableExpr;
      scope.tables.set(query.ctename ?? '', { query, scope: seen, mayRecur });
    }
  }

  /** Its ORDER BY has names of its columns or their numbers. */
  private setOperation(
    select: SelectStmt,
    left: SelectStmt,
    right: SelectStmt,
    scope: Scope,
    outer: Scope | null,
  ): Block {
    // Of a subquery it is the row outside that a condition on the key names.
    if (select.op === 'SETOP_EXCEPT' && outer === null) this.isFenced = true;
    this.visit(select.limitCount, scope);
    this.visit(select.limitOffset, scope);
    if (this.unbounded !== null || this.choices === null) {
      const { columns } = this.block(left, scope, 'from');
      this.block(right, scope, 'from');
      return { columns, always: [], grouping: null };
    }
    // A row of it is one of a branch, and what a row of EXCEPT's second branch takes away has the same values (R9).
    const branch = this.choices.choose(2) === 0 ? left : right;
    const { columns, always } = this.block(branch, scope, 'from');
    const named = renamed(columns, firstNames(left)).map((column) =>
      this.findings.converted(column, this.hasFloats),
    );
    return { columns: this.passedThrough(select, named, null), always, grouping: null };
  }

  /**
   * The columns by which a condition from outside reaches the rows inside. DISTINCT is no obstacle: of the rows that have
   * one value of a column, it keeps the same ones whatever else there is.
   */
  private passedThrough(
    select: SelectStmt,
    outputs: readonly NamedOrigin[],
    on: readonly Origin[] | null,
  ): readonly NamedOrigin[] {
    // Which rows are among the first depends on rows that a condition from outside does not name.
    if (select.limitCount !== undefined || select.limitOffset !== undefined) {
      const origin = computed('a column of a query with LIMIT or OFFSET');
      return outputs.map(({ name }) => ({ name, origin }));
    }
    if (on === null) return outputs;
    // Of each group one row: which one depends on the rows of the group, and on no others.
    const origin = computed('a column that a query with DISTINCT ON is not distinct on');
    return outputs.map((output) =>
      output.origin.kind === 'constant' || on.some((group) => isSameOrigin(group, output.origin))
        ? output
        : { name: output.name, origin },
    );
  }

  /** What a query with DISTINCT ON is distinct on; null for others. */
  private distinctOn(
    select: SelectStmt,
    outputs: readonly NamedOrigin[],
    scope: Scope,
  ): readonly Origin[] | null {
    const on = (select.distinctClause ?? []).filter((node) => Object.keys(node).length > 0);
    if (on.length > 0) {
      const groups = on.map((node) => this.sortedBy(node, outputs, scope));
      const origins = this.inEverySet(select, groups, scope);
      this.findings.noteGroups(origins, 'DISTINCT ON', this.where);
      return origins;
    }
    if (select.distinctClause !== undefined) {
      this.findings.noteGroups(
        outputs.map(({ origin }) => origin),
        'DISTINCT',
        this.where,
      );
    }
    return null;
  }

  /**
   * Of a query with GROUPING SETS, the columns that stand beside them: the others are null in some groups. Null: it has none. One
   * that stands in them as well, under whatever name, may be meant by either.
   */
  private besideSets({ groupClause = [] }: SelectStmt, scope: Scope): readonly Origin[] | null {
    const sets = groupClause.filter((node) => 'GroupingSet' in node);
    if (sets.length === 0) return null;
    const within = new Set(sets.flatMap(groupsOf).flatMap((node) => readBy(this.origins.of(node, scope))));
    return groupClause
      .filter((node) => !('GroupingSet' in node))
      .map((node) => this.origins.of(node, scope))
      .filter((origin) => !readBy(origin).some((column) => within.has(column)));
  }

  private inEverySet(select: SelectStmt, origins: readonly Origin[], scope: Scope): readonly Origin[] {
    const groups = this.besideSets(select, scope);
    if (groups === null) return origins;
    const absent = computed('a column of a query with GROUPING SETS, ROLLUP or CUBE');
    return origins.map((origin) => (groups.some((group) => isSameOrigin(group, origin)) ? origin : absent));
  }

  /** As in ORDER BY, the name of an output column comes first. */
  private sortedBy(node: Node, outputs: readonly NamedOrigin[], scope: Scope): Origin {
    const name = 'ColumnRef' in node ? columnName(node.ColumnRef) : null;
    const output = name?.relation === null ? outputs.find((one) => one.name === name.column) : undefined;
    if (output !== undefined) return output.origin;
    this.visit(node, scope);
    return this.origins.of(node, scope);
  }

  /** ORDER BY may name output columns; those were read where they are computed. */
  private sortClause(select: SelectStmt, scope: Scope): void {
    const outputs = new Set((select.targetList ?? []).map((target) => outputName(target)));
    for (const node of select.sortClause ?? []) {
      const key = 'SortBy' in node ? node.SortBy.node : undefined;
      const reference = key !== undefined && 'ColumnRef' in key ? columnName(key.ColumnRef) : null;
      if (reference !== null && reference.relation === null && outputs.has(reference.column ?? '')) {
        const found = lookUp(scope, reference);
        for (const origin of found ?? []) this.findings.reference(origin);
      } else this.visit(key, scope);
    }
  }

  private output(target: Node, scope: Scope): NamedOrigin {
    if (!('ResTarget' in target)) throw internal('the select list holds something else');
    const value = target.ResTarget.val;
    this.visit(value, scope);
    return { name: outputName(target), origin: this.origins.of(value, scope) };
  }

  // FROM ------------------------------------------------------------------------------------------------------------

  private fromItem(item: Node, scope: Scope): Item {
    if ('RangeVar' in item) return this.relation(item.RangeVar, scope);
    if ('RangeSubselect' in item) return this.derived(item.RangeSubselect, scope);
    if ('JoinExpr' in item) return this.join(item.JoinExpr, scope);
    if ('RangeFunction' in item) {
      // A function of values in the same row combination: it adds rows, but nothing that changes on its own.
      const { functions = [], alias, coldeflist } = item.RangeFunction;
      this.visit(functions, scope);
      const defined = (coldeflist ?? []).flatMap((node) =>
        'ColumnDef' in node ? [node.ColumnDef.colname ?? ''] : [],
      );
      const element = functions.length === 1 ? this.origins.elementOf(functions[0]!, scope) : null;
      return this.enterOpen(
        scope,
        alias?.aliasname ?? '',
        [...strings(alias?.colnames), ...defined],
        element,
      );
    }
    const expression = tableExpression(item);
    if (expression === null) return refuseFromItem(item);
    this.visit(item, scope);
    return this.enterOpen(scope, expression.alias, expression.columns);
  }

  private relation(node: RangeVar, scope: Scope): Item {
    const alias = node.alias?.aliasname ?? node.relname ?? '';
    const aliases = strings(node.alias?.colnames);
    const common = node.schemaname === undefined ? findCommonTable(scope, node.relname ?? '') : null;
    if (common !== null) {
      const { columns, always } = this.commonTable(common);
      return this.enter(scope, alias, { columns: renamed(columns, aliases), always });
    }
    const relation = this.find(node.schemaname ?? 'pg_catalog', node.relname ?? '');
    this.findings.met.add(relation.oid);
    if (relation.relkind === 'v') {
      return this.enter(scope, alias, this.view(relation, aliases), display(relation.name));
    }
    checkSource(relation, alias, node.inh !== true);
    const { unbounded, peering } = this;
    const index = this.findings.meet(relation, alias, scope, { unbounded, peering });
    const columns = relation.columns.map(
      ({ name }): NamedOrigin => ({ name, origin: { kind: 'column', occurrence: index, column: name } }),
    );
    return this.enter(
      scope,
      alias,
      { columns: renamed(columns, aliases), always: [index] },
      display(relation.name),
    );
  }

  /** Inlined where it is read: with nothing volatile in it, computing it twice gives the same rows. */
  private commonTable({ query, scope, mayRecur }: CommonTable): Item {
    const itself = this.recurring.get(query);
    if (itself !== undefined) return { columns: itself, always: [] };
    const { ctequery, ctename = '', search_clause, cycle_clause } = query;
    if (ctequery === undefined || !('SelectStmt' in ctequery)) throw internal('a WITH query is no SELECT');
    const select = ctequery.SelectStmt;
    const aliases = strings(query.aliascolnames);
    if (!mayRecur || !namesTable(select, ctename)) {
      const { columns, always } = this.block(select, scope, 'from');
      return { columns: renamed(columns, aliases), always };
    }
    const origin = computed(`a column of ${ctename}, which is recursive`);
    const named = [
      search_clause?.search_seq_column,
      cycle_clause?.cycle_mark_column,
      cycle_clause?.cycle_path_column,
    ];
    const own = renamed(
      firstNames(select).map((name) => ({ name, origin })),
      aliases,
    );
    const columns = [...own, ...named.flatMap((name) => (name === undefined ? [] : [{ name, origin }]))];
    this.recurring.set(query, columns);
    this.within(unboundedRecursion(ctename, this.where), () => this.block(select, scope, 'from'));
    this.recurring.delete(query);
    return { columns, always: [] };
  }

  /** An ordinary view stands for its query, as in PostgreSQL's rewriter. */
  private view(view: CatalogRelation, aliases: readonly string[]): Item {
    const outside = this.where;
    this.where = `view ${display(view.name)}`;
    const inner = this.block(this.treeOf(view), null, 'from');
    this.where = outside;
    const columns = view.columns.map((shown, place): NamedOrigin => {
      const { name } = shown;
      const { origin } = inner.columns[place]!;
      if (origin.kind !== 'column' || !isOfOneType(this.findings.columnOf(origin), shown))
        return { name, origin };
      const { occurrence, column } = origin;
      return { name, origin: { kind: 'column', occurrence, column } };
    });
    return { columns: renamed(columns, aliases), always: inner.always };
  }

  private find(schema: string, name: string): CatalogRelation {
    for (const relation of this.catalog.relations.values()) {
      if (relation.name.schema === schema && relation.name.name === name) return relation;
    }
    throw internal(`relation ${schema}.${name} is not among those the catalog says ${this.where} reads`);
  }

  private derived(node: RangeSubselect, scope: Scope): Item {
    if (node.subquery === undefined || !('SelectStmt' in node.subquery))
      throw internal('FROM holds no SELECT');
    const select = node.subquery.SelectStmt;
    const alias = node.alias?.aliasname ?? '';
    if (select.valuesLists !== undefined) {
      this.block(select, scope, 'from');
      return this.enterOpen(scope, alias, strings(node.alias?.colnames));
    }
    // Without LATERAL it sees what encloses the whole query, not the items before it.
    const seen: Scope = { ...openScope(scope.parent), tables: scope.tables };
    const inner = this.block(select, node.lateral === true ? scope : seen, 'from');
    return this.enter(scope, alias, {
      columns: renamed(inner.columns, strings(node.alias?.colnames)),
      always: inner.always,
    });
  }

  private enter(scope: Scope, alias: string, item: Item, changing: string | null = null): Item {
    scope.entries.push({ alias, columns: item.columns, open: false, changing });
    return item;
  }

  /** @param first what its first column is, where that is known */
  private enterOpen(
    scope: Scope,
    alias: string,
    names: readonly string[],
    first: Origin | null = null,
  ): Item {
    const origin = computed(`a column of ${alias}, which is no table`);
    const columns = names.map((name, place) => ({ name, origin: place === 0 ? (first ?? origin) : origin }));
    scope.entries.push({ alias, columns, open: true, changing: null });
    return { columns, always: [] };
  }

  private join(node: JoinExpr, scope: Scope): Item {
    const kind = node.jointype ?? 'JOIN_INNER';
    if (kind !== 'JOIN_FULL') return this.joinSides(node, kind, scope);
    this.isFenced = true;
    if (this.unbounded !== null || this.choices === null) {
      return this.within(unboundedFullJoin(this.where), () => this.joinSides(node, kind, scope));
    }
    if (this.choices.choose(2) === 0) return this.joinSides(node, 'JOIN_LEFT', scope);
    // Rows without a left side; those that have one are the other reading's.
    const first = this.findings.occurrences.length;
    return this.joinSides(node, 'JOIN_RIGHT', scope, (next) => {
      for (let occurrence = first; occurrence < next; occurrence++) this.absent.add(occurrence);
    });
  }

  private joinSides(node: JoinExpr, kind: string, scope: Scope, leftIsWalked?: (next: number) => void): Item {
    if (node.isNatural === true) throw internal('a NATURAL JOIN was not deparsed as USING');
    if (node.larg === undefined || node.rarg === undefined) throw internal('a JOIN lacks a side');
    const before = scope.entries.length;
    const mergedBefore = scope.merged.length;
    const left = this.side(node.larg, scope, kind === 'JOIN_RIGHT' || kind === 'JOIN_FULL');
    leftIsWalked?.(this.findings.occurrences.length);
    const right = this.side(node.rarg, scope, kind === 'JOIN_LEFT' || kind === 'JOIN_FULL');
    const both = [...left.always, ...right.always];
    // What the condition is necessary for: both sides of an inner join, the nullable side of a left or right join (R5). A
    // row of the other side is there whether or not it finds a partner; one of the nullable side is nothing without.
    const found = joinKinds[kind]?.(left.always, right.always, both);
    if (found === undefined) return refuseFromItem({ JoinExpr: node });
    const { owners, always } = found;
    this.condition(node.quals, scope, owners);
    const using = strings(node.usingClause);
    const merged = using.map((name) => this.mergeColumn(name, kind, left, right, owners));
    const others = [...left.columns, ...right.columns].filter(({ name }) => !using.includes(name));
    const item: Item = { columns: [...merged, ...others], always };
    if (node.alias === undefined) {
      scope.merged.unshift(...merged);
      if (node.join_using_alias?.aliasname !== undefined) {
        this.enter(scope, node.join_using_alias.aliasname, { columns: merged, always: [] });
      }
      return item;
    }
    // An alias hides the two sides.
    scope.entries.splice(before);
    scope.merged.splice(0, scope.merged.length - mergedBefore);
    const columns = renamed(item.columns, strings(node.alias.colnames));
    return this.enter(scope, node.alias.aliasname ?? '', { columns, always: item.always }, 'a join');
  }

  /**
   * One side of a join. On the nullable side a column that a subquery takes from outside of the join is null where there is no
   * partner, although the row it comes from is there: it is not that row's column any more.
   */
  private side(node: Node, scope: Scope, isNullable: boolean): Item {
    const first = this.findings.occurrences.length;
    const entries = scope.entries.length;
    const merged = scope.merged.length;
    const item = this.fromItem(node, scope);
    if (!isNullable) return item;
    const hide = ({ name, origin }: NamedOrigin): NamedOrigin => {
      const isOwn = 'occurrence' in origin && origin.occurrence >= first;
      // What is equal to an element is not null.
      const isKept = isOwn || origin.kind === 'computed' || origin.kind === 'element';
      return { name, origin: isKept ? origin : computed('a column of the nullable side of an outer join') };
    };
    for (const [place, entry] of scope.entries.entries()) {
      if (place >= entries) scope.entries[place] = { ...entry, columns: entry.columns.map(hide) };
    }
    const added = scope.merged.length - merged;
    scope.merged = scope.merged.map((column, place) => (place < added ? hide(column) : column));
    return { columns: item.columns.map(hide), always: item.always };
  }

  private mergeColumn(
    name: string,
    kind: string,
    left: Item,
    right: Item,
    owners: readonly number[],
  ): NamedOrigin {
    const one = left.columns.find((column) => column.name === name)?.origin;
    const other = right.columns.find((column) => column.name === name)?.origin;
    // A function's columns are not listed; a USING column of one of those computes nothing from a table.
    for (const origin of [one, other]) if (origin !== undefined) this.findings.reference(origin);
    const [oneSide, otherSide] = [one, other].map((side) => (side === undefined ? null : operandFrom(side)));
    if (oneSide && otherSide) this.findings.equate(oneSide, otherSide, owners);
    if (kind === 'JOIN_FULL') return { name, origin: computed('a column of either side of a FULL JOIN') };
    // The column of the side that is always there.
    const origin = kind === 'JOIN_RIGHT' ? other : one;
    const named = { name, origin: origin ?? computed('a column of a function') };
    const isKept =
      one?.kind === 'column' &&
      other?.kind === 'column' &&
      isOfOneType(this.findings.columnOf(one), this.findings.columnOf(other));
    const mayBeFloat = (side: Origin | undefined): boolean =>
      side?.kind !== 'column' || this.findings.isFloat(side);
    return isKept ? named : this.findings.converted(named, mayBeFloat(one) || mayBeFloat(other));
  }

  // Conditions and expressions --------------------------------------------------------------------------------------

  private condition(node: Node | undefined, scope: Scope, owners: readonly number[]): void {
    for (const conjunct of conjuncts(node)) this.conjunct(conjunct, scope, owners);
  }

  private conjunct(node: Node, scope: Scope, owners: readonly number[]): void {
    if ('SubLink' in node && node.SubLink.subLinkType === 'ANY_SUBLINK') {
      this.membership(node.SubLink, scope, owners);
      return;
    }
    if ('SubLink' in node && node.SubLink.subLinkType === 'EXISTS_SUBLINK') {
      this.subquery(node.SubLink, scope, owners);
      return;
    }
    this.visit(node, scope);
    if ('NullTest' in node && node.NullTest.nulltesttype === 'IS_NOT_NULL') {
      const origin = this.origins.of(node.NullTest.arg, scope);
      if (origin.kind === 'column') this.findings.notNullFor(origin.occurrence, origin.column, owners);
      if (origin.kind === 'expression')
        this.findings.notNullFor(origin.occurrence, expressionKey(origin.pieces), owners);
    }
    for (const [one, other] of equalities(node)) {
      const [left, right] = [one, other].map((side) => this.sideOf(side, scope));
      for (const side of [left!, right!]) {
        if (side.kind === 'column') this.findings.notNullFor(side.occurrence, side.column, owners);
      }
      if (left!.kind === 'column' && right!.kind === 'column') this.findings.equate(left!, right!, owners);
      else this.findings.noteNearMiss(owners, left!, right!);
    }
  }

  private sideOf({ node, isElement }: EqualSide, scope: Scope): Side {
    const side = operandOf(node, (name) => lookUp(scope, name));
    return side.kind === 'column' && isElement ? { ...side, isElement } : side;
  }

  /**
   * `x IN (SELECT y …)` as a condition that must hold: its inner rows matter only where y = x (R6), each of several, and so do the owners of the
   * condition, as if they were joined. Anywhere else (NOT IN, in a select list, under OR) a NULL or an empty set counts too, and only
   * a correlation inside the subquery links it.
   */
  private membership(sublink: SubLink, scope: Scope, owners: readonly number[]): void {
    this.visit(sublink.testexpr, scope);
    const inner = this.subquery(sublink, scope, owners);
    if (sublink.operName !== undefined && !isEquality(sublink.operName)) return;
    const tested = sublink.testexpr;
    // Of rows, each column is equal, or the rows are not.
    const sides = tested !== undefined && 'RowExpr' in tested ? (tested.RowExpr.args ?? []) : [tested];
    for (const [place, { origin }] of inner.columns.entries()) {
      const side = operandOf(sides[place], (name) => lookUp(scope, name));
      const operand = operandFrom(origin);
      if (operand !== null && side.kind === 'column')
        this.findings.equate(operand, side, [...inner.always, ...owners]);
    }
  }

  private subquery(sublink: SubLink, scope: Scope, needing: readonly number[] = []): Block {
    const { subselect } = sublink;
    if (subselect === undefined || !('SelectStmt' in subselect)) throw internal('a subquery is no SELECT');
    return this.block(subselect.SelectStmt, scope, 'expression', needing);
  }

  /** Any expression: finds the columns it reads and the subqueries in it. */
  private visit(node: unknown, scope: Scope): void {
    if (Array.isArray(node)) {
      for (const element of node) this.visit(element, scope);
      return;
    }
    if (typeof node !== 'object' || node === null) return;
    const part = node as Node;
    if ('ColumnRef' in part) this.columnReference(part, scope);
    else if ('SubLink' in part) {
      this.visit(part.SubLink.testexpr, scope);
      noteUnorderedArray(part.SubLink, (advice) => this.findings.advise(advice), this.where);
      this.subquery(part.SubLink, scope);
    } else if ('SQLValueFunction' in part) {
      refuseSessionValue((part.SQLValueFunction.op ?? '').replace(/^SVFOP_/, '').replace(/_N$/, ''));
    } else if ('SelectStmt' in part || 'RangeVar' in part) {
      throw internal('a query stands where the walk expects none');
    } else {
      for (const value of Object.values(node)) this.visit(value, scope);
      if ('FuncCall' in part) this.noteExtreme(part.FuncCall, scope);
    }
  }

  private columnReference(node: Extract<Node, { ColumnRef: unknown }>, scope: Scope): void {
    const name = columnName(node.ColumnRef);
    const found = name === null ? null : lookUp(scope, name);
    if (found === null) {
      const text = strings(node.ColumnRef.fields).join('.');
      refuse(
        `column ${text} in ${this.where} is not supported in a tview`,
        'It is a system column, or the walk over the definition does not know what it refers to.',
        'Give every table an alias and name columns by it.',
      );
    }
    if (name?.column === null && name.relation !== null) {
      const changing = findEntry(scope, name.relation)?.changing ?? null;
      if (changing !== null) refuseWholeRow(`${changing} (${name.relation}) in ${this.where}`);
    }
    for (const origin of found) this.findings.reference(origin);
  }

  private noteExtreme(call: FuncCall, scope: Scope): void {
    const name = strings(call.funcname).at(-1) ?? '';
    const origin = this.origins.of(call.args?.[0], scope);
    if ((name === 'min' || name === 'max') && origin.kind === 'column')
      this.findings.noteForms(origin, `${name}(${origin.column})`, this.where);
  }
}

/** The types of a set operation's columns, as the stored tree has them: float4, float8 or arrays of them. */
const unitesFloats = / :colTypes \(o (?:\d+ )*(?:70[01]|102[12])[ )]/;

const isOfOneType = (one: CatalogColumn, other: CatalogColumn): boolean =>
  one.type === other.type && one.collationOid === other.collationOid;

function internal(message: string): TviewsError {
  return new TviewsError(SqlState.internalError, message);
}
