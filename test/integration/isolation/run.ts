/** Runs one interleaving of a shape's sessions, as PostgreSQL's isolationtester would. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { sqlStateOf } from '../../../src/database/session.ts';
import type { Arena, Connection, Verdict } from './arena.ts';
import { sessionOf } from './interleavings.ts';
import { type Level, type Session, type Shape, type Step, textOf } from './shape.ts';

export interface Outcome {
  readonly verdict: Verdict;
  /** Of each session, the SQLSTATE it was rolled back with; null where it went through. */
  readonly errors: readonly (string | null)[];
  /** What happened, a line for each step in the order in which they were done. */
  readonly history: readonly string[];
  /**
   * The shortest beginning of the interleaving that asks a session to go on while it waits for another's lock: no client
   * could. What follows was done when it came free, which is what some other interleaving says.
   */
  readonly impossible: string | null;
}

/** Steps mostly take less; who takes longer may be waiting for a lock, and is looked at. */
const usualMilliseconds = 2;
/** Nobody waits so long: a step that does not end by itself nor waits for a session of ours is a mistake of the shape. */
const patienceMilliseconds = 20_000;

class Runner {
  readonly name: string;
  running: Promise<void> | null = null;
  /** Whether its step was seen to wait. */
  hasWaited = false;
  isOver = false;
  error: string | null = null;
  /** Steps whose turn has come while it waited. */
  owed = 0;
  private next = 0;
  private readonly session: Session;
  private readonly level: Level;
  private readonly arena: Arena;
  private readonly own: Connection;
  private readonly other: Connection | null;
  private readonly repairer: Connection | null;
  private readonly history: string[];

  constructor(
    name: string,
    session: Session,
    level: Level,
    arena: Arena,
    connections: { own: Connection; other: Connection | null; repairer: Connection | null },
    history: string[],
  ) {
    this.name = name;
    this.session = session;
    this.level = level;
    this.arena = arena;
    this.own = connections.own;
    this.other = connections.other;
    this.repairer = connections.repairer;
    this.history = history;
  }

  get pids(): number[] {
    return [this.own, this.other, this.repairer].flatMap((connection) => connection?.pid ?? []);
  }

  get isRepaired(): boolean {
    return this.repairer !== null;
  }

  start(): void {
    const step = this.session.steps[this.next]!;
    const isFirst = this.next === 0;
    this.next += 1;
    this.hasWaited = false;
    this.history.push(`${this.name}: ${textOf(step)}`);
    this.running = this.perform(step, isFirst).then(
      () => {
        this.running = null;
        if (this.next === this.session.steps.length) this.isOver = true;
        if (this.hasWaited) this.history.push(`${this.name} goes on`);
      },
      (error: unknown) => {
        this.running = null;
        this.isOver = true;
        this.error = sqlStateOf(error) ?? 'no SQLSTATE';
        this.history.push(`${this.name} fails: ${this.error} ${error instanceof Error ? error.message : ''}`);
      },
    );
  }

  private async perform(step: Step, isFirst: boolean): Promise<void> {
    const { client } = this.own;
    if (typeof step !== 'string' && 'elsewhere' in step) {
      await this.other!.client.query(step.elsewhere);
      await this.afterCommit();
      return;
    }
    try {
      const begin = isFirst ? this.begin : '';
      if (typeof step === 'object' && 'what' in step) {
        if (isFirst) await client.query(begin);
        await step.run(client);
      } else {
        await client.query(begin + (typeof step === 'string' ? step : this.flush(step.flush)));
      }
    } catch (error) {
      await client.query('ROLLBACK');
      this.own.heard.length = 0;
      throw error;
    }
    if (step === 'COMMIT') await this.afterCommit();
  }

  private get begin(): string {
    this.own.heard.length = 0;
    const claim = this.session.delivery === 'claim' ? `${this.arena.claim}; ` : '';
    return `BEGIN ISOLATION LEVEL ${this.level}; ${claim}`;
  }

  private flush(when: 'last' | 'before a read'): string {
    if (this.session.delivery === 'queue') {
      // Deferred again, or every later statement would be flushed by itself.
      return `SET CONSTRAINTS ALL IMMEDIATE${when === 'last' ? '' : '; SET CONSTRAINTS ALL DEFERRED'}`;
    }
    const changes =
      this.session.delivery === 'claim' ? `[${this.own.heard.splice(0).join(', ')}]` : '[{"queued": true}]';
    const isLast = when === 'last' && this.session.delivery === 'claim';
    return `SELECT tviews.flush('${changes.replaceAll("'", "''")}', ${isLast})`;
  }

