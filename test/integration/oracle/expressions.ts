/**
 * Random expressions over the row of a relation: along edges in both directions, as joins and as correlated subqueries, to a
 * depth. Everything they give is determined by the rows alone: each aggregate that shows an order has a total one.
 */
import type { Random } from '../../kit/random.ts';
import { columnsList, type Edge, edgeCondition, edgesOf, type Relation } from './relation.ts';

/** A relation under the name it has in FROM. */
interface Row {
  readonly alias: string;
  readonly relation: Relation;
}

/** The FROM clause and the WHERE clause of a query, as they grow. */
export interface Query {
  readonly joins: string[];
  readonly where: string[];
}

export const emptyQuery = (): Query => ({ joins: [], where: [] });

export const whereClause = ({ where }: Query): string =>
  where.length === 0 ? '' : ` WHERE ${where.join(' AND ')}`;
export const fromClause = (row: Row, { joins }: Query): string =>
  [`FROM ${row.relation.name} ${row.alias}`, ...joins].join(' ');

export class Expressions {
  readonly #random: Random;
  readonly #relations: readonly Relation[];
  #aliases = 0;
  /** Keeps a definition from growing beyond what a flush of a millisecond can compute. */
  #occurrencesLeft: number;

  constructor(random: Random, relations: readonly Relation[], occurrences: number) {
    this.#random = random;
    this.#relations = relations;
    this.#occurrencesLeft = occurrences;
  }

  row(relation: Relation): Row {
    this.#aliases += 1;
    this.#occurrencesLeft -= 1;
    return { alias: `a${this.#aliases}`, relation };
  }

  /** The row as JSON, with what hangs on it. */
  document(row: Row, query: Query, depth: number): string {
    const { alias, relation } = row;
    const fields = [`${alias}.${this.#random.pick([...relation.values, ...relation.flags])}`];
    if (this.#random.chance(0.4)) fields.push(`${alias}.${this.#random.pick(relation.values)}`);
    for (const edge of this.#someEdges(relation, depth)) fields.push(this.along(row, edge, query, depth - 1));
    return `jsonb_build_object(${fields.map((field, i) => `'${String.fromCharCode(97 + i)}', ${field}`).join(', ')})`;
  }

  #someEdges(relation: Relation, depth: number): Edge[] {
    if (depth <= 0) return [];
    const edges = edgesOf(relation, this.#relations);
    if (edges.length === 0) return [];
    return this.#random
      .list(this.#random.chance(0.45) ? 2 : 1, () => this.#random.pick(edges))
      .filter(() => this.#occurrencesLeft > 0);
  }

  along(row: Row, edge: Edge, query: Query, depth: number): string {
    return edge.direction === 'down'
      ? this.#lookUp(row, edge, query, depth)
      : this.#collect(row, edge, depth);
  }

  #lookUp(row: Row, edge: Edge, query: Query, depth: number): string {
    if (this.#random.chance(0.6)) return this.document(this.join(row, edge, query), query, depth);
    const inner = this.#correlated(row, edge);
    const document = this.document(inner.row, inner.query, depth);
    return `(SELECT ${document} ${fromClause(inner.row, inner.query)}${whereClause(inner.query)})`;
  }

  /** Joins the row that an edge leads down to; what the join lets through may depend on it. */
  join(
    row: Row,
    edge: Edge,
    query: Query,
    kind: 'inner' | 'left' = this.#random.chance(0.35) ? 'inner' : 'left',
  ): Row {
    const joined = this.row(edge.to);
    const conditions = [edgeCondition(edge, row.alias, joined.alias)];
    if (this.#random.chance(0.3)) conditions.push(this.#plainFilter(joined));
    query.joins.push(
      `${kind === 'inner' ? 'JOIN' : 'LEFT JOIN'} ${edge.to.name} ${joined.alias} ON ${conditions.join(' AND ')}`,
    );
    return joined;
  }

  #collect(row: Row, edge: Edge, depth: number): string {
    const { row: child, query } = this.#correlated(row, edge);
    const { alias, relation } = child;
    const order = `ORDER BY ${columnsList(alias, relation.key)}`;
    const value = `${alias}.${this.#random.pick(relation.numbers)}`;
    const select = (expression: string, rest = '') =>
      `(SELECT ${expression} ${fromClause(child, query)}${whereClause(query)}${rest})`;
    switch (
      this.#random.weighted({
        documents: 8,
        count: 2,
        sum: 2,
        text: 1,
        array: 1,
        first: 1,
        exists: 2,
        absent: 2,
      })
    ) {
      case 'documents': {
        const document = this.document(child, query, depth);
        return select(`jsonb_agg(${document} ${order})`);
      }
      case 'count':
        this.#joinSome(child, query, depth);
        return select('count(*)');
      case 'sum':
        this.#joinSome(child, query, depth);
        return select(`sum(${value})`);
      case 'text':
        return select(`string_agg(${value}::text, ',' ${order})`);
      case 'array':
        return `ARRAY${select(value, ` ${order}`)}`;
      case 'first':
        return select(
          value,
          ` ORDER BY ${value} DESC NULLS LAST, ${columnsList(alias, relation.key)} LIMIT 1`,
        );
      case 'exists':
        return `EXISTS (SELECT ${fromClause(child, query)}${whereClause(query)})`;
      case 'absent':
        return `NOT EXISTS (SELECT ${fromClause(child, query)}${whereClause(query)})`;
    }
  }

  /** Joins that show nothing of the row they lead to, only whether it is there. */
  #joinSome(row: Row, query: Query, depth: number): void {
    for (const edge of this.#someEdges(row.relation, depth)) {
      if (edge.direction === 'down') this.join(row, edge, query, 'inner');
      else query.where.push(this.#existence(row, edge, depth - 1));
    }
  }

  #correlated(row: Row, edge: Edge): { row: Row; query: Query } {
    const inner = this.row(edge.to);
    const query = emptyQuery();
    query.where.push(edgeCondition(edge, row.alias, inner.alias));
    if (this.#random.chance(0.35)) query.where.push(this.#plainFilter(inner));
    return { row: inner, query };
  }

  #existence(row: Row, edge: Edge, depth: number): string {
    const inner = this.#correlated(row, edge);
    if (depth > 0 && this.#random.chance(0.4)) inner.query.where.push(this.filter(inner.row, depth - 1));
    return `${this.#random.chance(0.5) ? '' : 'NOT '}EXISTS (SELECT ${fromClause(inner.row, inner.query)}${whereClause(inner.query)})`;
  }

  filter(row: Row, depth: number): string {
    const edges = edgesOf(row.relation, this.#relations);
    if (depth > 0 && edges.length > 0 && this.#occurrencesLeft > 0 && this.#random.chance(0.5)) {
      return this.#existence(row, this.#random.pick(edges), depth);
    }
    return this.#plainFilter(row);
  }

  #plainFilter({ alias, relation }: Row): string {
    if (relation.flags.length > 0 && this.#random.chance(0.6)) {
      return `${this.#random.chance(0.7) ? '' : 'NOT '}${alias}.${this.#random.pick(relation.flags)}`;
    }
    const number = `${alias}.${this.#random.pick(relation.numbers)}`;
    const bound = this.#random.int(1, 5);
    return this.#random.pick([
      `${number} > ${bound}`,
      `${number} < ${bound}`,
      `${number} IS DISTINCT FROM ${bound}`,
    ]);
  }
}
