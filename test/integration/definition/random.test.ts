/**
 * Definitions that nobody thought of: whatever PostgreSQL accepts is either derived, or accepted with full_refresh, or refused
 * with a reason; and whatever a transaction then does, every row that changes is among the keys that its changes lead to.
 * TVIEWS_TEST_DEFINITIONS says how many are made up; TVIEWS_TEST_BATCH begins with the batch that has failed.
 */
import { readFileSync } from 'node:fs';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { changesEverything, type RefreshPlan } from '../../../src/definition/plan.ts';
import { RefusedDefinition } from '../../../src/errors/errors.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { byEffort } from '../../kit/effort.ts';
import { Random } from '../../kit/random.ts';
import { seed } from '../../kit/seed.ts';
import { derivedKeys, keyOf } from './images.ts';
import { compileView } from './kit.ts';
import { type RandomDefinition, randomDefinition, randomScript } from './random-definition.ts';
import { names } from './writes.ts';

const wanted = Number(process.env.TVIEWS_TEST_DEFINITIONS ?? byEffort(400, 2_000, 200_000));
const firstBatch = Number(process.env.TVIEWS_TEST_BATCH ?? 0);
/** In one transaction with as many scripts of rows and changes each. */
const batchSize = 25;
const scriptsPerBatch = 3;
const batchesPerDatabase = 40;
const batchesPerSummary = 200;

/** Why a definition is refused even with full_refresh = '*': all there may be. */
const refusedEvenSo = /^relation .* is read in a way that is not supported|^key column "k2?" has type/;

interface Trial extends RandomDefinition {
  readonly number: number;
  readonly plan: RefreshPlan;
  readonly isDerived: boolean;
}

let database: FreshDatabase;
let client: pg.Client;

async function open(): Promise<void> {
  const sql = readFileSync(new URL('property.sql', import.meta.url), 'utf8');
  database = await freshDatabase({ schema: 'prop', sql });
  client = await database.client();
  // The compiler's queries are the same for every definition, and would be planned for each one's oids.
  await client.query('SET jit = off; SET plan_cache_mode = force_generic_plan');
}
beforeAll(open);
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
    // Some of it the planner alone knows, of what is shown: which conditions a FULL JOIN can have.
    await client.query(
      `CREATE VIEW v_${view} AS ${definition.sql}; EXPLAIN SELECT whole_row FROM v_${view} AS whole_row`,
    );
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

/** Under a name that none of its columns has. */
const contents = ({ plan, number }: Trial): string =>
  `SELECT ${number}, jsonb_build_array(${keyOf(plan)}), whole_row::text FROM prop.v_d${number} whole_row`;

const every = (number: number): string =>
  `SELECT key FROM before WHERE definition = ${number} UNION SELECT key FROM now_ WHERE definition = ${number}`;

const keyQueriesOf = ({ sources }: RefreshPlan): readonly string[] => [
  ...new Set(sources.flatMap(({ occurrences }) => occurrences.flatMap(({ keyQuery }) => keyQuery ?? []))),
];

const without = (plan: RefreshPlan, omitted: string): RefreshPlan => ({
  ...plan,
  sources: plan.sources.map((source) => ({
    ...source,
    occurrences: source.occurrences.filter(({ keyQuery }) => keyQuery !== omitted),
  })),
});

/** The plan without one of its key queries, chosen at random; null where it has none to miss. */
function weakened({ plan }: Trial, random: Random): RefreshPlan | null {
  const queries = keyQueriesOf(plan);
  return queries.length < 2 ? null : without(plan, random.pick(queries));
}

interface Found {
  readonly changed: number;
  readonly missed: readonly { readonly definition: number; readonly key: unknown }[] | null;
  readonly weak: readonly number[] | null;
}

/** Each of them has many views to plan, and runs for every script of a batch. */
async function prepareQueries(trials: readonly Trial[], weak: readonly string[]): Promise<void> {
  const snapshot = trials.map(contents).join(' UNION ALL ');
  const keys = trials.map((trial) => derivedKeys(trial.plan, trial.number, every(trial.number)));
  await client.query(`
    PREPARE look AS INSERT INTO before ${snapshot};
    PREPARE compare AS
    WITH now_ (definition, key, content) AS MATERIALIZED (${snapshot}),
    changed_ AS (
      SELECT definition, key FROM (TABLE before EXCEPT ALL TABLE now_) AS lost
      UNION
      SELECT definition, key FROM (TABLE now_ EXCEPT ALL TABLE before) AS gained)
    SELECT (SELECT count(*)::int FROM changed_) AS changed,
           (SELECT jsonb_agg(missed) FROM (TABLE changed_ EXCEPT (${keys.join(' UNION ALL ')})) AS missed) AS missed,
           ${weak.length === 0 ? 'NULL' : `(SELECT jsonb_agg(DISTINCT definition) FROM (${weak.join(' UNION ALL ')}) AS missed)`} AS weak`);
}

