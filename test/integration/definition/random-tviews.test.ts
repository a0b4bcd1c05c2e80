/**
 * Random definitions as tviews: whatever transactions do, each equals its definition after every COMMIT. What random.test.ts
 * says of the keys, seen through everything that is generated from them. TVIEWS_TEST_WORLDS says how many databases are filled.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { listTviews } from '../../../src/database/list.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { freshDatabase } from '../../kit/database.ts';
import { byEffort } from '../../kit/effort.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { Random } from '../../kit/random.ts';
import { seed } from '../../kit/seed.ts';
import { apply, useLocks } from '../database/support.ts';
import { type RandomDefinition, randomDefinition, randomScript } from './random-definition.ts';

const worlds = Number(process.env.TVIEWS_TEST_WORLDS ?? byEffort(1, 4, 40));
const tviewsPerWorld = 12;
const scriptsPerWorld = 12;

/** One row for each key, whatever the definition makes of it: with all of its rows. */
function unique({ sql, key }: RandomDefinition): string {
  const columns = key.map((name) => `q.${name}`);
  return `SELECT ${columns.join(', ')}, count(*) AS n, string_agg(q::text, ',' ORDER BY q::text) AS content FROM (${sql}) q
          WHERE ${columns.map((column) => `${column} IS NOT NULL`).join(' AND ')} GROUP BY ${columns.join(', ')}`;
}

test(`tviews of ${worlds * tviewsPerWorld} definitions equal them after every COMMIT (seed ${seed})`, async () => {
  const tables = readFileSync(new URL('property.sql', import.meta.url), 'utf8');
  let derived = 0;
  let whole = 0;
  for (let world = 0; world < worlds; world++) {
    const random = Random.mixed(seed, world);
    const database = await freshDatabase({ schema: 'prop', sql: tables });
    try {
      const owner = await database.client();
      await init(executorOf(owner));
      const definitions: string[] = [];
      while (definitions.length < tviewsPerWorld) {
        const definition = randomDefinition(random);
        const query = unique(definition);
        await owner.query(`CREATE VIEW trial AS ${query}; EXPLAIN SELECT FROM trial; DROP VIEW trial`).then(
          () => definitions.push(query),
          // Some of it the planner alone turns down: conditions that no FULL JOIN can have.
          () => undefined,
        );
        if (definitions.at(-1) !== query) continue;
        await apply(owner, `tv_d${definitions.length}`, query, { key: definition.key, fullRefresh: '*' });
      }
      // Every second world has one lock per tview.
      if (world % 2 === 1) await useLocks(owner, 'tview');
      for (const { sources } of await listTviews(executorOf(owner))) {
        if (sources.some(({ fullRefresh }) => fullRefresh)) whole += 1;
        else derived += 1;
      }
      for (let number = 0; number < scriptsPerWorld; number++) {
        const { initial, change } = randomScript(random);
        const statements = number === 0 ? initial : number % 4 === 3 ? [...change, ...initial] : change;
        const isOne = random.chance(0.7);
        // A statement that breaks a reference leaves no trace, and none of what it would have changed.
        if (isOne) await owner.query('SELECT attempt($1)', [statements]);
        else for (const statement of statements) await owner.query('SELECT attempt($1)', [[statement]]);
        for (const [i, query] of definitions.entries()) {
          const found = await divergence(owner, `prop.tv_d${i + 1}`);
          expect(found, `${query}\nin world ${world} after\n${statements.join(';\n')}`).toEqual(inStep);
        }
      }
    } finally {
      await database.drop();
    }
  }
  expect(derived).toBeGreaterThan(0);
  expect(whole).toBeGreaterThan(0);
}, 0);
