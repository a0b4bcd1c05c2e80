/** Looks for a stale row under a rule; what it finds it makes small and prints so that a person can follow it. */

import { Random } from '../../kit/random.ts';
import { type Outcome, randomly, replay, run } from './explore.ts';
import type { Rule } from './protocol.ts';
import { fill, makeScenario, type Options, type Scenario } from './scenario.ts';
import { defineView, type Row } from './schema.ts';
import type { Program, Statement } from './transaction.ts';

export interface Tally {
  schedules: number;
  stale: number;
  committed: number;
  failed: number;
  readonly deadlocks: { ours: number; mixed: number; others: number };
  /** The seed of the first scenario that went stale. */
  found: {
    readonly seed: number;
    readonly schedule: readonly number[];
    readonly stale: readonly string[];
  } | null;
}

/** Orders tried of each scenario that is made up. */
const ORDERS = 8;

/** Runs `schedules` random orders; stops at the first stale row if told to. */
export function search(
  rule: Rule,
  options: Options,
  seed: number,
  schedules: number,
  untilStale = false,
): Tally {
  const tally: Tally = {
    schedules: 0,
    stale: 0,
    committed: 0,
    failed: 0,
    deadlocks: { ours: 0, mixed: 0, others: 0 },
    found: null,
  };
  for (let at = seed; tally.schedules < schedules; at += 1) {
    const random = Random.of(at);
    const scenario = makeScenario(random, options);
    for (let order = 0; order < ORDERS; order += 1) {
      add(tally, run(scenario, rule, randomly(random))!, at);
      if (untilStale && tally.stale > 0) return tally;
    }
  }
  return tally;
}

function add(tally: Tally, outcome: Outcome, seed: number): void {
  tally.schedules += 1;
  tally.committed += outcome.committed;
  tally.failed += outcome.failed;
  tally.deadlocks.ours += outcome.deadlocks.ours;
  tally.deadlocks.mixed += outcome.deadlocks.mixed;
  tally.deadlocks.others += outcome.deadlocks.others;
  if (outcome.stale.length === 0) return;
  tally.stale += 1;
  tally.found ??= { seed, schedule: outcome.schedule, stale: outcome.stale };
}

/** The scenario of a seed, in as few parts as still go stale under some order. */
export function shrink(rule: Rule, options: Options, seed: number): Scenario {
  let scenario = makeScenario(Random.of(seed), options);
  for (;;) {
    const smaller = [...parts(scenario)].find((each) => goesStale(rule, each, seed) !== null);
    if (smaller === undefined) return scenario;
    scenario = smaller;
  }
}

function goesStale(rule: Rule, scenario: Scenario, seed: number): Outcome | null {
  const random = Random.of(seed);
  for (let order = 0; order < 600; order += 1) {
    const outcome = run(scenario, rule, randomly(random))!;
    if (outcome.stale.length > 0) return outcome;
  }
  return null;
}

const without = <Item>(items: readonly Item[], place: number): Item[] =>
  items.filter((_, at) => at !== place);