async function runScript({ initial, change }: ReturnType<typeof randomScript>): Promise<Found> {
  await client.query('SAVEPOINT script');
  await client.query('SELECT attempt($1)', [initial]);
  // TRUNCATE would have everything planned anew.
  await client.query(names.map((name) => `DELETE FROM log_${name};`).join(' '));
  await client.query('EXECUTE look');
  await client.query('SELECT attempt($1)', [change]);
  const { rows: found } = await client.query<Found>('EXECUTE compare');
  await client.query('ROLLBACK TO script');
  return found[0]!;
}

/** What a weakened plan misses of the changed keys. */
const missedBy = ({ number }: Trial, plan: RefreshPlan): string =>
  `(SELECT definition, key FROM changed_ WHERE definition = ${number} EXCEPT ${derivedKeys(plan, number, every(number))})`;

const madeOf = (tally: Tally): number => tally.of('derived') + tally.of('with full_refresh');
const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;

function summaryOf(tally: Tally): string {
  const made = madeOf(tally);
  return `${made} definitions: ${percent(tally.of('derived'), made)} derived, the others with full_refresh; ${tally.of('refused')} refused, ${tally.of('not accepted by PostgreSQL')} not accepted by PostgreSQL, ${tally.of('changed keys')} changed keys`;
}

test(`of ${wanted} definitions no key of a changed row is missed (seed ${seed})`, async () => {
  const tally = new Tally();
  for (let batch = firstBatch, made = 0; made < wanted; batch++) {
    // Rolled back or not, thousands of views leave the catalog full of what they were.
    if (batch % batchesPerDatabase === batchesPerDatabase - 1) {
      await database.dropForGood();
      await open();
    }
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
    await prepareQueries(trials, weak);
    for (let i = 0; i < scriptsPerBatch; i++) {
      const script = randomScript(random);
      const { changed, missed, weak: seen } = await runScript(script);
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
          `key ${JSON.stringify(first!.key)} is missed of\n${sql}\n${paths.join('\n')}\nwith\n${script.initial.join(';\n')};\n-- Then:\n${script.change.join(';\n')}\nRun again with TVIEWS_TEST_SEED=${seed} TVIEWS_TEST_BATCH=${batch}`,
        );
      }
    }
    await client.query('ROLLBACK; DEALLOCATE look; DEALLOCATE compare');
    // A run of hours that is cut off has said something.
    if (batch % batchesPerSummary === batchesPerSummary - 1) console.log(summaryOf(tally));
  }
  console.log(
    [
      summaryOf(tally),
      ...tally
        .names('all ')
        .toSorted()
        .map(
          (name) =>
            `  ${name}: ${percent(tally.of(`derived ${name}`), tally.of(`all ${name}`))} of ${tally.of(`all ${name}`)} derived, ${tally.of(`weakened ${name}`)} seen with a key query less`,
        ),
    ].join('\n'),
  );
  // Otherwise the run said nothing.
  expect(tally.of('changed keys')).toBeGreaterThan(madeOf(tally) / 4);
}, 0);

