/** One world under load: transactions of all sessions between two checkpoints, and what the checkpoint finds. */
import { Random } from '../../kit/random.ts';
import type { Outcome } from './session.ts';
import { isOrdinary, isOwnRead, type Tally } from './tally.ts';
import { type Level, levels, randomTransaction, statementsOf, type Transaction } from './transaction.ts';
import type { Data, Findings, World } from './world.ts';
import { refill } from './write.ts';

/** What each session does between two checkpoints, one transaction after the other. */
export type Load = readonly (readonly Transaction[])[];

/** Everything needed to try again what went wrong. */
export interface Failure {
  readonly data: Data;
  readonly load: Load;
  /** The same transactions, those that committed, in the order in which they ended. */
  readonly committed: readonly Transaction[];
  readonly findings: Findings;
  readonly complaints: readonly string[];
}

/** A load and what came of it. */
interface Round {
  readonly failure: Omit<Failure, 'data'> | null;
  readonly dataAfter: Data;
}

export const isFine = ({ divergent, problems }: Findings, complaints: readonly string[]): boolean =>
  divergent === 0 && problems.length === 0 && complaints.length === 0;

/** Runs the load on the data that is there, then looks. */
export async function runLoad(world: World, load: Load, tally?: Tally): Promise<Round> {
  const committed: Transaction[] = [];
  const complaints: string[] = [];
  const judges = judgedLevels(world, load);
  await Promise.all(
    load.map(async (transactions, i) => {
      for (const transaction of transactions) {
        const outcome = await world.sessions[i]!.run(transaction, judges);
        tally?.count(transaction, outcome);
        if (outcome.kind === 'committed') committed.push(transaction);
        complaints.push(...complaintsOf(transaction, outcome));
      }
    }),
  );
  const { findings, data: dataAfter } = await world.look();
  const failure = isFine(findings, complaints) ? null : { load, committed, findings, complaints };
  return { failure, dataAfter };
}

/**
 * Where a read in the middle has to match the definition. A TRUNCATE shows in snapshots older than itself, of the source
 * and not of the tview: so PostgreSQL has it ("not MVCC-safe"). Under locks on values, what a transaction that kept its
 * snapshot computed is looked at again after its commit; in between others may see it stale, and it may itself.
 */
function judgedLevels({ design }: World, load: Load): ReadonlySet<Level> {
  const all = load.flat();
  const truncates = all.some(({ steps }) =>
    statementsOf(steps).some(({ sql }) => sql.startsWith('TRUNCATE')),
  );
  const keepSnapshots = all.some(({ level }) => level !== 'READ COMMITTED');
  if (keepSnapshots && design.conditions.protocol === 'value') return new Set();
  return new Set(truncates ? ['READ COMMITTED'] : levels);
}

function complaintsOf(transaction: Transaction, outcome: Outcome): string[] {
  const { path, level } = transaction;
  if (outcome.kind === 'refused') {
    if (isOrdinary(outcome) || isOwnRead(transaction, outcome)) return [];
    return [`${path}, ${level}: error ${outcome.code}: ${outcome.message}`];
  }
  return outcome.staleReads.map((read) => `${path}, ${level}: stale read of ${read}`);
}

/**
 * Rounds of a few transactions from the seeds. Few, because in a hot set a stale row is soon computed anew, and so hidden by
 * whoever writes next; and because few are soon shrunk.
 */
export async function runStretch(
  world: World,
  seeds: readonly number[],
  rounds: number,
  tally: Tally,
): Promise<Failure | null> {
  const { schema, definitions } = world.design;
  const tviews = definitions.tviews.map(({ name }) => name);
  const random = Random.mixed(...seeds);
  await world.prepare(refill(random, schema));
  let { data } = await world.look();
  // Not always: TRUNCATE and kept snapshots limit what a read in the middle can be held to.
  const habits = { truncates: random.chance(0.25), keepsSnapshots: random.chance(0.6) };
  for (let round = 0; round < rounds; round++) {
    const load = world.sessions.map(() =>
      random.list(random.int(2, 5), () => randomTransaction(random, schema, tviews, habits)),
    );
    const { failure, dataAfter } = await runLoad(world, load, tally);
    if (failure !== null) return { data, ...failure };
    data = dataAfter;
  }
  const findings = await world.check();
  return isFine(findings, []) ? null : { data, load: [], committed: [], findings, complaints: [] };
}