function* parts(scenario: Scenario): Generator<Scenario> {
  const { schema, state, programs } = scenario;
  if (programs.length > 2)
    for (const place of programs.keys()) yield { ...scenario, programs: without(programs, place) };
  for (const [place, program] of programs.entries())
    for (const at of program.statements.keys()) {
      const fewer = { ...program, statements: without(program.statements, at) };
      yield { ...scenario, programs: programs.with(place, fewer) };
    }
  const refill = (rows: readonly (readonly (Row | undefined)[])[], changed = schema): Scenario => ({
    schema: changed,
    state: fill(changed, rows.slice(0, schema.sources)),
    programs,
  });
  for (const view of schema.definitions)
    for (const leaf of view.occurrences) {
      if (leaf.index === 0 || view.children[leaf.index]!.length > 0) continue;
      const rest = without(view.occurrences, leaf.index).map((each) => ({
        ...each,
        index: each.index > leaf.index ? each.index - 1 : each.index,
        parent: each.parent !== null && each.parent > leaf.index ? each.parent - 1 : each.parent,
      }));
      const definitions = schema.definitions.with(view.index, defineView(view.index, view.target, rest));
      yield refill(state, { ...schema, definitions });
    }
  for (const place of schema.foreignKeys.keys())
    yield refill(state, { ...schema, foreignKeys: without(schema.foreignKeys, place) });
  for (const view of schema.definitions)
    for (const each of view.occurrences) {
      const plain = { ...each, filtered: false, join: each.index === 0 ? each.join : ('outer' as const) };
      if (plain.filtered === each.filtered && plain.join === each.join) continue;
      const definition = defineView(view.index, view.target, view.occurrences.with(each.index, plain));
      yield refill(state, { ...schema, definitions: schema.definitions.with(view.index, definition) });
    }
  for (let table = 0; table < schema.sources; table += 1)
    for (const [id, row] of state[table]!.entries())
      if (row !== undefined) yield refill(state.with(table, state[table]!.with(id, undefined)));
}

/** What a person needs to follow a counter-example, and to run it again. */
export function describeFailure(rule: Rule, options: Options, seed: number): string {
  const scenario = shrink(rule, options, seed);
  const outcome = goesStale(rule, scenario, seed);
  const shown =
    outcome === null ? ['(seen once, not again)'] : [...outcome.stale, steps(scenario, rule, outcome)];
  return [`stale under "${rule.name}" with seed ${seed}`, ...describeScenario(scenario), ...shown].join('\n');
}

function steps(scenario: Scenario, rule: Rule, outcome: Outcome): string {
  const choose = replay(outcome.schedule);
  const lines: string[] = [];
  run(scenario, rule, (runnable, processes, database) => {
    const choice = choose(runnable, processes, database)!;
    const { number, waitsFor } = runnable[choice]!;
    const what = waitsFor === null ? 'next statement' : `${waitsFor.mode} lock ${waitsFor.lock}`;
    lines.push(
      `${'ABC'[number]}: ${what}${database.commits === '' ? '' : `  (committed: ${database.commits})`}`,
    );
    return choice;
  });
  return lines.join('\n');
}

function* describeScenario({ schema, state, programs }: Scenario): Generator<string> {
  for (const view of schema.definitions) {
    yield `tview ${view.index} (table ${view.target})`;
    for (const { index, table, parent, key, near, far, direction, join, filtered } of view.occurrences)
      yield `  ${index}: table ${table} ${
        parent === null ? `key column ${key}` : `${direction} to ${parent}: own ${far} = its ${near}`
      } ${join}${filtered ? ' filtered' : ''}`;
  }
  for (const each of schema.foreignKeys)
    yield `foreign key ${each.table}.${each.column} -> ${each.target} on delete ${each.onDelete}`;
  for (let table = 0; table < schema.sources; table += 1)
    yield `table ${table}: ${state[table]!.filter((row) => row !== undefined)
      .map(describeRow)
      .join(' ')}`;
  for (const [place, program] of programs.entries())
    yield `${'ABC'[place]} (${program.isolation}): ${describeProgram(program)}`;
}

const describeRow = ({ columns, value, shown }: Row): string =>
  `[${columns.join(',')} '${value}'${shown ? '' : ' hidden'}]`;

const describeProgram = ({ statements, end }: Program): string =>
  [...statements.map(describeStatement), end].join('; ');

function describeStatement(statement: Statement): string {
  switch (statement.kind) {
    case 'flush':
      return 'flush';
    case 'truncate':
      return `truncate ${statement.table}`;
    case 'insert':
      return `insert into ${statement.table} ${describeRow(statement.row)}`;
    default: {
      const { column, equals } = statement.where;
      const to = statement.kind === 'link' ? ` ${statement.column}:=${statement.to}` : '';
      return `${statement.kind} ${statement.table}${to} where ${column} = ${equals}`;
    }
  }
}
