/**
 * Definitions that nobody thought of: whatever PostgreSQL accepts is either derived, or accepted with full_refresh, or refused
 * with a reason; and whatever a transaction then does, every row that changes is among the keys that its changes lead to.
 * TVIEWS_TEST_DEFINITIONS says how many are made up.
 */
import { readFileSync } from 'node:fs';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { changesEverything, type RefreshPlan } from '../../../src/definition/plan.ts';
import { RefusedDefinition } from '../../../src/errors/errors.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { Random } from '../../kit/random.ts';
import { seed } from '../../kit/seed.ts';
import { derivedKeys, keyOf } from './images.ts';
import { compileView } from './kit.ts';
import { type RandomDefinition, randomDefinition, randomScript } from './random-definition.ts';
import { names } from './writes.ts';

const usual = 2000;
const wanted = Number(process.env.TVIEWS_TEST_DEFINITIONS ?? usual);
/** In one transaction with as many scripts of rows and changes each. */
const batchSize = 25;
const scriptsPerBatch = 3;

/** Why a definition is refused even with full_refresh = '*': all there may be. */
const refusedEvenSo = /^relation .* is read in a way that is not supported|^key column "k2?" has type/;

interface Trial extends RandomDefinition {
  readonly number: number;
  readonly plan: RefreshPlan;
  readonly isDerived: boolean;
}

let database: FreshDatabase;
let client: pg.Client;

beforeAll(async () => {
  const sql = readFileSync(new URL('property.sql', import.meta.url), 'utf8');
  database = await freshDatabase({ schema: 'prop', sql });
  client = await database.client();
});
afterAll(() => database.drop());

class Tally {
  readonly #counts = new Map<string, number>();

  add(name: string, times = 1): void {
    this.#counts.set(name, this.of(name) + times);
  }

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  names(prefix: string): string[] {
    return [...this.#counts.keys()].flatMap((name) =>
      name.startsWith(prefix) ? [name.slice(prefix.length)] : [],
    );
  }
}

/** Undefined where PostgreSQL itself turns it down. */
async function compile(definition: RandomDefinition, number: number, tally: Tally): Promise<Trial | null> {
  const view = `d${number}`;
  await client.query('SAVEPOINT definition; SET LOCAL search_path = prop');
  try {
    // Some of it the planner alone knows: which conditions a FULL JOIN can have.
    await client.query(`CREATE VIEW v_${view} AS ${definition.sql}; EXPLAIN SELECT FROM v_${view}`);
  } catch {
    await client.query('ROLLBACK TO definition');
    tally.add('not accepted by PostgreSQL');
    return null;
  }
  await client.query("RELEASE definition; SET LOCAL search_path = ''");
  const plan = await compileView(client, 'prop', view, { key: definition.key, fullRefresh: '*' }).catch(
    (error: unknown) => {
      if (error instanceof RefusedDefinition) return error;
      throw new Error(`${error}\nin\n${definition.sql}`, { cause: error });
    },
  );
  if (!(plan instanceof RefusedDefinition)) {
    return { ...definition, number, plan, isDerived: !plan.sources.some(changesEverything) };
  }
  if (!refusedEvenSo.test(plan.message)) throw new Error(`${plan.message}\nin\n${definition.sql}`);
  tally.add('refused');
  return null;
}

const contents = ({ plan, number }: Trial): string =>
  `SELECT ${number}, jsonb_build_array(${keyOf(plan)}), v::text FROM prop.v_d${number} v`;

const every = (number: number): string =>
  `SELECT key FROM before WHERE definition = ${number} UNION SELECT key FROM now_ WHERE definition = ${number}`;

/** The plan without one of its key queries, chosen at random; null where it has none to miss. */
function weakened({ plan }: Trial, random: Random): RefreshPlan | null {
  const occurrences = plan.sources.flatMap((source) => source.occurrences);
  const queries = new Set(occurrences.flatMap(({ keyQuery }) => keyQuery ?? []));
  if (queries.size < 2) return null;
  const omitted = random.pick([...queries]);
  const sources = plan.sources.map((source) => ({
    ...source,
    occurrences: source.occurrences.filter(({ keyQuery }) => keyQuery !== omitted),
  }));
  return { ...plan, sources };
}

interface Found {
  readonly changed: number;
  readonly missed: readonly { readonly definition: number; readonly key: unknown }[] | null;
  readonly weak: readonly number[] | null;
}