  /** What a proxy does before it answers, on a connection of the owner's. */
  private async afterCommit(): Promise<void> {
    if (this.repairer === null) return;
    try {
      await workOffRepairs(this.repairer.client);
    } catch (error) {
      // What it leaves is there for the next one. It is a writer like any other, so it may be the victim of a deadlock; and
      // one that holds no lock on the sources: where a tview is replaced, the function it was about to call may be gone.
      const state = sqlStateOf(error) ?? '';
      if (!['40P01', 'XX000'].includes(state)) throw error;
      this.history.push(`${this.name}'s repair is put off: ${state}`);
    }
  }
}

/** One at a time, as the function has it. */
async function workOffRepairs(client: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ pending: string }>('SELECT tviews.repair() AS pending');
    if (rows[0]!.pending === '0') return;
  }
}

/** @param levels one for each session */
export async function runInterleaving(
  arena: Arena,
  shape: Shape,
  levels: readonly Level[],
  interleaving: string,
): Promise<Outcome> {
  const history: string[] = [];
  const runners = await Promise.all(
    shape.sessions.map(async (session, place) => {
      const level = session.level ?? levels[place]!;
      const needsOther = session.steps.some((step) => typeof step !== 'string' && 'elsewhere' in step);
      return new Runner(
        'abcdefgh'[place]!,
        session,
        level,
        arena,
        {
          own: await arena.connection(place, session.role),
          other: needsOther ? await arena.connection(place, session.role, 'other') : null,
          repairer: level === 'READ COMMITTED' ? null : await arena.connection(place, 'owner', 'other'),
        },
        history,
      );
    }),
  );
  let impossible: string | null = null;
  for (const [i, letter] of [...interleaving].entries()) {
    const runner = runners[sessionOf(letter)]!;
    if (runner.isOver) continue;
    if (runner.running !== null) {
      runner.owed += 1;
      impossible ??= interleaving.slice(0, i + 1);
      continue;
    }
    runner.start();
    await comeToRest(arena, runners);
  }
  // Who still waits now does so for a session that waits as well: a deadlock, which PostgreSQL ends.
  const started = Date.now();
  while (runners.some(({ running }) => running !== null)) {
    await Promise.race([...stillRunning(runners).map(({ running }) => running), sleep(100)]);
    await comeToRest(arena, runners);
    if (Date.now() - started > patienceMilliseconds) throw new Error(stuck(runners, history));
  }
  if (runners.some(({ isRepaired }) => isRepaired)) {
    await workOffRepairs((await arena.connection(0, 'owner', 'other')).client);
  }
  return {
    verdict: await arena.judge(shape),
    errors: runners.map(({ error }) => error),
    history,
    impossible,
  };
}

const stillRunning = (runners: readonly Runner[]): Runner[] =>
  runners.filter(({ running }) => running !== null);

/** Returns when every session has done what it was asked to, or waits for another one. */
async function comeToRest(arena: Arena, runners: readonly Runner[]): Promise<void> {
  for (;;) {
    await comeToRestOnce(arena, runners);
    const free = runners.find(({ running, isOver, owed }) => running === null && !isOver && owed > 0);
    if (free === undefined) return;
    free.owed -= 1;
    free.start();
  }
}

async function comeToRestOnce(arena: Arena, runners: readonly Runner[]): Promise<void> {
  const started = Date.now();
  const all = stillRunning(runners);
  // Only the one that was started last: the others have waited already, and may go on doing so.
  await Promise.race([Promise.all(all.map(({ running }) => running)), sleep(usualMilliseconds)]);
  for (;;) {
    const pending = stillRunning(runners);
    if (pending.length === 0) return;
    const waiting = await arena.waiting(pending.flatMap(({ pids }) => pids));
    // The lock table is what it was in one moment. Where everybody waited then, nobody is left who could let one go on.
    if (pending.every(({ pids }) => pids.some((pid) => waiting.has(pid)))) {
      for (const runner of pending) runner.hasWaited = true;
      return;
    }
    if (Date.now() - started > patienceMilliseconds) throw new Error(stuck(runners, []));
    await sleep(1);
  }
}

const stuck = (runners: readonly Runner[], history: readonly string[]): string =>
  [
    `sessions ${stillRunning(runners)
      .map(({ name }) => name)
      .join(', ')} do not come to an end`,
    ...history,
  ].join('\n');
