/**
 * What writers of one tview cost each other: posts are inserted and the users they belong to renamed, by 16 clients at
 * once, under no locks at all, locks on values, one lock per link and one per tview. Then the hot parent: every writer
 * under one user, with 1 to 64 clients. Straight to PostgreSQL, each write a transaction of its own, which the deferred
 * trigger flushes: the locks are the same through the proxy, which would need one of two cores for itself.
 */
import { parseArgs } from 'node:util';
import { applyInTransaction } from '../../src/database/apply.ts';
import type { SqlExecutor } from '../../src/database/executor.ts';
import { generateEverything } from '../../src/database/generate.ts';
import type { LockOptions, LockPart } from '../../src/database/locks.ts';
import { init } from '../../src/database/migrate.ts';
import { loadRegistry } from '../../src/database/registry.ts';
import { inTransaction } from '../../src/database/session.ts';
import { BenchClient, prepared, type Step } from '../kit/client.ts';
import { type Circumstances, circumstances } from '../kit/machine.ts';
import { median, rounded } from '../kit/samples.ts';
import { type BenchServer, serverSettings, startBenchServer } from '../kit/server.ts';

export interface ConcurrencyRow {
  readonly scene: 'mixed' | 'hot lookup' | 'hot group';
  readonly locks: string;
  readonly clients: number;
  /** Median over the rounds. */
  readonly transactionsPerSecond: number;
  /** Median over the rounds of the figure relative to that of no locks in the same round. */
  readonly ofUnlocked: number | null;
  readonly transactions: number;
  readonly stale: number;
}

export interface ConcurrencyResult {
  readonly circumstances: Circumstances;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly seconds: number;
  readonly rounds: number;
  readonly rows: readonly ConcurrencyRow[];
}

const users = 1000;
const tables = `
  CREATE TABLE tb_user (id integer PRIMARY KEY, name text NOT NULL);
  CREATE TABLE tb_post (id integer PRIMARY KEY, fk_user integer NOT NULL REFERENCES tb_user, title text NOT NULL);
  CREATE INDEX ON tb_post (fk_user);
  INSERT INTO tb_user SELECT i, 'user ' || i FROM generate_series(1, ${users}) AS i;
  INSERT INTO tb_post SELECT i, 1 + i % ${users}, 'post ' || i FROM generate_series(1, ${5 * users}) AS i`;

/** A document per post, with its author's name: renames and inserts meet in the link. */
const posts = `SELECT p.id AS pk_post, jsonb_build_object('title', p.title, 'author', u.name) AS data
  FROM tb_post p JOIN tb_user u ON u.id = p.fk_user`;
/** A document per user, with a number of posts: all writers below one user write one row. */
const counts = `SELECT u.id AS pk_user, jsonb_build_object('name', u.name,
    'posts', (SELECT count(*) FROM tb_post p WHERE p.fk_user = u.id)) AS data
  FROM tb_user u`;

type Locks = Pick<LockOptions, 'lockProtocol' | 'lockStripes' | 'omittedLocks'>;
const every: ReadonlySet<LockPart> = new Set(['near', 'far', 'path', 'key', 'tview']);
const contenders: Readonly<Record<string, Locks>> = {
  'no locks': { lockProtocol: 'value', omittedLocks: every },
  values: { lockProtocol: 'value' },
  'one lock per link': { lockProtocol: 'value', lockStripes: 1 },
  'one lock per tview': { lockProtocol: 'tview' },
};

interface Scene {
  readonly scene: ConcurrencyRow['scene'];
  readonly name: string;
  readonly tview: string;
  readonly definition: string;
  readonly locks: readonly string[];
  readonly clients: readonly number[];
  write(next: () => number, random: () => number): Step;
}

const insert = (id: number, user: number): Step =>
  prepared({ name: 'insert', values: [String(id), String(user)] });

export async function run(
  parameters: readonly string[],
  note: (line: string) => void,
  keep: (result: unknown) => void,
): Promise<ConcurrencyResult> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      seconds: { type: 'string', default: '4' },
      rounds: { type: 'string', default: '5' },
      clients: { type: 'string', default: '16' },
      curve: { type: 'string', multiple: true, default: ['1', '4', '16', '64'] },
    },
  });
  const seconds = Number(values.seconds);
  const rounds = Number(values.rounds);
  const hot = { locks: ['no locks', 'values', 'one lock per tview'], clients: values.curve.map(Number) };
  const scenes: readonly Scene[] = [
    {
      scene: 'mixed',
      name: 'mixed',
      tview: 'tv_post',
      definition: posts,
      locks: Object.keys(contenders),
      clients: [Number(values.clients)],
      write: (next, random) => {
        const user = 1 + Math.floor(random() * users);
        if (random() < 0.8) return insert(next(), user);
        return prepared({ name: 'rename', values: [String(user), `renamed ${next()}`] });
      },
    },
    {
      scene: 'hot lookup',
      name: 'lookup',
      tview: 'tv_post',
      definition: posts,
      ...hot,
      write: (next) => insert(next(), 1),
    },
    {
      scene: 'hot group',
      name: 'group',
      tview: 'tv_user',
      definition: counts,
      ...hot,
      write: (next) => insert(next(), 1),
    },
  ];
  const server = await startBenchServer();
  const rows: ConcurrencyRow[] = [];
  const result = (): ConcurrencyResult => ({
    circumstances: where,
    settings: serverSettings,
    seconds,
    rounds,
    rows,
  });
  const where = circumstances({ postgresql: server.version });
  try {
    for (const scene of scenes) {
      for (const clients of scene.clients) {
        for (const row of await measure(server, scene, clients, { seconds, rounds })) {
          rows.push(row);
          note(
            `${row.scene.padEnd(10)} ${String(clients).padStart(2)} clients  ${row.locks.padEnd(18)} ${row.transactionsPerSecond}/s, ${row.stale} stale of ${row.transactions}`,
          );
        }
        keep(result());
      }
    }
    return result();
  } finally {
    await server.stop();
  }
}

