/** Looks at every construct over one kind of source: what becomes of its definition, and whether what is accepted is kept in step. */
import type pg from 'pg';
import { expect } from 'vitest';
import { applyTview } from '../../../src/database/apply.ts';
import { quoteLiteral } from '../../../src/database/identifier.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { rolledBack, sqlStateOf } from '../../../src/database/session.ts';
import type { RefreshPlan } from '../../../src/definition/plan.ts';
import { RefusedDefinition } from '../../../src/errors/errors.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { isLong } from '../../kit/effort.ts';
import { comparison, type Divergence, inStep, pinSettings } from '../../kit/oracle.ts';
import { apply, create } from '../database/support.ts';
import { compileAlone } from '../definition/kit.ts';
import { type Construct, constructs } from './constructs.ts';
import { companions, firstRows, type SourceKind, script } from './sources.ts';

export interface Refusal {
  readonly code: string;
  readonly message: string;
  /** Empty where PostgreSQL itself refuses and says no more. */
  readonly hint: string;
}

export type Outcome =
  /** Which keys a change of the source reaches is known: from its own row, by a path, or from the flush of a tview. */
  | { readonly kind: 'bounded'; readonly how: string }
  /** Refused, unless `full_refresh` is agreed to. */
  | { readonly kind: 'all keys'; readonly refusal: Refusal }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** By the construct's name. */
export type Outcomes = ReadonlyMap<string, Outcome>;

const schema = 'shop';

/** Runs with a database in which the source is, and what stands beside it. */
async function withDatabase<T>(
  setup: string,
  work: (database: FreshDatabase, owner: pg.Client) => Promise<T>,
): Promise<T> {
  const database = await freshDatabase({ schema });
  try {
    const superuser = await database.client(database.superuser);
    await superuser.query(`
      CREATE FOREIGN DATA WRAPPER elsewhere;
      CREATE SERVER far_away FOREIGN DATA WRAPPER elsewhere;
      GRANT USAGE ON FOREIGN SERVER far_away TO ${database.owner.role}`);
    const owner = await database.client();
    await owner.query(`${companions}; ${setup}`);
    await init(executorOf(owner));
    return await work(database, owner);
  } finally {
    await database.drop();
  }
}

/** What becomes of these constructs; throws where one that is accepted is not kept in step. */
export async function outcomesOver(
  kind: SourceKind,
  part: readonly Construct[],
  serverVersion: number,
): Promise<Outcomes> {
  return await withDatabase(kind.setup, async (database, owner) => {
    await owner.query(named(firstRows, kind));
    await owner.query(kind.prepare ?? '');
    if (kind.tview !== undefined) await apply(owner, kind.tview.name, kind.tview.query);
    const outcomes = new Map<string, Outcome>();
    const played = new Map<string, Construct>();
    for (const construct of known(part, serverVersion)) {
      const tview = `tv_construct_${outcomes.size}`;
      const isTried = isLong || isPlayed(construct, kind);
      const outcome = await outcomeOf(
        construct,
        kind,
        isTried ? applying(owner, tview) : compiling(owner, kind),
      );
      outcomes.set(construct.name, outcome);
      if (isTried && outcome.kind !== 'refused') played.set(tview, construct);
    }
    await play(database, owner, kind, played);
    return outcomes;
  });
}

/** The same of kinds that no definition can read, and what is said of a sample of them. */
export async function refusalsOver(
  kinds: readonly SourceKind[],
  serverVersion: number,
): Promise<ReadonlyMap<string, Outcomes>> {
  return await withDatabase('', async (_, owner) => {
    const all = new Map<string, Outcomes>();
    for (const kind of kinds) {
      const outcomes = new Map<string, Outcome>();
      const tried = kind.only ?? constructs.filter(({ isSample }) => isLong || isSample);
      for (const construct of known(tried, serverVersion)) {
        outcomes.set(construct.name, await outcomeOf(construct, kind, undoing(owner, kind)));
      }
      all.set(kind.name, outcomes);
    }
    return all;
  });
}

const known = (those: readonly Construct[], serverVersion: number): readonly Construct[] =>
  those.filter(({ since = 0 }) => since <= serverVersion);

/** Whether rows are written and compared; of the others the plan is made alone, unless TVIEWS_TEST_EFFORT=long. */
export const isPlayed = ({ isSample }: Construct, { isPlayedWithAll = false }: SourceKind): boolean =>
  isSample || isPlayedWithAll;

/** Makes a plan of a definition. */
type Attempt = (construct: Construct, query: string, fullRefresh: '*' | []) => Promise<RefreshPlan>;

const applying =
  (owner: pg.Client, tview: string): Attempt =>
  async ({ setup = '', key = 'id' }, query, fullRefresh) => {
    if (fullRefresh !== '*') await owner.query(setup);
    await apply(owner, tview, query, { key: key.split(', '), fullRefresh });
    const { rows } = await owner.query<{ plan: RefreshPlan }>(
      'SELECT plan FROM tviews.tview WHERE name = $1',
      [tview],
    );
    return rows[0]!.plan;
  };

