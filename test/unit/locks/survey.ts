/**
 * The counts that README.md states, from a long run: `node test/unit/locks/survey.ts [schedules] [seed]`.
 * A stale row under a rule that must be exact is made small and printed, and the run fails.
 */
import { QUESTIONS, type RULE, SAFE, WEAKENED } from './protocol.ts';
import { USUAL } from './scenario.ts';
import { describeFailure, search } from './search.ts';

const schedules = Number(process.argv[2] ?? 100_000);
const seed = Number(process.argv[3] ?? 1);

const line = (name: string, rule: typeof RULE, options: typeof USUAL, exact: boolean): void => {
  const began = performance.now();
  const {
    stale,
    deadlocks,
    failed,
    committed,
    schedules: ran,
    found,
  } = search(rule, options, seed, schedules);
  const { ours, mixed, others } = deadlocks;
  process.stdout.write(
    `${name}: ${ran} schedules, ${stale} stale, deadlocks ${ours} ours ${mixed} mixed ${others} others, ` +
      `${committed} committed, ${failed} failed, ${Math.round((performance.now() - began) / 1000)} s\n`,
  );
  if (!exact || found === null) return;
  process.stdout.write(`${describeFailure(rule, options, found.seed)}\n`);
  process.exitCode = 1;
};

for (const rule of SAFE) line(rule.name, rule, USUAL, true);
for (const rule of WEAKENED) line(rule.name, rule, USUAL, false);
for (const rule of QUESTIONS) line(rule.name, rule, USUAL, false);
