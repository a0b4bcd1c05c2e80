/** Runs a scenario under one order of steps, under random orders, or under every order there is. */

import type { Random } from '../../kit/random.ts';
import { Database, Failed, isAdvisory, Locks, type Request } from './database.ts';
import type { Rule } from './protocol.ts';
import type { Scenario } from './scenario.ts';
import { type Session, session, type World } from './transaction.ts';
import { addAllKeys, contentOf, sameContent } from './view.ts';

export interface Outcome {
  /** A key whose row is not what its definition says, by tview; empty when all is well. */
  readonly stale: readonly string[];
  /** Deadlocks by what their cycle waits for: our locks alone, our locks and others, others alone. */
  readonly deadlocks: { ours: number; mixed: number; others: number };
  readonly committed: number;
  readonly failed: number;
  /** The order of steps. */
  readonly schedule: readonly number[];
}

/** Who goes on, of those who can: a place among them. Null: this is known already, stop. */
export type Choose = (
  runnable: readonly Process[],
  processes: readonly Process[],
  database: Database,
) => number | null;

export interface Process {
  readonly number: number;
  /** How much was committed at each of its steps: with the order of commits, all that it can know. */
  history: string;
  readonly steps: Session;
  waitsFor: Request | null;
  state: 'running' | 'finished' | 'aborted';
}

export function run(scenario: Scenario, rule: Rule, choose: Choose): Outcome | null {
  const database = new Database(scenario.state);
  const locks = new Locks();
  const world: World = {
    schema: scenario.schema,
    rule,
    database,
    tableLocks: scenario.programs.some(({ statements }) =>
      statements.some(({ kind }) => kind === 'truncate'),
    ),
  };
  const processes: Process[] = scenario.programs.map((program, number) => ({
    number,
    history: '',
    steps: session(world, number, program, () => locks.release(number)),
    waitsFor: null,
    state: 'running',
  }));
  const deadlocks = { ours: 0, mixed: 0, others: 0 };
  const schedule: number[] = [];
  let failed = 0;
  const end = (process: Process, state: 'finished' | 'aborted'): void => {
    process.state = state;
    locks.release(process.number);
  };

  for (;;) {
    const running = processes.filter(({ state }) => state === 'running');
    if (running.length === 0) break;
    let runnable: readonly Process[] = running.filter(
      ({ number, waitsFor }) => waitsFor === null || locks.isFree(number, waitsFor),
    );
    const isDeadlock = runnable.length === 0;
    if (isDeadlock) {
      // Whoever is in the cycle may be the one that is told.
      const cycle = cycleOf(processes, running[0]!, locks);
      const ours = cycle.filter(({ waitsFor }) => isAdvisory(waitsFor!.lock)).length;
      deadlocks[ours === 0 ? 'others' : ours === cycle.length ? 'ours' : 'mixed'] += 1;
      runnable = cycle;
    }
    const choice = choose(runnable, processes, database);
    if (choice === null) return null;
    const process = runnable[choice]!;
    schedule.push(process.number);
    if (isDeadlock) {
      end(process, 'aborted');
      continue;
    }
    process.history += database.commits.length;
    if (process.waitsFor !== null) locks.take(process.number, process.waitsFor);
    try {
      const next = process.steps.next();
      if (next.done === true) end(process, 'finished');
      else process.waitsFor = next.value;
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      failed += 1;
      end(process, 'aborted');
    }
  }
  return {
    stale: staleRows(scenario, database),
    deadlocks,
    failed,
    schedule,
    committed: database.commits.length,
  };
}

function cycleOf(processes: readonly Process[], from: Process, locks: Locks): readonly Process[] {
  const path: Process[] = [];
  for (let at = from; ; ) {
    const seen = path.indexOf(at);
    if (seen >= 0) return path.slice(seen);
    path.push(at);
    at = processes[locks.blockers(at.number, at.waitsFor!)[0]!]!;
  }
}

function staleRows({ schema }: Scenario, database: Database): string[] {
  const stale: string[] = [];
  for (const view of schema.definitions) {
    const keys = new Set<number>();
    addAllKeys(view, database.tables, keys);
    for (const key of keys) {
      const expected = contentOf(view, database.tables, key);
      const found = database.tables[view.target]![key];
      if (!sameContent(expected, found))
        stale.push(
          `tview ${view.index} key ${key}: has ${found?.value ?? 'no row'}, should be ${expected?.value ?? 'none'}`,
        );
    }
  }
  return stale;
}

/**
 * A random order. A process that has gone on is kept going by `inertia`: long stretches reach what single steps seldom do,
 * a whole transaction between two statements of another. Half of the orders bring all transactions to their flush before
 * any begins it: that is where they miss each other.
 */
export function randomly(random: Random): Choose {
  const inertia = random.pick([0, 0, 0.5, 0.8, 0.95]);
  let isGathering = random.chance(0.5);
  let last = -1;
  return (runnable) => {
    if (isGathering) {
      const others = runnable.filter(({ waitsFor }) => waitsFor === null || !isAdvisory(waitsFor.lock));
      if (others.length > 0) return runnable.indexOf(random.pick(others));
      isGathering = false;
    }
    const same = runnable.findIndex(({ number }) => number === last);
    const choice = same >= 0 && random.chance(inertia) ? same : random.int(0, runnable.length - 1);
    last = runnable[choice]!.number;
    return choice;
  };
}

export const replay = (schedule: readonly number[]): Choose => {
  let step = 0;
  return (runnable) => {
    const number = schedule[step];
    step += 1;
    return Math.max(
      0,
      runnable.findIndex((each) => each.number === number),
    );
  };
};

/**
 * Every order, by depth first with replayed beginnings. A process knows only what was committed at each of its steps, so two
 * beginnings that agree on that for all processes, and on the order of commits, go on alike: the second is left alone.
 */
export function everyOrder(scenario: Scenario, rule: Rule, take: (outcome: Outcome) => boolean): number {
  const seen = new Set<string>();
  const choices: { choice: number; of: number }[] = [];
  let orders = 0;
  for (;;) {
    let depth = 0;
    const outcome = run(scenario, rule, (runnable, processes, database) => {
      if (depth < choices.length) {
        depth += 1;
        return choices[depth - 1]!.choice;
      }
      const known = processes.map(({ state, history }) => `${state === 'aborted' ? '!' : ''}${history}`);
      const key = `${database.commits}|${known.join('|')}`;
      if (seen.has(key)) return null;
      seen.add(key);
      choices.push({ choice: 0, of: runnable.length });
      depth += 1;
      return 0;
    });
    if (outcome !== null) {
      orders += 1;
      if (!take(outcome)) return orders;
    }
    for (;;) {
      const last = choices.at(-1);
      if (last === undefined) return orders;
      if (last.choice + 1 < last.of) {
        last.choice += 1;
        break;
      }
      choices.pop();
    }
  }
}
