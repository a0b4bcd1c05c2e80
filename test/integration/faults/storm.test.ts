/** Two proxies and PostgreSQL itself killed and cut off under load, a few times; test/chaos does it for longer. */
import { expect, onTestFinished, test } from 'vitest';
import { seed } from '../../kit/seed.ts';
import { startStorm } from '../../kit/storm.ts';

test(`random faults lose nothing that was acknowledged and leave nothing behind (TVIEWS_TEST_SEED=${seed})`, {
  timeout: 240_000,
}, async () => {
  const storm = await startStorm(seed);
  onTestFinished(() => storm.remove());
  const figures = await storm.rage(3);
  expect(figures.acknowledged).toBeGreaterThanOrEqual(3);
});
