/**
 * Settings a computation runs under, so that what a definition gives never depends on who writes: the same row must have
 * the same JSON from a session in Berlin and one in UTC (keys-and-locks.md, R14).
 */
import { quoteLiteral } from './identifier.ts';

/** Where every function of ours looks names up. The temporary schema last: a writer's temporary table shadows nothing. */
export const searchPath = 'pg_catalog, pg_temp';

/** Settings by which a value's text or JSON form differs. */
export const outputSettings = {
  TimeZone: 'UTC',
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
} as const;

/** What definitions are computed under, wherever it happens: the first fill, a refresh, a comparison. */
export const computeSettings = {
  search_path: searchPath,
  ...outputSettings,
  // A policy that hides rows of a source from the owner would make a tview wrong in silence: an error instead.
  row_security: 'off',
} as const;

/** More of a refresh function. */
export const refreshSettings = {
  ...computeSettings,
  // Keys are arrays: custom plans would be made again at every flush, for 4 times the cost of the flush itself (measured
  // with the shop's tv_product: 1.4 ms instead of 0.2 ms for one key).
  plan_cache_mode: 'force_generic_plan',
  // A generic plan's estimate for a big key set would start the compiler in every small flush.
  jit: 'off',
} as const;

/** The SET clauses of a CREATE FUNCTION, one to a line. */
export function setClauses(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `SET ${name} = ${name === 'search_path' ? value : quoteLiteral(value)}`)
    .join('\n');
}
