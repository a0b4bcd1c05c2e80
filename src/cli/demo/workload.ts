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

/** What a transaction does, and how many of a hundred are of this kind. */
const kinds: readonly { readonly share: number; readonly statements: readonly string[] }[] = [
  {
    share: 60,
    statements: [
      `UPDATE shop.tb_product
       SET current_price = round(base_price * (0.7 + random() * 0.3)::numeric, 2), updated_at = now()
       WHERE pk_product = 1 + floor(random() * 1000)`,
    ],
  },
  {
    share: 20,
    statements: [
      `UPDATE shop.tb_inventory SET quantity = floor(random() * 500), updated_at = now()
       WHERE fk_product = 1 + floor(random() * 1000)`,
    ],
  },
  {
    share: 15,
    statements: [
      `INSERT INTO shop.tb_review (fk_product, user_number, rating, title)
       SELECT 1 + floor(random() * 1000), 1, 1 + floor(random() * 5), 'From the demo'`,
      `DELETE FROM shop.tb_review
       WHERE pk_review = (SELECT min(pk_review) FROM shop.tb_review WHERE title = 'From the demo')
         AND (SELECT count(*) > 100 FROM shop.tb_review WHERE title = 'From the demo')`,
    ],
  },
  {
    share: 5,
    statements: [
      `UPDATE shop.tb_supplier SET contact_phone = '+' || floor(random() * 1e10)::bigint
       WHERE pk_supplier = 1 + floor(random() * 10)`,
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
    for (const statement of chooseKind()) await client.query(statement);
    await client.query('COMMIT');
    return true;
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || !['40001', '40P01'].includes(error.code ?? '')) throw error;
    await client.query('ROLLBACK');
    return false;
  }
}

function chooseKind(): readonly string[] {
  let lot = Math.random() * 100;
  for (const { share, statements } of kinds) {
    lot -= share;
    if (lot < 0) return statements;
  }
  return kinds[0]!.statements;
}
