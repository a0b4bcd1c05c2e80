/** Random definitions over a schema: ordinary views, and tviews that may read those views and each other. */

import type { Random } from '../../kit/random.ts';
import { Expressions, emptyQuery, fromClause, whereClause } from './expressions.ts';
import { columnsList, type Edge, edgeCondition, edgesOf, type Relation, relationsOf } from './relation.ts';
import type { Schema } from './schema.ts';

export interface Definition {
  /** `tv_d1`; its view is `v_d1`. An ordinary view's is its own. */
  readonly name: string;
  readonly query: string;
  readonly key: readonly string[];
  /** `WITH (full_refresh = '*')`. */
  readonly fullRefresh?: boolean;
}

export interface Definitions {
  readonly views: readonly Definition[];
  /** In an order in which they can be created. */
  readonly tviews: readonly Definition[];
}

interface Made {
  readonly query: string;
  /** Without its name. */
  readonly relation: Omit<Relation, 'name'>;
  readonly fullRefresh?: boolean;
}

export function randomDefinitions(random: Random, schema: Schema): Definitions {
  const relations = relationsOf(schema);
  const views: Definition[] = [];
  const tviews: Definition[] = [];
  const add = (into: Definition[], name: string, { query, relation, fullRefresh = false }: Made): void => {
    into.push({ name, query, key: relation.key, fullRefresh });
    relations.push({ ...relation, name });
  };
  // The second may be one over the first.
  for (let i = 1; i <= random.int(0, 2); i++) add(views, `w${i}`, ordinaryView(random, relations));
  for (let i = 1; i <= random.int(2, 3); i++) add(tviews, `tv_d${i}`, tview(random, relations));
  return { views, tviews };
}

/** With the same columns as what it reads, so that it can stand in its place. */
function ordinaryView(random: Random, relations: readonly Relation[]): Made {
  const relation = random.pick(relations);
  const expressions = new Expressions(random, relations, 4);
  const row = expressions.row(relation);
  const query = emptyQuery();
  const columns = [...relation.key, ...linkColumnsOf(relation), ...relation.flags].filter(isFirst);
  const number = `${row.alias}.${random.pick(relation.numbers)}`;
  const down = edgesOf(relation, relations).filter(({ direction }) => direction === 'down');
  let x = number;
  if (down.length > 0 && random.chance(0.5)) {
    const joined = expressions.join(row, random.pick(down), query);
    x = `COALESCE(${joined.alias}.${random.pick(joined.relation.numbers)}, ${number})`;
  }
  if (random.chance(0.5)) query.where.push(expressions.filter(row, 1));
  return {
    query: `SELECT ${columnsList(row.alias, columns)}, ${x} AS x ${fromClause(row, query)}${whereClause(query)}`,
    relation: { ...relation, values: ['x'], numbers: ['x'] },
  };
}

const linkColumnsOf = ({ links }: Relation): string[] => links.flatMap(({ columns }) => columns);
const isFirst = (name: string, i: number, all: readonly string[]): boolean => all.indexOf(name) === i;

function tview(random: Random, relations: readonly Relation[]): Made {
  const kinds = { rows: 6, grouped: 2, byLink: 1, derived: 1, peers: 1, branches: 1, whole: 1 };
  switch (random.weighted(kinds)) {
    case 'rows':
      return rows(random, relations);
    case 'grouped':
      return grouped(random, relations) ?? rows(random, relations);
    case 'byLink':
      return byLink(random, relations) ?? rows(random, relations);
    case 'derived':
      return derived(random, relations) ?? rows(random, relations);
    case 'peers':
      return peers(random, relations) ?? rows(random, relations);
    case 'branches':
      return branches(random, relations);
    case 'whole':
      return whole(random, relations);
  }
}

/** Each row with its place among those that refer to the same row. */
function peers(random: Random, relations: readonly Relation[]): Made | null {
  const starts = relations.flatMap((relation) => relation.links.map((link) => ({ relation, link })));
  if (starts.length === 0) return null;
  const { relation, link } = random.pick(starts);
  const expressions = new Expressions(random, relations, 4);
  const row = expressions.row(relation);
  const query = emptyQuery();
  query.where.push(...link.columns.map((column) => `${row.alias}.${column} IS NOT NULL`));
  let order = `${row.alias}.${random.pick(relation.numbers)}`;
  const down = edgesOf(relation, relations).filter(({ direction }) => direction === 'down');
  if (down.length > 0 && random.chance(0.5)) {
    const next = expressions.join(row, random.pick(down), query);
    order = `${next.alias}.${random.pick(next.relation.numbers)}`;
  }
  if (random.chance(0.3)) query.where.push(expressions.filter(row, 1));
  const window = `OVER (PARTITION BY ${columnsList(row.alias, link.columns)} ORDER BY ${order})`;
  const columns = [...relation.key, ...linkColumnsOf(relation)].filter(isFirst);
  return {
    query: `SELECT ${columnsList(row.alias, columns)}, (rank() ${window})::integer AS x, jsonb_build_array(count(*) ${window}, ${expressions.document(row, query, 1)}) AS data ${fromClause(row, query)}${whereClause(query)}`,
    relation: asSource(relation),
  };
}

