/** Everything periodic, in one place: time limits of waiting clients and idle servers. */
import { clock } from '../relay/clock.ts';
import type { Pool } from './pool.ts';

/** PgBouncer's janitor runs as often. */
const INTERVAL_MS = 333;

export function startJanitor(pools: () => Iterable<Pool>): () => void {
  const timer = setInterval(() => {
    clock.tick();
    for (const pool of pools()) pool.maintain();
  }, INTERVAL_MS);
  timer.unref();
  return () => clearInterval(timer);
}
