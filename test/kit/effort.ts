/**
 * How much is tried of what has no end: random definitions, transactions, the orders in which sessions can follow each other.
 * TVIEWS_TEST_EFFORT is `usual` (npm test: minutes), `thorough` (.ci/run) or `long` (hours).
 */

const efforts: readonly string[] = ['usual', 'thorough', 'long'];

const wanted = process.env.TVIEWS_TEST_EFFORT ?? 'usual';
const level = efforts.indexOf(wanted);
if (level < 0) throw new Error(`TVIEWS_TEST_EFFORT is ${efforts.join(', ')}, not "${wanted}"`);

export const isLong = wanted === 'long';

/** For a usual, a thorough and a long run; the last one counts for those above it. */
export const byEffort = <Value>(...values: readonly [Value, ...Value[]]): Value =>
  values[level] ?? values.at(-1)!;