/** Each round a new database, so that none has more posts than another when it begins; contenders in turn. */
async function measure(
  server: BenchServer,
  scene: Scene,
  clients: number,
  { seconds, rounds }: { readonly seconds: number; readonly rounds: number },
): Promise<ConcurrencyRow[]> {
  for (const locks of scene.locks) {
    await server.createDatabase(templateOf(locks));
    const owner = await server.connect(templateOf(locks));
    await owner.query(tables);
    await owner.query('VACUUM ANALYZE');
    await init(owner);
    await applyInTransaction(owner, {
      kind: 'create',
      schema: null,
      name: scene.tview,
      ifExists: 'error',
      key: null,
      query: scene.definition,
    });
    await useLocks(owner, contenders[locks]!);
    await owner.close();
  }
  const figures = new Map(
    scene.locks.map((locks) => [locks, { perSecond: [] as number[], transactions: 0, stale: 0 }]),
  );
  for (let round = 0; round < rounds; round++) {
    // Another one first each time.
    const order = scene.locks.map((_, i) => scene.locks[(i + round) % scene.locks.length]!);
    for (const locks of order) {
      await server.createDatabase('round', templateOf(locks));
      const figure = figures.get(locks)!;
      const done = await load(server, scene, clients, seconds, round);
      figure.perSecond.push(done / seconds);
      figure.transactions += done;
      const owner = await server.connect('round');
      figure.stale += await staleRows(owner, scene.tview);
      await owner.close();
      await server.dropDatabase('round');
    }
  }
  for (const locks of scene.locks) await server.dropDatabase(templateOf(locks));
  const unlocked = figures.get('no locks')!.perSecond;
  return scene.locks.map((locks): ConcurrencyRow => {
    const { perSecond, transactions, stale } = figures.get(locks)!;
    return {
      scene: scene.scene,
      locks,
      clients,
      transactionsPerSecond: Math.round(median(perSecond)),
      ofUnlocked:
        locks === 'no locks' ? null : rounded(median(perSecond.map((value, i) => value / unlocked[i]!))),
      transactions,
      stale,
    };
  });
}

const templateOf = (locks: string): string => locks.replaceAll(' ', '_');

async function useLocks(owner: SqlExecutor, locks: Locks): Promise<void> {
  await inTransaction(owner, async () => {
    const registry = await loadRegistry(owner);
    await generateEverything(owner, { ...registry, settings: { ...registry.settings, ...locks } });
  });
}

/** @returns how many transactions were committed in the time */
async function load(
  server: BenchServer,
  scene: Scene,
  clients: number,
  seconds: number,
  round: number,
): Promise<number> {
  let id = 10 * users;
  const next = (): number => ++id;
  let seed = 1 + round;
  const random = (): number => {
    seed = (seed * 48271) % 0x7fffffff;
    return seed / 0x7fffffff;
  };
  const connected = await Promise.all(
    Array.from({ length: clients }, () => BenchClient.connect(server.url('round'))),
  );
  for (const client of connected) {
    await client.prepare('insert', `INSERT INTO tb_post VALUES ($1, $2, 'new')`);
    await client.prepare('rename', 'UPDATE tb_user SET name = $2 WHERE id = $1');
    // Plans are made before the clock runs.
    await client.run(scene.write(next, random));
  }
  let done = 0;
  const until = performance.now() + seconds * 1000;
  await Promise.all(
    connected.map(async (client) => {
      while (performance.now() < until) {
        await client.run(scene.write(next, random));
        done += 1;
      }
    }),
  );
  for (const client of connected) client.close();
  return done;
}

async function staleRows(owner: SqlExecutor, tview: string): Promise<number> {
  const [row] = await owner.query<{ rows: number }>(
    `SELECT count(*)::integer AS rows
     FROM (TABLE ${tview} EXCEPT ALL TABLE ${tview.replace('tv_', 'v_')}) AS differing`,
  );
  return row!.rows;
}
