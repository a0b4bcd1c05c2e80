/** World after world until so many transactions have committed, or something is wrong. */

import { Random } from '../../kit/random.ts';
import { randomDefinitions } from './definition.ts';
import type { Conditions } from './flaw.ts';
import { designScript } from './report.ts';
import { randomSchema } from './schema.ts';
import { Tally } from './tally.ts';
import { type Failure, runStretch } from './trial.ts';
import { type Design, World } from './world.ts';

export interface Plan {
  readonly seed: number;
  readonly conditions: Conditions;
  /** Stops when so many transactions have committed. */
  readonly transactions: number;
  /** Stretches in each world, and rounds in each stretch. */
  readonly stretches: number;
  readonly rounds: number;
  /** A trial without locks has more wrong than diverging rows: stale reads, writers that meet in one row. */
  readonly goesOnUntilRowsDiverge?: boolean;
  readonly progress?: (line: string) => void;
}

export interface FoundFailure extends Failure {
  readonly design: Design;
  /** Seed, world and stretch. */
  readonly where: string;
}

/** Worlds at once: while one looks whether all is well, or waits for its slowest session, the other one writes. */
const lanes = 2;

export class Campaign {
  readonly tally = new Tally();
  readonly #plan: Plan;
  #worlds = 0;
  #failure: FoundFailure | null = null;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  async run(): Promise<FoundFailure | null> {
    await Promise.all(Array.from({ length: lanes }, () => this.#lane()));
    return this.#failure;
  }

  get #isOver(): boolean {
    return this.#failure !== null || this.tally.committed >= this.#plan.transactions;
  }

  async #lane(): Promise<void> {
    while (!this.#isOver) {
      this.#worlds += 1;
      await this.#world(this.#worlds);
      this.#plan.progress?.(`${this.#worlds} worlds, ${this.tally.finished} transactions: ${this.tally}`);
    }
  }

  async #world(number: number): Promise<void> {
    const { seed, conditions, stretches, rounds, goesOnUntilRowsDiverge } = this.#plan;
    const random = Random.mixed(seed, number);
    const schema = randomSchema(random);
    const design: Design = { schema, definitions: randomDefinitions(random, schema), conditions };
    const world = await open(design, random.int(8, 12));
    try {
      for (let stretch = 1; stretch <= stretches && !this.#isOver; stretch++) {
        const failure = await runStretch(world, [seed, number, stretch], rounds, this.tally);
        if (failure === null || (goesOnUntilRowsDiverge && failure.findings.divergent === 0)) continue;
        this.#failure ??= { ...failure, design, where: `${seed}-${number}-${stretch}` };
      }
    } finally {
      await world.close();
    }
  }
}

/** A definition that is refused is a fault of this generator's, or of the compiler's. */
async function open(design: Design, sessions: number): Promise<World> {
  try {
    return await World.open(design, sessions);
  } catch (error) {
    throw new Error(`${error}\nin\n${designScript(design)}`, { cause: error });
  }
}
