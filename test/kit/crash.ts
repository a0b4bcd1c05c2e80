/**
 * Crashes of the proxy against a blog: transactions that each leave one trace in every table, so that a half is seen;
 * what was acknowledged is remembered, and checked once PostgreSQL has ended the connections of the dead.
 */
import type pg from 'pg';
import { expect } from 'vitest';
import { type Blog, blogRows, exact } from './blog.ts';
import { connectTo, until } from './clients.ts';
import type { FlakyNetwork } from './flaky-network.ts';
import type { ProxyProcess } from './proxy-process.ts';
import { Random } from './random.ts';

/** One transaction under an id of its own: a post, a comment on it, and a line in a table no tview reads. */
export async function writeAll(client: pg.Client, id: number, extended: boolean): Promise<void> {
  const run = (text: string, values: readonly unknown[]) =>
    extended
      ? client.query({ name: text, text, values: [...values] })
      : client.query({ text, values: [...values] });
  await client.query('BEGIN');
  await run('INSERT INTO ledger VALUES ($1)', [id]);
  await run('INSERT INTO tb_post VALUES ($1, 1 + $1 % 5, $2)', [id, `post ${id}`]);
  await run('INSERT INTO tb_comment (fk_post, body) VALUES ($1, $2)', [id, `comment ${id}`]);
  await run('UPDATE tb_author SET name = $2 WHERE pk_author = 1 + $1 % 5', [id, `author of ${id}`]);
}

export const commit = (client: pg.Client, extended: boolean): Promise<pg.QueryResult> =>
  client.query(extended ? { name: 'commit', text: 'COMMIT', values: [] } : 'COMMIT');

export async function prepareBlog(blog: Blog): Promise<void> {
  await blog.owner.query(
    `CREATE TABLE IF NOT EXISTS ledger (id integer PRIMARY KEY); TRUNCATE ledger; ${blogRows}`,
  );
}

/**
 * Every transaction whole or not at all, the acknowledged ones whole, nothing stale, nothing queued, nothing locked.
 * @param alive the proxy has survived and may keep idle connections
 */
export async function expectWhole(
  blog: Blog,
  acknowledged: ReadonlySet<number>,
  alive = false,
): Promise<ReadonlySet<number>> {
  // Only a superuser is told whether another role's backend is idle.
  const admin = await connectTo(blog.database.superuser.url);
  try {
    await until('the backends of the dead have ended', async () => {
      const { rows } = await admin.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM pg_stat_activity
         WHERE datname = current_database() AND usename = $1 AND NOT ($2 AND state = 'idle')`,
        [blog.database.app.role, alive],
      );
      return rows[0]!.n === 0;
    });
  } finally {
    await admin.end();
  }
  const { rows } = await blog.owner.query<{ id: number; whole: boolean }>(`
    SELECT id, l.id IS NOT NULL AND p.pk_post IS NOT NULL AND c.fk_post IS NOT NULL AS whole
    FROM (SELECT id, id AS lid FROM ledger) AS l (id, lid)
    FULL JOIN (SELECT pk_post AS id, pk_post FROM tb_post WHERE pk_post >= 1000) AS p USING (id)
    FULL JOIN (SELECT fk_post AS id, fk_post FROM tb_comment WHERE fk_post >= 1000) AS c USING (id)`);
  expect(rows.filter(({ whole }) => !whole)).toEqual([]);
  const there = new Set(rows.map(({ id }) => id));
  expect([...acknowledged].filter((id) => !there.has(id))).toEqual([]);
  expect(await blog.state()).toEqual(exact);
  const locks = await blog.owner.query(
    `SELECT objid, mode FROM pg_locks
     WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  );
  expect(locks.rows).toEqual([]);
  return there;
}

export interface KillOptions {
  readonly kills: number;
  readonly writers: number;
  readonly seed: number;
}

/** Kills the proxy again and again while writers write; gives the number of transactions acknowledged. */
export async function killUnderLoad(blog: Blog, proxy: ProxyProcess, options: KillOptions): Promise<number> {
  await prepareBlog(blog);
  await blog.owner.query('GRANT ALL ON ledger TO PUBLIC');
  const dice = Random.of(options.seed);
  const acknowledged = new Set<number>();
  let nextId = 1000;

  const write = async (url: string, extended: boolean): Promise<void> => {
    // Until the proxy dies under it: that rejects, at whatever point we are.
    try {
      const client = await connectTo(url);
      for (;;) {
        const id = nextId++;
        await writeAll(client, id, extended);
        const { command } = await commit(client, extended);
        if (command === 'COMMIT') acknowledged.add(id);
      }
    } catch (error) {
      expectConnectionLoss(error);
    }
  };

  for (let kill = 0; kill < options.kills; kill += 1) {
    await proxy.start();
    const target = acknowledged.size + 1 + dice.below(8);
    const url = proxy.url(blog.database.app);
    const writers = Array.from({ length: options.writers }, (_, index) => write(url, index % 2 === 1));
    await until('some transactions are acknowledged', () => acknowledged.size >= target);
    await new Promise((resolve) => setTimeout(resolve, dice.below(30)));
    await proxy.kill();
    await Promise.all(writers);
    await expectWhole(blog, acknowledged);
  }
  return acknowledged.size;
}

/** The error of a client whose proxy is gone; anything else is a finding. */
export function expectConnectionLoss(error: unknown): void {
  const { code, message } = error as { code?: string; message: string };
  const lost = code === undefined || ['ECONNRESET', 'ECONNREFUSED', 'EPIPE', '08006', '57P01'].includes(code);
  expect(lost, `a client got "${message}" (${code})`).toBe(true);
}

export type CutPoints = (length: number) => readonly number[];

export interface CutOutcome {
  readonly committed: number;
  readonly vanished: number;
}

/**
 * Cuts the connection to PostgreSQL within the packet that carries flush and COMMIT, once at each of the points.
 * @param urlOf of a proxy whose server is behind the network
 */
export async function cutAtCommit(
  blog: Blog,
  network: FlakyNetwork,
  url: string,
  extended: boolean,
  points: CutPoints,
): Promise<CutOutcome> {
  await prepareBlog(blog);
  await blog.owner.query('GRANT ALL ON ledger TO PUBLIC');
  let id = 1000;
  const cutAt = async (bytes: number): Promise<{ packet: Buffer; committed: boolean }> => {
    id += 1;
    const client = await connectTo(url);
    await writeAll(client, id, extended);
    const cut = network.cut({ matches: (packet) => packet.includes('COMMIT\0'), bytes });
    const acknowledged = new Set<number>();
    await commit(client, extended).then(
      ({ command }) => command === 'COMMIT' && acknowledged.add(id),
      (error: unknown) => expectConnectionLoss(error),
    );
    const packet = await cut;
    const there = await expectWhole(blog, acknowledged);
    return { packet, committed: there.has(id) };
  };

  const { packet } = await cutAt(0);
  // It is the packet meant: the flush goes out with the COMMIT.
  expect(typesIn(packet)).toContain('F');
  const outcome = { committed: 0, vanished: 0 };
  for (const bytes of points(packet.length)) {
    const { committed } = await cutAt(bytes);
    if (committed) outcome.committed += 1;
    else outcome.vanished += 1;
  }
  return outcome;
}

/** Type letters of the messages in a packet. */
function typesIn(packet: Buffer): string[] {
  const types: string[] = [];
  for (let at = 0; at + 5 <= packet.length; at += 1 + packet.readUInt32BE(at + 1)) {
    types.push(String.fromCharCode(packet[at]!));
  }
  return types;
}