async function runScript(
  trials: readonly Trial[],
  weak: readonly string[],
  { initial, change }: ReturnType<typeof randomScript>,
): Promise<Found> {
  const snapshot = trials.map(contents).join(' UNION ALL ');
  const keys = trials.map((trial) => derivedKeys(trial.plan, trial.number, every(trial.number)));
  await client.query('SAVEPOINT script');
  await client.query('SELECT attempt($1)', [initial]);
  await client.query(`TRUNCATE ${names.map((name) => `log_${name}`).join(', ')}`);
  await client.query(`INSERT INTO before ${snapshot}`);
  await client.query('SELECT attempt($1)', [change]);
  const { rows: found } = await client.query<Found>(`
    WITH now_ (definition, key, content) AS MATERIALIZED (${snapshot}),
    changed_ AS (
      SELECT definition, key FROM (TABLE before EXCEPT ALL TABLE now_) AS lost
      UNION
      SELECT definition, key FROM (TABLE now_ EXCEPT ALL TABLE before) AS gained)
    SELECT (SELECT count(*)::int FROM changed_) AS changed,
           (SELECT jsonb_agg(missed) FROM (TABLE changed_ EXCEPT (${keys.join(' UNION ALL ')})) AS missed) AS missed,
           ${weak.length === 0 ? 'NULL' : `(SELECT jsonb_agg(DISTINCT definition) FROM (${weak.join(' UNION ALL ')}) AS missed)`} AS weak`);
  await client.query('ROLLBACK TO script');
  return found[0]!;
}

/** What a weakened plan misses of the changed keys. */
const missedBy = ({ number }: Trial, plan: RefreshPlan): string =>
  `(SELECT definition, key FROM changed_ WHERE definition = ${number} EXCEPT ${derivedKeys(plan, number, every(number))})`;

test(`of ${wanted} definitions no key of a changed row is missed (seed ${seed})`, async () => {
  const tally = new Tally();
  await client.query('SET plan_cache_mode = force_custom_plan; SET jit = off');
  for (let batch = 0, made = 0; made < wanted; batch++) {
    const random = Random.mixed(seed, batch);
    await client.query('BEGIN; SET LOCAL search_path = prop');
    const trials: Trial[] = [];
    for (let number = 0; number < batchSize; number++) {
      const trial = await compile(randomDefinition(random), number, tally);
      if (trial === null) continue;
      trials.push(trial);
      tally.add(trial.isDerived ? 'derived' : 'with full_refresh');
      for (const construct of trial.constructs) {
        tally.add(`all ${construct}`);
        if (trial.isDerived) tally.add(`derived ${construct}`);
      }
    }
    made += trials.length;
    await client.query('SET LOCAL search_path = prop');
    const weak = trials.flatMap((trial) => {
      const plan = trial.isDerived ? weakened(trial, random) : null;
      return plan === null ? [] : [missedBy(trial, plan)];
    });
    for (let i = 0; i < scriptsPerBatch; i++) {
      const script = randomScript(random);
      const { changed, missed, weak: seen } = await runScript(trials, weak, script);
      tally.add('changed keys', changed);
      for (const number of seen ?? []) {
        const trial = trials.find((one) => one.number === number)!;
        for (const construct of trial.constructs) tally.add(`weakened ${construct}`);
      }
      if (missed !== null) {
        const [first] = missed;
        const { sql, plan } = trials.find(({ number }) => number === first!.definition)!;
        const paths = plan.sources.flatMap(({ occurrences }) => occurrences.map(({ path }) => path));
        throw new Error(
          `key ${JSON.stringify(first!.key)} is missed of\n${sql}\n${paths.join('\n')}\nwith\n${script.initial.join(';\n')};\n-- Then:\n${script.change.join(';\n')}\nRun again with TVIEWS_TEST_SEED=${seed} (batch ${batch})`,
        );
      }
    }
    await client.query('ROLLBACK');
  }
  const made = tally.of('derived') + tally.of('with full_refresh');
  const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;
  console.log(
    [
      `${made} definitions: ${percent(tally.of('derived'), made)} derived, the others with full_refresh; ${tally.of('refused')} refused, ${tally.of('not accepted by PostgreSQL')} not accepted by PostgreSQL, ${tally.of('changed keys')} changed keys`,
      ...tally
        .names('all ')
        .toSorted()
        .map(
          (name) =>
            `  ${name}: ${percent(tally.of(`derived ${name}`), tally.of(`all ${name}`))} of ${tally.of(`all ${name}`)} derived, ${tally.of(`weakened ${name}`)} seen with a key query less`,
        ),
    ].join('\n'),
  );
  expect(tally.of('changed keys')).toBeGreaterThan(made);
  // Where keys of a construct are derived, a plan with one key query less is found wanting: or the scripts said nothing.
  for (const name of tally.names('derived ')) {
    if (tally.of(`derived ${name}`) > 20) expect(tally.of(`weakened ${name}`), name).toBeGreaterThan(0);
  }
}, 0);
