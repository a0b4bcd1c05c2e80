/**
 * The randomised oracle: schemas, definitions and concurrent transactions that nobody thought of, along every path and at
 * every level; whenever all sessions rest, each tview must equal its definition. TVIEWS_ORACLE_TRANSACTIONS says how many
 * transactions have to commit; a failure is shrunk, told and saved.
 */
import { expect, test } from 'vitest';
import { seed } from '../../kit/seed.ts';
import { Campaign } from './campaign.ts';
import { productLocks } from './locks.ts';
import { describeReproducer, save, script } from './report.ts';
import { shrink } from './shrink.ts';
import { paths } from './transaction.ts';

const transactions = Number(process.env.TVIEWS_ORACLE_TRANSACTIONS ?? 20_000);
const isLong = transactions > 20_000;

test(`every tview equals its definition after ${transactions} transactions (seed ${seed})`, {
  timeout: isLong ? 0 : 300_000,
}, async () => {
  const campaign = new Campaign({
    seed,
    locks: productLocks,
    transactions,
    // More worlds see more than longer ones; but in each all functions have to be planned anew, by every connection.
    stretches: isLong ? 10 : 6,
    rounds: 15,
    ...(isLong ? { progress: console.log } : {}),
  });
  const failure = await campaign.run();
  const { tally } = campaign;
  if (failure !== null) {
    const { design, data, load, where, findings, complaints } = failure;
    const whole = save(`${where}.sql`, script(design, data, load));
    const small = describeReproducer(await shrink(design, failure, 120_000));
    const file = save(`${where}-small.sql`, small);
    throw new Error(
      [
        `${findings.divergent} divergent rows, ${findings.problems.join(', ')} ${complaints.join('\n')}`,
        `Run again with TVIEWS_TEST_SEED=${seed}. Everything is in ${whole}, this in ${file}:`,
        small,
      ].join('\n'),
    );
  }
  console.log(`${tally.finished} transactions: ${tally}`);
  expect(tally.committed).toBeGreaterThanOrEqual(transactions);
  // Otherwise the run said nothing of them.
  for (const path of paths) expect(tally.of(path), path).toBeGreaterThan(transactions / 200);
  for (const level of ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE']) {
    expect(tally.of(level), level).toBeGreaterThan(transactions / 200);
  }
});

test('without the locks it finds divergent rows, and shrinks them to a few transactions', {
  timeout: 180_000,
}, async () => {
  const failure = await new Campaign({
    seed,
    locks: { omitted: new Set(['tview']) },
    transactions: 20_000,
    stretches: 4,
    rounds: 15,
    goesOnUntilRowsDiverge: true,
  }).run();
  expect(failure?.findings.divergent).toBeGreaterThan(0);
  const { design, load } = failure!;
  const small = await shrink(design, failure!, 12_000);
  console.log(describeReproducer(small));
  // One that did not come again cannot be made smaller, and says so.
  if (small.failures > 0) expect(small.load.flat().length).toBeLessThan(load.flat().length);
});
