/** What the planner makes of a statement, or what came of running it, read from EXPLAIN's JSON. */
import type { QualifiedName } from '../definition/plan.ts';
import type { SqlExecutor } from './executor.ts';
import { sqlFile } from './files.ts';

const relationSizesSql = sqlFile('relation-sizes.sql');

/** A node of a plan, of its members those that are read here. */
interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Plan Rows': number;
  readonly 'Total Cost': number;
  readonly 'Relation Name'?: string;
  readonly Schema?: string;
  readonly 'Index Cond'?: string;
  readonly 'Shared Hit Blocks'?: number;
  readonly 'Shared Read Blocks'?: number;
  readonly Plans?: readonly PlanNode[];
}

export interface Planned {
  /** By the planner's estimate. */
  readonly rows: number;
  readonly cost: number;
  /** Tables of which the plan reads every row, each once. */
  readonly fullReads: readonly QualifiedName[];
}

export async function planOf(executor: SqlExecutor, query: string): Promise<Planned> {
  const [row] = await executor.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
    `EXPLAIN (VERBOSE, FORMAT JSON) ${query}`,
  );
  const { Plan: top } = row!['QUERY PLAN'][0];
  return { rows: top['Plan Rows'], cost: top['Total Cost'], fullReads: fullReadsOf(top) };
}

function fullReadsOf(top: PlanNode): QualifiedName[] {
  const found = new Map<string, QualifiedName>();
  const visit = (node: PlanNode): void => {
    const { 'Node Type': type, Schema: schema, 'Relation Name': name } = node;
    // An index that is walked from end to end, for its order, is no better than the table.
    const readsAll =
      type === 'Seq Scan' || (/^Index (Only )?Scan$/.test(type) && node['Index Cond'] === undefined);
    if (readsAll && schema !== undefined && name !== undefined) {
      found.set(JSON.stringify([schema, name]), { schema, name });
    }
    node.Plans?.forEach(visit);
  };
  visit(top);
  return [...found.values()];
}

export interface Ran {
  readonly ms: number;
  /** Pages of shared buffers that were looked at, found there or read. */
  readonly buffers: number;
}

/** Runs a query to its end, and throws its rows away. */
export async function runOf(executor: SqlExecutor, query: string): Promise<Ran> {
  // Without a clock in every node, which would cost more than the query.
  const [row] = await executor.query<{ 'QUERY PLAN': [{ Plan: PlanNode; 'Execution Time': number }] }>(
    `EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ${query}`,
  );
  const [{ Plan: top, 'Execution Time': ms }] = row!['QUERY PLAN'];
  return { ms, buffers: (top['Shared Hit Blocks'] ?? 0) + (top['Shared Read Blocks'] ?? 0) };
}

export interface RelationSize extends QualifiedName {
  /** As last counted for the planner; null where nobody has. */
  readonly rows: number | null;
  /** With long values, without indexes. */
  readonly tableBytes: number;
  /** With indexes. */
  readonly bytes: number;
}

export async function sizesOf(
  executor: SqlExecutor,
  relations: readonly QualifiedName[],
): Promise<RelationSize[]> {
  const rows = await executor.query<RelationSize>(relationSizesSql(), [
    relations.map(({ schema }) => schema),
    relations.map(({ name }) => name),
  ]);
  return rows.map((row) => ({ ...row, rows: row.rows !== null && row.rows < 0 ? null : row.rows }));
}
