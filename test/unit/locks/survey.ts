/**
 * The counts that README.md states, from a long run: `node test/unit/locks/survey.ts [schedules] [seed]`.
 * A stale row under a rule that must be exact is made small and printed, and the run fails.
 */
import { LESS, RULE, type Rule, SAFE, WEAKENED, WEAKENED_REPAIRS } from './protocol.ts';
import { type Options, PROFILES } from './scenario.ts';
import { describeFailure, search } from './search.ts';

const schedules = Number(process.argv[2] ?? 100_000);
const seed = Number(process.argv[3] ?? 1);

function survey(profile: string, options: Options, rule: Rule, isExact: boolean): void {
  const began = performance.now();
  const tally = search(rule, options, seed, schedules);
  const { ours, mixed, others } = tally.deadlocks;
  const seconds = Math.round((performance.now() - began) / 1000);
  process.stdout.write(
    `| ${profile} | ${rule.name} | ${tally.stale} | ${ours} / ${mixed} / ${others} | ${tally.committed} | ${seconds} s |\n`,
  );
  if (!isExact || tally.found === null) return;
  process.stdout.write(`${describeFailure(rule, options, tally.found.seed)}\n`);
  process.exitCode = 1;
}

process.stdout.write(`${schedules} schedules each, from seed ${seed}\n`);
process.stdout.write('| profile | rule | stale | deadlocks ours / mixed / others | commits | time |\n');
for (const [profile, options] of Object.entries(PROFILES))
  for (const rule of [RULE, SAFE[1]!, ...LESS]) survey(profile, options, rule, true);
for (const rule of SAFE) survey('three transactions', PROFILES['three transactions'], rule, true);
for (const rule of WEAKENED) survey('three transactions', PROFILES['three transactions'], rule, false);
for (const profile of ['fixed snapshots', 'a tview over a tview, fixed snapshots'] as const)
  for (const rule of WEAKENED_REPAIRS) survey(profile, PROFILES[profile], rule, false);
