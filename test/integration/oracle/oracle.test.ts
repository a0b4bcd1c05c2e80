/**
 * The randomised oracle: schemas, definitions and concurrent transactions that nobody thought of, along every path and at
 * every level; whenever all sessions rest, each tview must equal its definition. TVIEWS_ORACLE_TRANSACTIONS says how many
 * transactions have to commit; a failure is shrunk, told and saved.
 */
import { describe, expect, test } from 'vitest';
import { byEffort } from '../../kit/effort.ts';
import { seed } from '../../kit/seed.ts';
import { type LockPart, type LockProtocol, nameOf } from '../isolation/locking.ts';
import { Campaign, type FoundFailure } from './campaign.ts';
import { type Conditions, sound } from './flaw.ts';
import { describeReproducer, save, script } from './report.ts';
import { shrink } from './shrink.ts';
import { levels, paths } from './transaction.ts';

const wanted = Number(process.env.TVIEWS_ORACLE_TRANSACTIONS ?? byEffort(4_000, 20_000, 1_000_000));
const takesHours = wanted > 20_000;

/** The default protocol is tried most. */
const shares: readonly (readonly [LockProtocol, number])[] = [
  ['value', 1],
  ['tview', 0.2],
];
/** Fewer transactions than this need not come by a path that is rare. */
const enoughForAll = 4_000;

describe.each(shares)('with locks by %s', (protocol, share) => {
  const transactions = Math.ceil(wanted * share);
  test(`every tview equals its definition after ${transactions} transactions (seed ${seed})`, {
    timeout: takesHours ? 0 : 600_000,
  }, async () => {
    const campaign = new Campaign({
      seed,
      conditions: sound(protocol),
      transactions,
      // More worlds see more than longer ones; but in each all functions have to be planned anew, by every connection.
      stretches: takesHours ? 10 : 6,
      rounds: 15,
      ...(takesHours ? { progress: console.log } : {}),
    });
    const failure = await campaign.run();
    if (failure !== null) throw new Error(await told(failure));
    const { tally } = campaign;
    console.log(`${tally.finished} transactions: ${tally}`);
    expect(tally.committed).toBeGreaterThanOrEqual(transactions);
    // Otherwise the run said nothing of them.
    if (transactions < enoughForAll) return;
    for (const name of [...paths, ...levels])
      expect(tally.of(name), name).toBeGreaterThan(transactions / 500);
  });
});

async function told(failure: FoundFailure): Promise<string> {
  const { design, data, load, where, findings, complaints } = failure;
  const whole = save(`${where}.sql`, script(design, data, load));
  const small = describeReproducer(await shrink(design, failure, 3000));
  const file = save(`${where}-small.sql`, small);
  return [
    `${findings.divergent} divergent rows; ${[...findings.problems, ...complaints].join('; ')}`,
    `Run again with TVIEWS_TEST_SEED=${seed}. Everything is in ${whole}, this in ${file}:`,
    small,
  ].join('\n');
}

/** Proves that the oracle can fail. Stops at the first divergent row; sound, it would go on for long. */
async function failureUnder(conditions: Conditions): Promise<FoundFailure | null> {
  const plan = {
    seed,
    conditions,
    transactions: 60_000,
    stretches: 6,
    rounds: 8,
    goesOnUntilRowsDiverge: true,
  };
  return await new Campaign(plan).run();
}

interface Lack {
  readonly protocol: LockProtocol;
  readonly omitted: readonly LockPart[];
  /** Takes a minute now and then, until a schema comes that needs just this. */
  readonly isRare?: boolean;
}

const lacks: readonly Lack[] = [
  { protocol: 'tview', omitted: ['tview'] },
  { protocol: 'value', omitted: ['near', 'far', 'path', 'key'] },
  { protocol: 'value', omitted: ['near'], isRare: true },
  { protocol: 'value', omitted: ['far'], isRare: true },
  { protocol: 'value', omitted: ['key'], isRare: true },
];

for (const { protocol, omitted, isRare } of lacks) {
  const conditions: Conditions = { protocol, omitted };
  test.runIf(takesHours || isRare !== true)(
    `rows diverge under ${nameOf(conditions)} (seed ${seed})`,
    { timeout: 600_000 },
    async () => {
      const failure = await failureUnder(conditions);
      expect(failure?.findings.divergent).toBeGreaterThan(0);
    },
  );
}

test(`what needs no second session is shrunk to one statement (seed ${seed})`, {
  timeout: 180_000,
}, async () => {
  const failure = await failureUnder({ ...sound('value'), blindTo: 'updates' });
  const { load, trials, failures } = await shrink(failure!.design, failure!, 250);
  expect(failures).toBe(trials);
  expect(load.flat().flatMap(({ steps }) => steps)).toHaveLength(1);
});
