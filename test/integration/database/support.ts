/** A small shop with tviews, for the tests of what happens inside the database. */
import type pg from 'pg';
import { type Applied, applyInTransaction } from '../../../src/database/apply.ts';
import type { LockProtocol } from '../../../src/database/locks.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import type { CreateTview } from '../../../src/definition/plan.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { type Divergence, divergence } from '../../kit/oracle.ts';

export const create = (
  name: string,
  query: string,
  more: Partial<Omit<CreateTview, 'kind' | 'name' | 'query'>> = {},
): CreateTview => ({ kind: 'create', schema: null, name, ifExists: 'error', key: null, query, ...more });

/** Applies as the owner, in a transaction of its own. */
export const apply = async (
  client: pg.Client,
  name: string,
  query: string,
  more?: Parameters<typeof create>[2],
): Promise<Applied> => await applyInTransaction(executorOf(client), create(name, query, more));

export const tables = `
  CREATE TABLE tb_category (pk_category int PRIMARY KEY, name text NOT NULL);
  CREATE TABLE tb_product (
    pk_product int PRIMARY KEY,
    fk_category int NOT NULL REFERENCES tb_category,
    name text NOT NULL,
    price numeric NOT NULL DEFAULT 1,
    internal_note text
  );
  CREATE INDEX ON tb_product (fk_category);
  CREATE TABLE tb_review (
    pk_review int PRIMARY KEY,
    fk_product int REFERENCES tb_product ON DELETE CASCADE,
    rating int NOT NULL
  );
  CREATE INDEX ON tb_review (fk_product);
  INSERT INTO tb_category SELECT i, 'category ' || i FROM generate_series(1, 4) AS i;
  INSERT INTO tb_product SELECT i, 1 + i % 4, 'product ' || i FROM generate_series(1, 20) AS i;
  INSERT INTO tb_review SELECT i, 1 + i % 20, 1 + i % 5 FROM generate_series(1, 60) AS i;
`;

export const productDefinition = `
  SELECT p.pk_product, p.fk_category, jsonb_build_object(
    'name', p.name,
    'price', p.price,
    'category', jsonb_build_object('name', c.name),
    'ratings', (SELECT jsonb_agg(r.rating ORDER BY r.pk_review) FROM tb_review r WHERE r.fk_product = p.pk_product)
  ) AS data
  FROM tb_product p JOIN tb_category c ON c.pk_category = p.fk_category`;

/** The other way to say what a product is. */
export const shortDefinition = `
  SELECT p.pk_product, jsonb_build_object('name', upper(p.name), 'category', c.name) AS data
  FROM tb_product p JOIN tb_category c ON c.pk_category = p.fk_category`;

/** Reads the tview above: a tview over a tview. */
export const categoryDefinition = `
  SELECT c.pk_category, jsonb_build_object(
    'name', c.name,
    'products', (SELECT jsonb_agg(p.data ORDER BY p.pk_product) FROM tv_product p WHERE p.fk_category = c.pk_category)
  ) AS data
  FROM tb_category c`;

export const shopTviews = ['shop.tv_product', 'shop.tv_category'] as const;

export async function shop(): Promise<FreshDatabase> {
  const database = await freshDatabase({ schema: 'shop', sql: tables });
  const owner = await database.client();
  await init(executorOf(owner));
  await apply(owner, 'tv_product', productDefinition);
  await apply(owner, 'tv_category', categoryDefinition);
  return database;
}

/** How far the shop's tviews are from their definitions, and what the queue still holds: all zero when nothing is owed. */
export async function owed(database: FreshDatabase): Promise<Divergence & { queued: number }> {
  const client = await database.client();
  try {
    const sum = { missing: 0, surplus: 0, different: 0 };
    for (const tview of shopTviews) {
      const found = await divergence(client, tview);
      sum.missing += found.missing;
      sum.surplus += found.surplus;
      sum.different += found.different;
    }
    // Prepared and running transactions' rows cannot be seen; rows that stayed behind a finished one can.
    const { rows } = await client.query<{ queued: number }>(
      'SELECT count(*)::int AS queued FROM tviews.queue',
    );
    return { ...sum, queued: rows[0]!.queued };
  } finally {
    await client.end();
  }
}

/** Waits until the client's backend waits for a lock. */
export async function untilWaiting(client: pg.Client, watcher: pg.Client): Promise<void> {
  const pid = (client as pg.Client & { processID: number }).processID;
  for (let i = 0; i < 500; i++) {
    const { rows } = await watcher.query('SELECT FROM pg_locks WHERE pid = $1 AND NOT granted', [pid]);
    if (rows.length > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`backend ${pid} did not come to wait for a lock`);
}

/** What an administrator does who wants the other kind of locks. */
export async function useLocks(owner: pg.Client, protocol: LockProtocol): Promise<void> {
  await owner.query(`UPDATE tviews.setting SET value = $1 WHERE name = 'lock_protocol'`, [protocol]);
  await init(executorOf(owner));
}

export const nothing = { missing: 0, surplus: 0, different: 0, queued: 0 };

/** The document of one product, as tv_product has it. */
export async function product(client: pg.Client, key: number): Promise<Record<string, unknown> | undefined> {
  const { rows } = await client.query<{ data: Record<string, unknown> }>(
    'SELECT data FROM shop.tv_product WHERE pk_product = $1',
    [key],
  );
  return rows[0]?.data;
}

export interface Notice {
  readonly code: string;
  readonly message: string;
}

/** A client that keeps every notice, as the proxy reads them. */
export function noticesOf(client: pg.Client): Notice[] {
  const notices: Notice[] = [];
  client.on('notice', (notice) => notices.push({ code: notice.code ?? '', message: notice.message ?? '' }));
  return notices;
}
