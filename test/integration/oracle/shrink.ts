/**
 * Makes a failure smaller by trying again with less. Concurrency is not repeatable, so each candidate is tried several
 * times, as often as the failure's own rate asks for; what is left at the end did fail, but need not be the smallest.
 */
import type { Definition, Definitions } from './definition.ts';
import type { Schema } from './schema.ts';
import { hasBegin, type Step, statementsOf, type Transaction } from './transaction.ts';
import { type Failure, type Load, runLoad } from './trial.ts';
import { type Data, type Design, World } from './world.ts';

export interface Reproducer {
  readonly design: Design;
  readonly data: Data;
  readonly load: Load;
  /** Of the last so many trials of exactly this, so many failed. */
  readonly trials: number;
  readonly failures: number;
  readonly said: readonly string[];
}

interface Candidate {
  readonly design: Design;
  readonly data: Data;
  readonly load: Load;
}

const mostTrials = 60;

export async function shrink(design: Design, failure: Failure, trials: number): Promise<Reproducer> {
  const laboratory = new Laboratory(trials);
  try {
    return await laboratory.shrink({ design, data: failure.data, load: failure.load }, failure);
  } finally {
    await laboratory.close();
  }
}

class Laboratory {
  #trialsLeft: number;
  #world: World | null = null;
  #trials = 8;
  #said: readonly string[] = [];

  constructor(trials: number) {
    this.#trialsLeft = trials;
  }

  async close(): Promise<void> {
    await this.#world?.close();
    this.#world = null;
  }

