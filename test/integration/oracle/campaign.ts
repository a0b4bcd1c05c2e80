/** World after world until so many transactions have committed, or something is wrong. */
import { randomDefinitions } from './definition.ts';
import type { Locks } from './locks.ts';
import { Random } from './random.ts';
import { randomSchema } from './schema.ts';
import { Tally } from './tally.ts';
import { type Failure, runStretch } from './trial.ts';
import { type Design, World } from './world.ts';

export interface Campaign {
  readonly seed: number;
  readonly locks: Locks;
  /** Stops when so many transactions have committed. */
  readonly transactions: number;
  readonly stretches: number;
  readonly rounds: number;
  /** A trial without locks has more wrong than diverging rows: stale reads, writers that meet in one row. */
  readonly goesOnUntilRowsDiverge?: boolean;
  readonly progress?: (line: string) => void;
}

export interface Result {
  readonly tally: Tally;
  readonly worlds: number;
  readonly failure: (Failure & { readonly design: Design; readonly where: string }) | null;
}

export async function run(campaign: Campaign): Promise<Result> {
  const tally = new Tally();
  for (let number = 0; ; number++) {
    const random = new Random(campaign.seed, number);
    const schema = randomSchema(random);
    const design: Design = { schema, definitions: randomDefinitions(random, schema), locks: campaign.locks };
    const world = await World.open(design, random.int(8, 12));
    try {
      for (let stretch = 0; stretch < campaign.stretches; stretch++) {
        const seeds = [campaign.seed, number, stretch];
        const failure = await runStretch(world, seeds, campaign.rounds, tally);
        if (failure !== null && campaign.goesOnUntilRowsDiverge && failure.findings.divergent === 0) continue;
        if (failure !== null) {
          return { tally, worlds: number + 1, failure: { ...failure, design, where: seeds.join('-') } };
        }
        if (tally.committed >= campaign.transactions) return { tally, worlds: number + 1, failure: null };
      }
    } finally {
      await world.close();
    }
    campaign.progress?.(`world ${number + 1}: ${tally.finished} transactions, ${tally}`);
  }
}
