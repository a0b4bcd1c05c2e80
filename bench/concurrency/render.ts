/** Tables of the concurrency benchmark. */
import { caption, table } from '../kit/markdown.ts';
import type { ConcurrencyResult, ConcurrencyRow } from './run.ts';

const titles: Readonly<Record<ConcurrencyRow['scene'], string>> = {
  mixed: '80 % of the transactions insert a post, 20 % rename a user; tv_post has the names of the users',
  'hot lookup': 'Every transaction inserts a post of one and the same user; tv_post has a row per post',
  'hot group': 'The same; tv_user has one row per user, so that all write one row',
};

export function render(result: ConcurrencyResult): string {
  const scenes = Object.entries(titles).map(([scene, title]) => {
    const rows = result.rows.filter((row) => row.scene === scene);
    if (rows.length === 0) return '';
    return `${title}:

${table(
  ['clients', 'locks', 'transactions/s', 'of no locks', 'stale rows'],
  rows.map(({ clients, locks, transactionsPerSecond, ofUnlocked, stale, transactions }) => [
    String(clients),
    locks,
    String(transactionsPerSecond),
    ofUnlocked === null ? '' : ofUnlocked.toFixed(2),
    `${stale} after ${transactions}`,
  ]),
)}`;
  });
  const mixed = result.rows.filter(({ scene }) => scene === 'mixed');
  const values = mixed.find(({ locks }) => locks === 'values');
  const met = values !== undefined && (values.ofUnlocked ?? 0) >= 0.9 && values.stale === 0;
  const verdict =
    values === undefined
      ? ''
      : `Wanted: locks on values keep at least 0.9 of the unlocked figure, with 0 stale rows. Measured ${values.ofUnlocked?.toFixed(2)} and ${values.stale}: ${met ? 'met' : '**missed**'}.\n\n`;
  return `${caption(result.circumstances)}

Straight to PostgreSQL, each write a transaction of its own. Median of ${result.rounds} rounds of ${result.seconds} s, each contender in
each round, in another order; "of no locks" is the median of the ratios within the rounds.

${verdict}${scenes.filter((scene) => scene !== '').join('\n\n')}`;
}
