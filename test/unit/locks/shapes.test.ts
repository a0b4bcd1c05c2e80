/** Every order of the steps of small, chosen situations: the rule is exact in all, and whatever is left out of it is missed in one. */
import { describe, expect, test, vi } from 'vitest';
import { everyOrder } from './explore.ts';
import { LESS, RULE, type Rule, SAFE, WEAKENED, WEAKENED_REPAIRS } from './protocol.ts';
import { PROFILES, type Scenario } from './scenario.ts';
import { search } from './search.ts';
import { FIXED_SNAPSHOT_SHAPES, SHAPES } from './shapes.ts';

// Thousands of orders, on a machine that may be busy.
vi.setConfig({ testTimeout: 30_000 });

/** The orders in which three transactions meet are thousands: each rule is tried on those of two. */
const OF_TWO = Object.fromEntries(Object.entries(SHAPES).filter(([, { programs }]) => programs.length === 2));

const goesStale = (scenario: Scenario, rule: Rule): boolean => {
  let isStale = false;
  everyOrder(scenario, rule, (outcome) => {
    isStale = outcome.stale.length > 0;
    return !isStale;
  });
  return isStale;
};

describe('the rule', () => {
  test.for(Object.entries({ ...SHAPES, ...FIXED_SNAPSHOT_SHAPES }))('%s', ([, scenario]) => {
    const orders = everyOrder(scenario, RULE, ({ stale, schedule, deadlocks }) => {
      expect(stale, `in the order ${schedule.join('')}`).toEqual([]);
      // Each flushes once, and every flush takes its locks in one order.
      expect(deadlocks.ours + deadlocks.mixed).toBe(0);
      return true;
    });
    expect(orders).toBeGreaterThan(10);
  });
});

describe('another rule that is exact', () => {
  test.for([...SAFE, ...LESS].map((rule) => [rule.name, rule] as const))('%s', ([, rule]) => {
    for (const [name, scenario] of Object.entries({ ...OF_TWO, ...FIXED_SNAPSHOT_SHAPES }))
      expect(goesStale(scenario, rule), name).toBe(false);
  });
});

describe('what the rule needs', () => {
  test.for(WEAKENED.map((rule) => [rule.name, rule] as const))('%s', ([, rule]) => {
    expect(Object.values(SHAPES).some((scenario) => goesStale(scenario, rule))).toBe(true);
  });

  test.for(WEAKENED_REPAIRS.map((rule) => [rule.name, rule] as const))('%s', ([, rule]) => {
    expect(Object.values(FIXED_SNAPSHOT_SHAPES).some((scenario) => goesStale(scenario, rule))).toBe(true);
  });

  test('a repair instead of the flush is enough, unless rows were written before', () => {
    const rule: Rule = { ...RULE, repair: 'instead of the flush' };
    for (const [name, scenario] of Object.entries(FIXED_SNAPSHOT_SHAPES))
      expect(goesStale(scenario, rule), name).toBe(false);
    const { found } = search(rule, PROFILES['fixed snapshots, flushes in the middle'], 400, 20_000, true);
    expect(found).not.toBeNull();
  });

  test('key locks alone order those who change one key, edge locks alone those who do not', () => {
    const children = SHAPES['two first children of one parent']!;
    const middle = SHAPES['a middle row moved, a leaf inserted under it']!;
    const noKeyLocks = WEAKENED.find(({ name }) => name === 'no key locks')!;
    const noEdgeLocks = WEAKENED.find(({ name }) => name === 'no edge locks at all')!;
    expect([goesStale(children, noKeyLocks), goesStale(middle, noKeyLocks)]).toEqual([true, false]);
    expect([goesStale(children, noEdgeLocks), goesStale(middle, noEdgeLocks)]).toEqual([false, true]);
  });
});
