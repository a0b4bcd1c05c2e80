/**
 * Two proxies and PostgreSQL itself killed and cut off under load. TVIEWS_CHAOS_KILLS says how often a process is killed;
 * TVIEWS_TEST_EFFORT=long means 500 times. TVIEWS_TEST_SEED runs the same faults and the same clients again, though not at the same
 * microsecond, and TVIEWS_CHAOS_ROUND begins with the round that has failed.
 */
import { expect, onTestFinished, test } from 'vitest';
import { byEffort } from '../kit/effort.ts';
import { seed } from '../kit/seed.ts';
import { startStorm } from '../kit/storm.ts';

const kills = Number(process.env.TVIEWS_CHAOS_KILLS ?? byEffort(25, 25, 500));

test(`${kills} kills, and cuts between them, lose nothing that was acknowledged (TVIEWS_TEST_SEED=${seed})`, async () => {
  const storm = await startStorm(seed);
  onTestFinished(() => storm.remove());
  const figures = await storm.rage(kills, Number(process.env.TVIEWS_CHAOS_ROUND ?? 0));
  console.log(JSON.stringify({ seed, ...figures }, null, 2));
  expect(figures.kills).toBe(kills);
  expect(figures.acknowledged).toBeGreaterThanOrEqual(kills);
});