/** Rows of a table, some in one form and some in another. */
function branches(random: Random, relations: readonly Relation[]): Made {
  const root = random.pick(relations);
  const number = random.pick(root.numbers);
  const operation = random.pick(['UNION ALL', 'UNION', 'EXCEPT', 'INTERSECT']);
  const expressions = new Expressions(random, relations, 7);
  const branch = (condition: string): string => {
    const row = expressions.row(root);
    const query = emptyQuery();
    // Only of rows that are shown in one branch alone may the document differ.
    const data =
      operation === 'UNION ALL'
        ? expressions.document(row, query, 2)
        : `jsonb_build_array(${row.alias}.${number})`;
    query.where.push(`${row.alias}.${number} ${condition}`);
    if (random.chance(0.5)) query.where.push(expressions.filter(row, 2));
    const columns = columnsList(row.alias, [...root.key, ...linkColumnsOf(root)].filter(isFirst));
    return `SELECT ${columns}, ${row.alias}.${number} AS x, ${data} AS data ${fromClause(row, query)}${whereClause(query)}`;
  };
  const [first, second] = operation === 'UNION ALL' ? ['< 3', '>= 3'] : ['> 1', '< 5'];
  return { query: `${branch(first!)} ${operation} ${branch(second!)}`, relation: asSource(root) };
}

/** What any row of a table can change in every row: each transaction that changes such a table computes all rows, alone. */
function whole(random: Random, relations: readonly Relation[]): Made {
  const root = random.pick(relations);
  const other = random.pick(relations);
  const expressions = new Expressions(random, relations, 3);
  const row = expressions.row(root);
  const query = emptyQuery();
  const columns = columnsList(row.alias, [...root.key, ...linkColumnsOf(root)].filter(isFirst));
  const key = columnsList(row.alias, root.key);
  const number = `${row.alias}.${random.pick(root.numbers)}`;
  const far = random.pick(other.numbers);
  const isUnion = random.chance(0.3);
  const data = random.pick([
    `jsonb_build_object('total', (SELECT sum(o.${far}) FROM ${other.name} o))`,
    `jsonb_build_object('below', (SELECT count(*) FROM ${other.name} o WHERE o.${far} < ${number}), 'row', ${expressions.document(row, query, 1)})`,
    // A row of both branches has one place in each.
    ...(isUnion ? [] : [`jsonb_build_object('place', rank() OVER (ORDER BY ${number}, ${key}))`]),
  ]);
  const select = (...conditions: string[]): string =>
    `SELECT ${columns}, ${number} AS x, ${data} AS data ${fromClause(row, query)}${whereClause({ ...query, where: [...query.where, ...conditions] })}`;
  const text = isUnion
    ? `${select(expressions.filter(row, 0))} UNION ${select(expressions.filter(row, 0))}`
    : `${select()}${random.chance(0.5) ? ` ORDER BY ${number}, ${key} LIMIT ${random.int(1, 5)}` : ''}`;
  return { query: text, relation: asSource(root), fullRefresh: true };
}

/** What a tview has is read by others as a number and as a document. */
const asSource = (relation: Relation): Omit<Relation, 'name'> => ({
  ...relation,
  values: ['x', 'data'],
  numbers: ['x'],
  flags: [],
});

function rows(random: Random, relations: readonly Relation[]): Made {
  const root = random.pick(relations);
  const expressions = new Expressions(random, relations, 7);
  const row = expressions.row(root);
  const query = emptyQuery();
  const depth = random.int(1, 4);
  const document = expressions.document(row, query, depth);
  if (random.chance(0.4)) query.where.push(expressions.filter(row, 2));
  const columns = [...root.key, ...linkColumnsOf(root)].filter(isFirst);
  const number = `${row.alias}.${random.pick(root.numbers)}`;
  return {
    query: `SELECT ${columnsList(row.alias, columns)}, ${number} AS x, ${document} AS data ${fromClause(row, query)}${whereClause(query)}`,
    relation: asSource(root),
  };
}

