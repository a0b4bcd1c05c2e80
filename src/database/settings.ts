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
  // Of money.
  lc_monetary: 'C',
} as const;

/** What the text of a definition depends on, beside the search_path. */
export const deparseSettings = { ...outputSettings, quote_all_identifiers: 'off' } as const;

const resultSettings = {
  search_path: searchPath,
  ...outputSettings,
  // Of to_char and to_number, with names of months and signs of decimals.
  lc_time: 'C',
  lc_numeric: 'C',
  // Of quote_ident, of format with %I, and of regclass as text.
  quote_all_identifiers: 'off',
  // Whether a text read as an array can have nulls.
  array_nulls: 'on',
  xmlbinary: 'base64',
  xmloption: 'content',
  // Anything but 0 lets an index leave rows out at random.
  gin_fuzzy_search_limit: '0',
  // A policy that hides rows of a source from the owner would make a tview wrong in silence: an error instead.
  row_security: 'off',
} as const;

/** What abbreviations such as EST mean in `AT TIME ZONE`. The server reads a file each time it is set: 0.1 ms. */
export const abbreviations = { timezone_abbreviations: 'Default' } as const;

/** What definitions are computed under, wherever it happens: the first fill, a refresh, a comparison. */
export const computeSettings = { ...resultSettings, ...abbreviations } as const;

/** The SET clauses of flush; the abbreviations it sets itself, where they are others. */
export const refreshSettings = {
  ...resultSettings,
  // Keys are arrays: custom plans would be made again at every flush, for 4 times the cost of the flush itself (measured
  // with the shop's tv_product: 1.4 ms instead of 0.2 ms for one key).
  plan_cache_mode: 'force_generic_plan',
  // A generic plan's estimate for a big key set would start the compiler in every small flush.
  jit: 'off',
  // Off in the queue's trigger, which calls flush.
  enable_seqscan: 'on',
} as const;

/** The SET clauses of a CREATE FUNCTION, one to a line. */
export function setClauses(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `SET ${name} = ${name === 'search_path' ? value : quoteLiteral(value)}`)
    .join('\n');
}
