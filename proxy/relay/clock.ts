/**
 * The time of the event being worked on, in milliseconds of performance.now(). Whoever starts work — a chunk that came
 * in, a login or a cancel that ended — ticks once; everything done for it reads `now`. Asking the system each time would
 * be six calls per query.
 */
import { performance } from 'node:perf_hooks';

class Clock {
  now = performance.now();

  tick(): void {
    this.now = performance.now();
  }
}

export const clock = new Clock();
