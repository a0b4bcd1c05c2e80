/** Compares tviews with their definitions, repairs them, builds them anew. */

import { compareFunctionName } from './compare-function.ts';
import type { SqlExecutor } from './executor.ts';
import { quoteIdentifier } from './identifier.ts';
import { loadRegistry, type RegisteredTview, requireTview } from './registry.ts';

/** A row that differs: its key, as JSON. */
export interface DivergentRow {
  readonly kind: 'missing' | 'surplus' | 'different';
  readonly key: Readonly<Record<string, unknown>>;
}

export interface Verification {
  /** Rows of the definition the table lacks. */
  readonly missing: number;
  /** Rows of the table the definition does not give. */
  readonly surplus: number;
  /** Rows both have, with different content. */
  readonly different: number;
  readonly sample: readonly DivergentRow[];
  /** An aggregate without a total order may give the same rows in another order: a difference then may be none. */
  readonly unorderedAggregate: boolean;
  /** What the repair wrote and deleted, in this tview and those that read it; null where none was asked for or needed. */
  readonly repaired: { readonly written: number; readonly deleted: number } | null;
}

const sampleSize = 10;

/** The counts are of before the repair. */
export async function verifyTview(
  executor: SqlExecutor,
  name: string | { readonly schema: string | null; readonly name: string },
  options: { repair?: boolean } = {},
): Promise<Verification> {
  const tview = await requireTview(executor, await loadRegistry(executor), name);
  const compare = quoteIdentifier(compareFunctionName(tview.plan.table.name, tview.id));
  const [row] = await executor.query<{
    missing: string;
    surplus: string;
    different: string;
    sample: DivergentRow[];
  }>(`SELECT c.missing, c.surplus, c.different, c.sample FROM tviews.${compare}($1) AS c`, [sampleSize]);
  const counts = {
    missing: Number(row!.missing),
    surplus: Number(row!.surplus),
    different: Number(row!.different),
  };
  const divergent = counts.missing + counts.surplus + counts.different > 0;
  return {
    ...counts,
    sample: row!.sample,
    unorderedAggregate: tview.plan.advice.some(({ kind }) => kind === 'unordered-aggregate'),
    repaired: options.repair === true && divergent ? await refreshAll(executor, tview) : null,
  };
}

/** Computes every row of a tview anew and writes those that differ; readers never see it empty. */
export async function rebuild(
  executor: SqlExecutor,
  name: string | { readonly schema: string | null; readonly name: string },
): Promise<{ readonly rows: number; readonly written: number; readonly deleted: number }> {
  return await refreshAll(executor, await requireTview(executor, await loadRegistry(executor), name));
}

/** Through flush, so under the same locks as every writer and with the tviews that read this one behind it. */
async function refreshAll(
  executor: SqlExecutor,
  tview: RegisteredTview,
): Promise<{ rows: number; written: number; deleted: number }> {
  const [row] = await executor.query<{
    report: { tview: number; keys: number; written: number; deleted: number }[];
  }>('SELECT tviews.flush($1::text::jsonb, false) AS report', [
    JSON.stringify([{ tview: tview.id, all: true }]),
  ]);
  const report = row!.report;
  return {
    rows: report.find((entry) => entry.tview === tview.id)?.keys ?? 0,
    written: report.reduce((sum, entry) => sum + entry.written, 0),
    deleted: report.reduce((sum, entry) => sum + entry.deleted, 0),
  };
}
