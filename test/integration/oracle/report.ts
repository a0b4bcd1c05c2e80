/** What a failure is told as: a file with everything, and the reproducer as a script a person can follow. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ddl } from './schema.ts';
import type { Reproducer } from './shrink.ts';
import { begin, end, hasBegin, statementsOf, type Transaction } from './transaction.ts';
import type { Load } from './trial.ts';
import { type Data, type Design, insertions } from './world.ts';

export function script(design: Design, data: Data, load: Load): string {
  const sessions = load.map((transactions, i) =>
    [`-- Session ${i + 1}, at the same time as the others:`, ...transactions.map(transactionText)].join('\n'),
  );
  return [designScript(design), ...insertions(design.schema, data).map((sql) => `${sql};`), ...sessions].join(
    '\n',
  );
}

export const designScript = ({ schema, definitions }: Design): string =>
  [
    ddl(schema),
    ...definitions.views.map(({ name, query }) => `CREATE VIEW ${name} AS ${query};`),
    ...definitions.tviews.map(
      ({ name, key, query, fullRefresh }) =>
        `CREATE TVIEW ${name} WITH (key = '${key.join(', ')}'${fullRefresh === true ? ", full_refresh = '*'" : ''}) AS ${query};`,
    ),
  ].join('\n');

function transactionText(transaction: Transaction): string {
  const statements = statementsOf(transaction.steps).map(({ sql }) => sql);
  const all = hasBegin(transaction.path) ? [begin(transaction), ...statements, end(transaction)] : statements;
  return `/* ${transaction.path} */ ${all.join('; ')};`;
}

/** Saves under TVIEWS_ORACLE_REPORTS, or with the other temporary files; gives the file's name. */
export function save(name: string, text: string): string {
  const folder = process.env.TVIEWS_ORACLE_REPORTS ?? join(tmpdir(), 'tviews-oracle');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

export function describeReproducer(found: Reproducer): string {
  const { design, data, load, trials, failures, said } = found;
  const transactions = load.flat().length;
  return [
    `-- ${transactions} transactions in ${load.length} sessions; ${failures} of the last ${trials} trials failed:`,
    ...said.map((line) => `--   ${line}`),
    script(design, data, load),
  ].join('\n');
}