/** Of each construct that more is said of than a join: every occurrence is one that a change can come by. */
const constructs: readonly (readonly [name: string, sql: string, key?: readonly string[]])[] = [
  ['RIGHT JOIN', 'SELECT a.id AS k, g.tenant FROM g RIGHT JOIN a ON g.id = a.g_id'],
  ['RIGHT JOIN … USING', 'SELECT no AS k, o.shop, line FROM li RIGHT JOIN o USING (shop, no)', ['k', 'shop']],
  ['CROSS JOIN', 'SELECT b.id AS k, l.kind FROM l CROSS JOIN b WHERE l.id = b.l_id'],
  ['DISTINCT', 'SELECT DISTINCT a.id AS k, b.x FROM a LEFT JOIN b ON b.a_id = a.id'],
  [
    'DISTINCT in FROM',
    'SELECT a.id AS k, x.l_id FROM a LEFT JOIN (SELECT DISTINCT b.a_id, b.l_id FROM b) x ON x.a_id = a.id',
  ],
  [
    'DISTINCT ON',
    'SELECT DISTINCT ON (b.a_id) b.a_id AS k, b.x, l.kind FROM b LEFT JOIN l ON l.id = b.l_id WHERE b.a_id IS NOT NULL ORDER BY b.a_id, b.x, l.kind',
  ],
  [
    'DISTINCT ON in FROM',
    'SELECT a.id AS k, x.v FROM a LEFT JOIN (SELECT DISTINCT ON (b.a_id) b.a_id, b.x AS v FROM b ORDER BY b.a_id, b.x) x ON x.a_id = a.id',
  ],
  [
    'UNION',
    'SELECT a.id AS k, g.tenant AS v FROM a JOIN g ON g.id = a.g_id UNION SELECT b.id, c.x FROM b LEFT JOIN c ON c.b_id = b.id',
  ],
  [
    'UNION ALL with a constant',
    `SELECT 'a' AS t, a.id AS k, a.extra AS v FROM a UNION ALL SELECT 'b', b.id, l.kind FROM b LEFT JOIN l ON l.id = b.l_id`,
    ['t', 'k'],
  ],
  [
    'INTERSECT',
    'SELECT a.id AS k, a.extra AS v FROM a INTERSECT SELECT b.a_id, c.x FROM b JOIN c ON c.b_id = b.id WHERE b.a_id IS NOT NULL',
  ],
  ['EXCEPT', 'SELECT a.id AS k, a.extra AS v FROM a EXCEPT ALL SELECT n.id, n.extra FROM n'],
  [
    'UNION in FROM',
    'SELECT g.id AS k, count(l.id) AS n FROM g LEFT JOIN (SELECT a.g_id AS ref, a.extra AS l FROM a UNION ALL SELECT b.a_id, b.l_id FROM b) u ON u.ref = g.id LEFT JOIN l ON l.id = u.l GROUP BY g.id',
  ],
  [
    'EXISTS over EXCEPT',
    'SELECT a.id AS k, EXISTS (SELECT b.x FROM b WHERE b.a_id = a.id EXCEPT SELECT n.extra FROM n WHERE n.parent_id = a.id) AS v FROM a',
  ],
  [
    'FULL JOIN',
    'SELECT COALESCE(c.id, l.id) AS k, c.y, l.kind, n.extra FROM c FULL JOIN l ON l.id = c.x LEFT JOIN n ON n.id = l.extra',
  ],
  ['FULL JOIN … USING', 'SELECT id AS k, l.kind, n.extra FROM l FULL JOIN n USING (id)'],
  [
    'a window',
    'SELECT b.id AS k, rank() OVER (PARTITION BY b.a_id ORDER BY b.x) AS v FROM b WHERE b.a_id IS NOT NULL',
  ],
  [
    'the first of each partition',
    'SELECT x.k, x.v FROM (SELECT b.a_id AS k, b.x AS v, rank() OVER (PARTITION BY b.a_id ORDER BY b.x) AS r FROM b WHERE b.a_id IS NOT NULL) x WHERE x.r = 1',
  ],
  [
    'two windows',
    'SELECT b.id AS k, count(*) OVER (PARTITION BY b.a_id) AS v, count(*) OVER (PARTITION BY b.x) AS w FROM b WHERE b.a_id IS NOT NULL AND b.x IS NOT NULL',
  ],
  [
    'GROUPING SETS',
    'SELECT a.id AS k, x.v, x.n FROM a LEFT JOIN (SELECT b.a_id, b.x AS v, count(l.id) AS n FROM b LEFT JOIN l ON l.id = b.l_id GROUP BY b.a_id, ROLLUP (b.x)) x ON x.a_id = a.id',
  ],
  ['a constant key', 'SELECT 1 AS k, count(*) AS n, (SELECT max(l.kind) FROM l) AS v FROM a'],
];

test.for(
  constructs.map(([name, sql, key = ['k']]) => ({ name, sql, key })),
)(`$name: a plan with any key query less misses a key (seed ${seed})`, { timeout: 120_000 }, async ({
  sql,
  key,
}) => {
  const random = Random.mixed(seed, 1);
  await client.query('BEGIN; SET LOCAL search_path = prop');
  try {
    const trial = await compile({ sql, key, constructs: new Set() }, 0, new Tally());
    await client.query('SET LOCAL search_path = prop');
    expect(trial?.isDerived).toBe(true);
    const queries = keyQueriesOf(trial!.plan);
    const weak = queries.map((omitted, i) => {
      const missed = missedBy(trial!, without(trial!.plan, omitted));
      return `(SELECT ${i} AS definition, key FROM (${missed}) AS m)`;
    });
    await prepareQueries([trial!], weak);
    const unseen = new Set(queries.keys());
    for (let tries = 0; unseen.size > 0 && tries < 300; tries++) {
      const { missed, weak: seen } = await runScript(randomScript(random));
      expect(missed).toBeNull();
      for (const i of seen ?? []) unseen.delete(i);
    }
    expect([...unseen].map((i) => queries[i])).toEqual([]);
  } finally {
    await client.query('ROLLBACK; DEALLOCATE look; DEALLOCATE compare');
  }
});