const compiling =
  (owner: pg.Client, kind: SourceKind): Attempt =>
  async ({ setup = '', key = 'id' }, query, fullRefresh) =>
    await compileAlone(owner, schema, query, {
      key: key.split(', '),
      fullRefresh,
      setup,
      tviews: kind.tview === undefined ? [] : [kind.tview.name],
    });

/** The source comes and goes with the attempt. */
const undoing =
  (owner: pg.Client, kind: SourceKind): Attempt =>
  async ({ setup = '', key = 'id' }, query, fullRefresh) => {
    const executor = executorOf(owner);
    return await rolledBack(executor, 'READ WRITE', async () => {
      await owner.query(`${kind.setup}; ${setup}`);
      await applyTview(executor, create('tv_construct', query, { key: key.split(', '), fullRefresh }));
      throw new Error(`a tview over ${kind.name}: ${query}`);
    });
  };

async function outcomeOf(construct: Construct, kind: SourceKind, attempt: Attempt): Promise<Outcome> {
  const query = construct.sql.replaceAll('{item}', kind.reads ?? 'item');
  try {
    return { kind: 'bounded', how: mappingsIn(await attempt(construct, query, [])) };
  } catch (error) {
    const refusal = refusalIn(error);
    if (!refusal.hint.includes('full_refresh')) return { kind: 'refused', refusal };
    await attempt(construct, query, '*');
    return { kind: 'all keys', refusal };
  }
}

/** PostgreSQL itself refuses some, as TABLESAMPLE of a view. */
const ownCodes: readonly string[] = ['42809', '42P16', '0A000', '42703'];

function refusalIn(error: unknown): Refusal {
  const code = sqlStateOf(error) ?? '';
  if (!(error instanceof RefusedDefinition) && !ownCodes.includes(code)) throw error;
  const { message, hint = '' } = error as { message: string; hint?: string };
  // Whom we refuse is told how to go on.
  if (error instanceof RefusedDefinition) expect(hint, message).toMatch(/[.…]$/);
  return { code, message, hint };
}

/** How changes of the source reach the key. */
function mappingsIn({ sources }: RefreshPlan): string {
  const ways = sources
    .filter(({ table }) => !['box', 'line'].includes(table.name))
    .flatMap(({ kind, occurrences }) =>
      occurrences.map(({ mapping }) => (kind === 'tview' ? 'propagated' : mapping)),
    );
  return [...new Set(ways)].sort().join(', ');
}

function named(sql: string, kind: SourceKind): string {
  const own = kind.writes ?? 'item';
  return sql
    .replaceAll('{item}', own)
    .replaceAll('{also}', kind.alsoWrites ?? own)
    .replaceAll('{name}', kind.nameColumn ?? 'name')
    .replaceAll('{truncated}', kind.truncates ?? own);
}

/** Writes, and compares all tviews after each transaction. What is written of the source must have changed every one. */
async function play(
  database: FreshDatabase,
  owner: pg.Client,
  kind: SourceKind,
  played: ReadonlyMap<string, Construct>,
): Promise<void> {
  const look = await onlooker(owner, [...played.keys()]);
  const application = await database.client();
  const untouched = new Set(played.keys());
  const nameOf = (tview: string): string => played.get(tview)!.name;
  let before = await look();
  const own = (kind.steps ?? []).map((sql) => ({ writes: 'item', sql }) as const);
  for (const { writes, sql } of [...own, ...script]) {
    await application.query(named(sql, kind));
    const after = await look();
    const stale = [...after].filter(([, { isInStep }]) => !isInStep).map(([tview]) => nameOf(tview));
    expect(stale, `${kind.name}: ${named(sql, kind)}`).toEqual([]);
    for (const [tview, { digest }] of after) {
      if (writes === 'item' && before.get(tview)!.digest !== digest) untouched.delete(tview);
    }
    before = after;
  }
  expect([...untouched].map(nameOf), `${kind.name}: what no write of it has changed`).toEqual([]);
}

interface Sight {
  readonly isInStep: boolean;
  readonly digest: string | null;
}

/** One statement over all of them, planned once. */
async function onlooker(
  owner: pg.Client,
  tviews: readonly string[],
): Promise<() => Promise<ReadonlyMap<string, Sight>>> {
  await pinSettings(owner, 'SESSION');
  await owner.query('SET plan_cache_mode = force_generic_plan');
  const parts: string[] = [];
  for (const tview of tviews) {
    const name = `${schema}.${tview}`;
    parts.push(`
      SELECT ${quoteLiteral(tview)} AS tview, to_jsonb(compared) AS found,
             (SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM ${name} AS t) AS digest
      FROM (${await comparison(owner, name)}) AS compared`);
  }
  const text = parts.join(' UNION ALL ');
  return async () => {
    const { rows } = await owner.query<{ tview: string; found: Divergence; digest: string | null }>({
      name: 'look',
      text,
    });
    return new Map(
      rows.map(({ tview, found: { missing, surplus, different }, digest }) => [
        tview,
        { isInStep: missing + surplus + different === sumOf(inStep), digest },
      ]),
    );
  };
}

const sumOf = ({ missing, surplus, different }: Divergence): number => missing + surplus + different;