/** One row for each row of the root, over a join that multiplies it. */
function grouped(random: Random, relations: readonly Relation[]): Made | null {
  // Of a view PostgreSQL does not know that its key determines the rest.
  const roots = relations.filter(({ name, rowsOf }) => name === rowsOf);
  const starts = roots.flatMap((root) =>
    edgesOf(root, relations)
      .filter(({ direction }) => direction === 'up')
      .map((edge) => ({ root, edge })),
  );
  if (starts.length === 0) return null;
  const { root, edge } = random.pick(starts);
  const expressions = new Expressions(random, relations, 6);
  const row = expressions.row(root);
  const query = emptyQuery();
  const child = expressions.join(row, edge, query);
  const aggregates = aggregatesOver(random, child);
  const next = edgesOf(child.relation, relations);
  if (next.length > 0 && random.chance(0.7)) {
    const beyond: Edge = random.pick(next);
    aggregates.push(...aggregatesOver(random, expressions.join(child, beyond, query), child));
  }
  if (random.chance(0.3)) query.where.push(expressions.filter(row, 1));
  const columns = [...root.key, ...linkColumnsOf(root)].filter(isFirst);
  const having = random.chance(0.2) ? ' HAVING count(*) > 1' : '';
  return {
    query: `SELECT ${columnsList(row.alias, columns)}, sum(${child.alias}.${random.pick(child.relation.numbers)})::integer AS x, jsonb_build_array(${aggregates.join(', ')}) AS data ${fromClause(row, query)}${whereClause(query)} GROUP BY ${columnsList(row.alias, root.key)}${having}`,
    relation: asSource(root),
  };
}

function aggregatesOver(
  random: Random,
  row: { readonly alias: string; readonly relation: Relation },
  above?: { readonly alias: string; readonly relation: Relation },
): string[] {
  const { alias, relation } = row;
  const value = `${alias}.${random.pick(relation.values)}`;
  const order = [row, ...(above === undefined ? [] : [above])]
    .map((ordered) => columnsList(ordered.alias, ordered.relation.key))
    .join(', ');
  const present = `${alias}.${relation.key[0]!} IS NOT NULL`;
  return [
    random.pick([
      `count(${alias}.${relation.key[0]!})`,
      `count(DISTINCT ${alias}.${relation.key[0]!})`,
      `max(${alias}.${random.pick(relation.numbers)})`,
      `COALESCE(bool_or(${alias}.${random.pick(relation.numbers)} > 3), false)`,
    ]),
    random.pick([
      `jsonb_agg(${value} ORDER BY ${order}) FILTER (WHERE ${present})`,
      `array_agg(${value} ORDER BY ${order})`,
      `sum(${alias}.${random.pick(relation.numbers)})`,
    ]),
  ];
}

/** One row for each value of a link: a group that nobody's row stands for. */
function byLink(random: Random, relations: readonly Relation[]): Made | null {
  const starts = relations.flatMap((relation) => relation.links.map((link) => ({ relation, link })));
  if (starts.length === 0) return null;
  const { relation, link } = random.pick(starts);
  const expressions = new Expressions(random, relations, 4);
  const row = expressions.row(relation);
  const query = emptyQuery();
  query.where.push(...link.columns.map((column) => `${row.alias}.${column} IS NOT NULL`));
  const aggregates = aggregatesOver(random, row);
  const edges = edgesOf(relation, relations);
  if (edges.length > 0 && random.chance(0.7)) {
    aggregates.push(...aggregatesOver(random, expressions.join(row, random.pick(edges), query), row));
  }
  if (random.chance(0.4)) query.where.push(expressions.filter(row, 1));
  const target = relations.find(({ name }) => name === link.target)!;
  const key = link.columns.map((column, i) => `${row.alias}.${column} AS ${target.key[i]!}`);
  return {
    query: `SELECT ${key.join(', ')}, count(*)::integer AS x, jsonb_build_array(${aggregates.join(', ')}) AS data ${fromClause(row, query)}${whereClause(query)} GROUP BY ${columnsList(row.alias, link.columns)}`,
    relation: asSource({ ...target, links: [] }),
  };
}

/** Joined to a grouped subquery in FROM. */
function derived(random: Random, relations: readonly Relation[]): Made | null {
  const starts = relations.flatMap((root) =>
    edgesOf(root, relations)
      .filter(({ direction }) => direction === 'up')
      .map((edge) => ({ root, edge })),
  );
  if (starts.length === 0) return null;
  const { root, edge } = random.pick(starts);
  const expressions = new Expressions(random, relations, 4);
  const row = expressions.row(root);
  const inner = expressions.row(edge.to);
  const innerQuery = emptyQuery();
  if (random.chance(0.4)) innerQuery.where.push(expressions.filter(inner, 1));
  const far = columnsList(inner.alias, edge.far);
  const group = `(SELECT ${far}, count(*) AS n, sum(${inner.alias}.${random.pick(edge.to.numbers)}) AS total ${fromClause(inner, innerQuery)}${whereClause(innerQuery)} GROUP BY ${far})`;
  const kind = random.chance(0.7) ? 'LEFT JOIN' : 'JOIN';
  const columns = [...root.key, ...linkColumnsOf(root)].filter(isFirst);
  return {
    query: `SELECT ${columnsList(row.alias, columns)}, g.n::integer AS x, jsonb_build_object('n', g.n, 'total', g.total) AS data FROM ${root.name} ${row.alias} ${kind} ${group} g ON ${edgeCondition(edge, row.alias, 'g')}`,
    relation: asSource(root),
  };
}
