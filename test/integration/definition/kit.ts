/** Compiles a definition on a real server, in a transaction that is rolled back. */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import type { SqlExecutor } from '../../../src/database/executor.ts';
import { compileDefinition } from '../../../src/definition/compile.ts';
import type { FullRefresh } from '../../../src/definition/full-refresh.ts';
import type { RefreshPlan } from '../../../src/definition/plan.ts';

export interface CompileOptions {
  readonly key?: readonly string[];
  /** `*`, or oids. */
  readonly fullRefresh?: FullRefresh;
  readonly name?: string;
  /** Tables that are tviews. */
  readonly tviews?: readonly string[];
}

/** The compiler's queries take longer to plan than to run: planned once for thousands of definitions. */
function preparing(client: pg.Client): SqlExecutor {
  return {
    query: async <Row>(text: string, values: readonly unknown[] = []) => {
      const name = createHash('md5').update(text).digest('hex');
      const { rows } = await client.query({ name, text, values: [...values] });
      return rows as Row[];
    },
  };
}

/** Creates `v_<name>` over the query in the current schema and compiles it. Inside the caller's transaction. */
export async function compileIn(
  client: pg.Client,
  schema: string,
  query: string,
  options: CompileOptions = {},
): Promise<RefreshPlan> {
  const name = options.name ?? 'x';
  await client.query(`SET LOCAL search_path = ${schema}`);
  await client.query(`CREATE VIEW v_${name} AS ${query}`);
  return await compileView(client, schema, name, options);
}

/** Compiles `v_<name>`, which is there. */
export async function compileView(
  client: pg.Client,
  schema: string,
  name: string,
  options: CompileOptions,
): Promise<RefreshPlan> {
  const { rows } = await client.query<{ oid: number }>(
    'SELECT oid FROM pg_class WHERE relname = ANY ($1) AND relnamespace = $2::regnamespace',
    [options.tviews ?? [], schema],
  );
  await client.query("SET LOCAL search_path = ''");
  return compileDefinition(preparing(client), {
    view: { schema, name: `v_${name}` },
    table: { schema, name: `tv_${name}` },
    key: options.key ?? null,
    fullRefresh: options.fullRefresh ?? [],
    isTview: (oid) => rows.some((row) => row.oid === oid),
  });
}

/** The same in a transaction of its own; `setup` runs before it. */
export async function compileAlone(
  client: pg.Client,
  schema: string,
  query: string,
  options: CompileOptions & { readonly setup?: string } = {},
): Promise<RefreshPlan> {
  await client.query('BEGIN');
  try {
    await client.query(`SET LOCAL search_path = ${schema}`);
    if (options.setup !== undefined) await client.query(options.setup);
    return await compileIn(client, schema, query, options);
  } finally {
    await client.query('ROLLBACK');
  }
}

/** `alias: mapping path | key query on one line`, for every occurrence in order. */
export function pathsOf(plan: RefreshPlan): string[] {
  return plan.sources
    .flatMap(({ occurrences }) => occurrences)
    .sort((a, b) => a.index - b.index)
    .map(({ mapping, path }) => `${mapping}: ${path}`);
}