  async shrink(whole: Candidate, failure: Failure): Promise<Reproducer> {
    let best = whole;
    const take = async (candidate: Candidate): Promise<boolean> => {
      if (!(await this.#fails(candidate))) return false;
      best = candidate;
      return true;
    };
    // No concurrency needed? Then all that follows is certain.
    const isSequential = await take({ ...whole, load: [failure.committed] });
    if (!isSequential && !(await this.#fails(whole))) return { ...whole, ...(await this.#measure(whole)) };
    await take(narrow(best, failure.findings.tviews));
    best = await this.#moreOften(best);
    await this.#adjust(best);
    best = await this.#fewerTransactions(best);
    await take(narrow(best, failure.findings.tviews));
    await this.#adjust(best);
    best = await this.#simplerTransactions(best);
    best = await this.#startLater(best);
    best = await this.#fewerRows(best);
    await take(narrow(best, failure.findings.tviews));
    return { ...best, ...(await this.#measure(best)) };
  }

  /** Slower transactions meet more often; where that helps, the rest takes fewer trials. */
  async #moreOften(candidate: Candidate): Promise<Candidate> {
    const slower = { ...candidate, load: candidate.load.map((transactions) => transactions.map(slowed)) };
    const before = await this.#measure(candidate);
    const after = await this.#measure(slower);
    return after.failures > before.failures ? slower : candidate;
  }

  /** As many trials as make a failure likely that comes as often as this one. */
  async #adjust(candidate: Candidate): Promise<void> {
    const { trials, failures } = await this.#measure(candidate);
    this.#trials =
      failures === trials ? 1 : Math.min(mostTrials, Math.ceil((4 * trials) / Math.max(failures, 0.5)));
  }

  async #measure(candidate: Candidate): Promise<Pick<Reproducer, 'trials' | 'failures' | 'said'>> {
    let failures = 0;
    for (let i = 0; i < 10; i++) failures += (await this.#tryOnce(candidate)) ? 1 : 0;
    return { trials: 10, failures, said: this.#said };
  }

  async #fails(candidate: Candidate): Promise<boolean> {
    for (let i = 0; i < this.#trials && this.#trialsLeft > 0; i++) {
      if (await this.#tryOnce(candidate)) return true;
    }
    return false;
  }

  async #tryOnce(candidate: Candidate): Promise<boolean> {
    this.#trialsLeft -= 1;
    try {
      const world = await this.#worldFor(candidate);
      await world.restore(candidate.data);
      const { failure } = await runLoad(world, candidate.load);
      if (failure !== null) {
        this.#said = [
          ...failure.complaints,
          ...failure.findings.problems,
          `${failure.findings.divergent} divergent rows in ${failure.findings.tviews.join(', ') || 'no tview'}`,
        ];
      }
      return failure !== null;
    } catch {
      // Rows that break a foreign key, a definition that lacks a table: less than this does not work.
      return false;
    }
  }

  async #worldFor({ design, load }: Candidate): Promise<World> {
    if (this.#world !== null && this.#world.design === design && this.#world.sessions.length >= load.length) {
      return this.#world;
    }
    await this.close();
    this.#world = await World.open(design, load.length);
    return this.#world;
  }

  async #fewerTransactions(candidate: Candidate): Promise<Candidate> {
    const tagged = candidate.load.flatMap((transactions, session) =>
      transactions.map((transaction) => ({ transaction, session })),
    );
    const rebuild = (kept: typeof tagged): Candidate => ({
      ...candidate,
      load: candidate.load
        .map((_, session) =>
          kept.filter((one) => one.session === session).map(({ transaction }) => transaction),
        )
        .filter((transactions) => transactions.length > 0),
    });
    return rebuild(await minimise(tagged, (kept) => this.#fails(rebuild(kept))));
  }

  async #simplerTransactions(candidate: Candidate): Promise<Candidate> {
    let best = candidate;
    for (let session = 0; session < best.load.length; session++) {
      for (let i = 0; i < best.load[session]!.length; i++) {
        // As long as something can be left out of this one.
        for (let improved = true; improved; ) {
          improved = false;
          for (const simpler of simplerThan(best.load[session]![i]!)) {
            const load = best.load.map((transactions, s) =>
              s === session ? transactions.with(i, simpler) : transactions,
            );
            if (!(await this.#fails({ ...best, load }))) continue;
            best = { ...best, load };
            improved = true;
            break;
          }
        }
      }
    }
    return best;
  }

  /** What only prepares the failure is done beforehand: from the rows as they are after it. Of one session alone. */
  async #startLater(candidate: Candidate): Promise<Candidate> {
    if (candidate.load.length > 1) return candidate;
    const statements = candidate.load[0]!.flatMap((one) =>
      one.steps.map((step) => ({ ...one, steps: [step] })),
    );
    let best = candidate;
    for (const i of statements.keys()) {
      const world = await this.#worldFor(candidate);
      await world.restore(candidate.data);
      const { dataAfter } = await runLoad(world, [statements.slice(0, i)]);
      const later = { ...candidate, data: dataAfter, load: [statements.slice(i)] };
      if (await this.#fails(later)) best = later;
    }
    return best;
  }

  async #fewerRows(candidate: Candidate): Promise<Candidate> {
    const rows = Object.entries(candidate.data).flatMap(([table, text]) =>
      (JSON.parse(text) as object[]).map((row) => ({ table, row })),
    );
    const rebuild = (kept: typeof rows): Candidate => ({
      ...candidate,
      data: Object.fromEntries(
        Object.keys(candidate.data).map((table) => [
          table,
          JSON.stringify(kept.filter((one) => one.table === table).map(({ row }) => row)),
        ]),
      ),
    });
    return rebuild(await minimise(rows, (kept) => this.#fails(rebuild(kept))));
  }
}

/** Leaves out halves, quarters … of a list for as long as the rest still fails. */
async function minimise<T>(items: readonly T[], fails: (items: T[]) => Promise<boolean>): Promise<T[]> {
  let kept = [...items];
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < kept.length; ) {
      const rest = kept.toSpliced(from, size);
      if (rest.length > 0 && (await fails(rest))) kept = rest;
      else from += size;
    }
  }
  return kept;
}

/** Stays for a while between its flush and its end. */
function slowed(transaction: Transaction): Transaction {
  if (!hasBegin(transaction.path)) return transaction;
  return {
    ...transaction,
    steps: [...transaction.steps, { kind: 'flush' }, { kind: 'pause', milliseconds: 8 }],
  };
}

function* simplerThan(transaction: Transaction): Iterable<Transaction> {
  const { steps } = transaction;
  for (const i of steps.keys()) {
    if (steps.length > 1) yield { ...transaction, steps: steps.toSpliced(i, 1) };
    const step = steps[i]!;
    if (step.kind === 'savepoint') yield { ...transaction, steps: steps.toSpliced(i, 1, ...step.steps) };
  }
  if (transaction.level !== 'READ COMMITTED') yield { ...transaction, level: 'READ COMMITTED' };
  const plain: Transaction['path'] = transaction.path.includes('proxy') ? 'proxy' : 'direct';
  if (transaction.path !== plain) yield { ...transaction, path: plain };
  if (transaction.path === 'proxy') yield { ...transaction, path: 'direct' };
}

/** Without the definitions and tables that neither the tviews in question nor the transactions need. */
function narrow({ design, data, load }: Candidate, tviews: readonly string[]): Candidate {
  const { schema, definitions } = design;
  const all = [...definitions.views, ...definitions.tviews];
  const read = namesIn(load.flat().flatMap(({ steps }) => readsOf(steps)));
  const wanted = new Set([...tviews, ...read].filter((name) => all.some((one) => one.name === name)));
  // Nothing but errors was found: all of them may matter.
  if (wanted.size === 0) for (const { name } of definitions.tviews) wanted.add(name);
  for (const { name, query } of all.toReversed()) {
    if (wanted.has(name)) for (const used of namesIn([query])) wanted.add(used);
  }
  const written = namesIn(load.flat().flatMap(({ steps }) => statementsOf(steps).map(({ sql }) => sql)));
  const tables = new Set([...wanted, ...written]);
  for (const table of schema.tables.toReversed()) {
    if (tables.has(table.name)) for (const { target } of table.links) tables.add(target);
  }
  const keep = (list: readonly Definition[]): Definition[] => list.filter(({ name }) => wanted.has(name));
  const narrowSchema: Schema = { tables: schema.tables.filter(({ name }) => tables.has(name)) };
  const narrowed: Definitions = { views: keep(definitions.views), tviews: keep(definitions.tviews) };
  return {
    design: { ...design, schema: narrowSchema, definitions: narrowed },
    data: Object.fromEntries(narrowSchema.tables.map(({ name }) => [name, data[name]!])),
    load,
  };
}

const namesIn = (texts: readonly string[]): string[] =>
  texts.flatMap((text) => [...text.matchAll(/\b(t\d|w\d|tv_d\d)(_p\d)?\b/g)].map(([, name]) => name!));

const readsOf = (steps: readonly Step[]): string[] =>
  statementsOf(steps).flatMap(({ reads }) => (reads === undefined ? [] : [reads]));
