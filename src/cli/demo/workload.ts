/**
 * The demo's workload: a few connections that write to the shop at a bounded rate, as shop users and staff would. The
 * data does not grow: what is inserted is deleted again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

export interface Workload {
  /** Transactions committed so far. */
  readonly committed: number;
  /** Transactions that lost a conflict (40001, 40P01) and were not counted. */
  readonly conflicts: number;
  /** Ends after the transactions under way. Rejects with the first error that was no conflict. */
  stop(): Promise<void>;
  /** Settles when a connection fails. */
  readonly failed: Promise<never>;
}

export interface WorkloadOptions {
  readonly connections: number;
  /** Over all connections; fewer when the server cannot keep up. */
  readonly transactionsPerSecond: number;
}

interface Statement {
  readonly text: string;
  readonly values: readonly (number | string)[];
}

/** From 1 to `most`. */
function lot(most: number): number {
  return 1 + Math.floor(Math.random() * most);
}

/** What a transaction does, and how many of a hundred are of this kind. The numbers are those of the shop at 1k. */
const kinds: readonly { readonly share: number; readonly statements: () => readonly Statement[] }[] = [
  {
    share: 60,
    statements: () => [
      {
        text: `UPDATE shop.tb_product SET current_price = round(base_price * $2, 2), updated_at = now()
               WHERE pk_product = $1`,
        values: [lot(1000), 0.7 + lot(30) / 100],
      },
    ],
  },
  {
    share: 20,
    statements: () => [
      {
        text: 'UPDATE shop.tb_inventory SET quantity = $2, updated_at = now() WHERE fk_product = $1',
        values: [lot(1000), lot(500)],
      },
    ],
  },
  {
    share: 15,
    statements: () => [
      {
        text: `INSERT INTO shop.tb_review (fk_product, user_number, rating, title) VALUES ($1, $2, $3, 'From the demo')`,
        values: [lot(1000), lot(10_000), lot(5)],
      },
      {
        // Number 5,000 is the last the shop was filled with: of ours the hundred newest stay.
        text: 'DELETE FROM shop.tb_review WHERE pk_review > 5000 AND pk_review < (SELECT max(pk_review) - 100 FROM shop.tb_review)',
        values: [],
      },
    ],
  },
  {
    share: 5,
    statements: () => [
      {
        text: 'UPDATE shop.tb_supplier SET contact_phone = $2 WHERE pk_supplier = $1',
        values: [lot(10), `+${lot(9_999_999_999)}`],
      },
    ],
  },
];

export async function startWorkload(url: string, options: WorkloadOptions): Promise<Workload> {
  const clients = await Promise.all(
    Array.from({ length: options.connections }, async () => {
      const client = new pg.Client({ connectionString: url, application_name: 'tviews demo' });
      // Reaches the query under way, which rejects.
      client.on('error', () => undefined);
      await client.connect();
      return client;
    }),
  );
  const state = { committed: 0, conflicts: 0, stopping: false };
  const pause = (1000 * options.connections) / options.transactionsPerSecond;

  const work = async (client: pg.Client): Promise<void> => {
    while (!state.stopping) {
      const started = performance.now();
      if (await runOne(client)) state.committed += 1;
      else state.conflicts += 1;
      await sleep(Math.max(0, pause - (performance.now() - started)));
    }
  };
  const workers = clients.map(work);
  const all = Promise.all(workers);
  const failed = all.then(
    () => new Promise<never>(() => undefined),
    (error: unknown) => Promise.reject(error),
  );
  // Whoever waits for `failed` hears of it; when nobody does, stop() tells.
  failed.catch(() => undefined);
  return {
    get committed() {
      return state.committed;
    },
    get conflicts() {
      return state.conflicts;
    },
    failed,
    stop: async () => {
      state.stopping = true;
      await Promise.allSettled(workers);
      await Promise.allSettled(clients.map((client) => client.end()));
      await all;
    },
  };
}

/** Whether it committed; false when it lost a conflict and may simply be forgotten. */
async function runOne(client: pg.Client): Promise<boolean> {
  try {
    await client.query('BEGIN');
    for (const { text, values } of chooseKind()) await client.query(text, [...values]);
    await client.query('COMMIT');
    return true;
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || !['40001', '40P01'].includes(error.code ?? '')) throw error;
    await client.query('ROLLBACK');
    return false;
  }
}

function chooseKind(): readonly Statement[] {
  let left = Math.random() * 100;
  for (const { share, statements } of kinds) {
    left -= share;
    if (left < 0) return statements();
  }
  return kinds[0]!.statements();
}
