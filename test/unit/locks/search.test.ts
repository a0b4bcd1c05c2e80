/**
 * Made-up definitions, rows and transactions under random orders: no rule that must be exact leaves a stale row.
 * LOCKS_SCHEDULES says how many orders each search tries, TVIEWS_TEST_SEED where it begins.
 */
import { describe, expect, test, vi } from 'vitest';
import { Random } from '../../kit/random.ts';
import { seed } from '../../kit/seed.ts';
import { randomly, replay, run } from './explore.ts';
import { LESS, RULE, type Rule, SAFE, WEAKENED } from './protocol.ts';
import { makeScenario, type Options, PROFILES } from './scenario.ts';
import { describeFailure, search, type Tally } from './search.ts';

const schedules = Number(process.env.LOCKS_SCHEDULES ?? 2000);
// A long run is told when to end by its count alone.
vi.setConfig({ testTimeout: schedules > 10_000 ? 3_600_000 : 30_000 });

function expectExact(rule: Rule, options: Options, count: number): Tally {
  const tally = search(rule, options, seed, count);
  if (tally.found === null) return tally;
  throw new Error(
    `${describeFailure(rule, options, tally.found.seed)}\nRun again with TVIEWS_TEST_SEED=${tally.found.seed}`,
  );
}

describe('the rule is exact', () => {
  test.for(Object.entries(PROFILES) as [keyof typeof PROFILES, Options][])('%s', ([name, options]) => {
    const { deadlocks, committed } = expectExact(RULE, options, schedules);
    // Schedules in which everybody fails prove nothing.
    expect(committed).toBeGreaterThan(schedules);
    // Locks of a flush in the middle meet those of statements and flushes after it; TRUNCATE's own lock meets a flush.
    if (options.flushes === 0) expect(deadlocks.ours).toBe(0);
    if (options.flushes === 0 && name !== 'truncate') expect(deadlocks.mixed).toBe(0);
  });
});

test.for([...SAFE.slice(1), ...LESS].map((rule) => [rule.name, rule] as const))('exact too: %s', ([
  ,
  rule,
]) => {
  expectExact(rule, PROFILES['three transactions'], Math.ceil(schedules / 5));
});

test('what is printed of a stale row is small and goes stale again', () => {
  const rule = WEAKENED.find(({ name }) => name === 'no near locks')!;
  const { found } = search(rule, PROFILES.usual, 1, 20_000, true);
  const text = describeFailure(rule, PROFILES.usual, found!.seed);
  expect(text).toMatch(/^stale under "no near locks" with seed \d+\ntview 0 /);
  expect(text).toContain(': has ');
  expect(text.match(/^[ABC] \(read committed\): /gm)).toHaveLength(2);
});

test('a schedule is run again as it was', () => {
  for (let at = 1; at <= 50; at += 1) {
    const random = Random.of(at);
    const scenario = makeScenario(random, PROFILES['flushes in the middle']);
    const first = run(scenario, RULE, randomly(random))!;
    expect(run(scenario, RULE, replay(first.schedule))).toEqual(first);
  }
});
