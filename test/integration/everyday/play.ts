/**
 * Plays an example: applies its tviews, runs its transactions, and after each compares every tview with its definition. A script
 * whose writes do not reach a tview proves nothing about it, so it is watched, too, what each transaction wrote and changed.
 */
import type pg from 'pg';
import { expect } from 'vitest';
import { applyInTransaction } from '../../../src/database/apply.ts';
import { quoteIdentifier, quoteLiteral } from '../../../src/database/identifier.ts';
import { listTviews } from '../../../src/database/list.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { RefusedDefinition } from '../../../src/errors/errors.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { comparison, type Divergence, inStep, pinSettings } from '../../kit/oracle.ts';
import type { Definition, Example } from './example.ts';

const schema = 'app';

/** What the transactions of an example did to one tview. */
interface Seen {
  appeared: number;
  changed: number;
  vanished: number;
  /** Of the tables it is computed from, those that some transaction wrote as the only one of them, and the tview changed. */
  readonly alone: Set<string>;
}

/** Plays the application's part through this connection, while the owner looks on. */
export async function play(
  example: Example,
  connect: (database: FreshDatabase) => Promise<pg.Client>,
): Promise<void> {
  const database = await freshDatabase({ schema });
  try {
    const owner = await database.client();
    await owner.query(`SET search_path = ${schema}`);
    await owner.query(example.setup);
    await init(executorOf(owner));
    for (const definition of example.definitions) await applyDefinition(owner, definition);
    const watcher = await watch(owner);
    const client = await connect(database);
    for (const transaction of example.transactions) {
      for (const statement of transaction) await run(client, statement);
      await watcher.look(transaction.join(';\n'));
    }
    const lacking = example.definitions.flatMap((definition) =>
      definition.refused === null ? watcher.lackOf(definition) : [],
    );
    expect(lacking).toEqual([]);
  } finally {
    await database.drop();
  }
}

async function run(client: pg.Client, statement: string): Promise<void> {
  try {
    await client.query(statement);
  } catch (error) {
    throw new Error(`${statement}\n${(error as Error).message}`, { cause: error });
  }
}

async function applyDefinition(owner: pg.Client, { statement, refused }: Definition): Promise<void> {
  const applied = applyInTransaction(executorOf(owner), statement);
  if (refused === null) {
    const { advice } = await applied.catch((error: RefusedDefinition) => {
      throw new Error(`${statement.name}: ${error.message}; ${error.detail} ${error.hint}`, { cause: error });
    });
    // Whatever order a plan finds rows in, they must give the same document, or the comparison would say nothing.
    expect(
      advice.filter(({ kind }) => kind !== 'missing-index'),
      statement.name,
    ).toEqual([]);
    return;
  }
  const error = await applied.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, `${statement.name} is refused`).toBeInstanceOf(RefusedDefinition);
  const { code, message, hint } = error as RefusedDefinition;
  expect(code).toBe('0A000');
  expect(message).toContain(refused.message);
  expect(hint).toContain(refused.wayOut);
}

/** By tview, by key: the row's image. */
type Images = ReadonlyMap<string, ReadonlyMap<string, string>>;

interface Watcher {
  /** After a transaction: every tview equals its definition, and what has changed is remembered. */
  look(transaction: string): Promise<void>;
  /** What the transactions have not done to a tview, a line each. */
  lackOf(definition: Definition): string[];
}

async function watch(owner: pg.Client): Promise<Watcher> {
  const tables = await tablesOf(owner);
  await recordWrites(owner, [...new Set([...tables.values()].flat())]);
  await pinSettings(owner, 'SESSION');
  const compare: string[] = [];
  const rows: string[] = [];
  for (const name of tables.keys()) {
    const key = await keyOf(owner, name);
    compare.push(
      `${quoteLiteral(name)}, (SELECT to_jsonb(c) FROM (${await comparison(owner, `${schema}.${name}`)}) AS c)`,
    );
    rows.push(
      `SELECT ${quoteLiteral(name)} AS tview, ROW(${key.join(', ')})::text AS key, t::text AS image FROM ${schema}.${name} AS t`,
    );
  }
  const imagesNow = async (): Promise<Images> => {
    const result = await owner.query<{ tview: string; key: string; image: string }>(rows.join(' UNION ALL '));
    const images = new Map([...tables.keys()].map((name) => [name, new Map<string, string>()]));
    for (const { tview, key, image } of result.rows) images.get(tview)!.set(key, image);
    return images;
  };

  const seen = new Map<string, Seen>(
    [...tables.keys()].map((name) => [name, { appeared: 0, changed: 0, vanished: 0, alone: new Set() }]),
  );
  let before = await imagesNow();
  return {
    async look(transaction) {
      const { rows: found } = await owner.query<{
        divergence: Record<string, Divergence>;
        queued: number;
        written: string[];
      }>(`SELECT jsonb_build_object(${compare.join(', ')}) AS divergence,
                 (SELECT count(*)::int FROM tviews.queue) AS queued,
                 ARRAY(SELECT DISTINCT relation::text FROM seen.written) AS written`);
      const { divergence, queued, written } = found[0]!;
      const allInStep = Object.fromEntries([...tables.keys()].map((name) => [name, inStep]));
      expect({ divergence, queued }, transaction).toEqual({ divergence: allInStep, queued: 0 });
      await owner.query('DELETE FROM seen.written');
      const after = await imagesNow();
      for (const [name, sum] of seen) {
        if (!count(sum, before.get(name)!, after.get(name)!)) continue;
        const itsOwn = written.filter((table) => tables.get(name)!.includes(table));
        if (itsOwn.length === 1) sum.alone.add(itsOwn[0]!);
      }
      before = after;
    },
    lackOf({ statement: { name }, isAlwaysThere }) {
      const { appeared, changed, vanished, alone } = seen.get(name)!;
      const events = isAlwaysThere ? { changed } : { appeared, changed, vanished };
      return [
        ...Object.entries(events).flatMap(([event, times]) =>
          times === 0 ? [`no row of ${name} has ${event}`] : [],
        ),
        ...tables
          .get(name)!
          .flatMap((table) => (alone.has(table) ? [] : [`no write of ${table} alone has changed ${name}`])),
      ];
    },
  };
}

/** Whether anything has changed. */
function count(sum: Seen, before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): boolean {
  const appeared = [...after.keys()].filter((key) => !before.has(key)).length;
  const vanished = [...before.keys()].filter((key) => !after.has(key)).length;
  const changed = [...after].filter(([key, image]) => before.has(key) && before.get(key) !== image).length;
  sum.appeared += appeared;
  sum.changed += changed;
  sum.vanished += vanished;
  return appeared + vanished + changed > 0;
}

/** Of each tview the tables it is computed from, also through other tviews. */
async function tablesOf(owner: pg.Client): Promise<Map<string, string[]>> {
  const listed = await listTviews(executorOf(owner));
  const below = (name: string): string[] =>
    listed
      .find((tview) => tview.name === name)!
      .sources.flatMap((source) => (source.kind === 'tview' ? below(source.name) : [source.name]));
  return new Map(listed.map(({ name }) => [name, [...new Set(below(name))]]));
}

/** Notes the name of every table of which a row is written, whoever writes it and however. */
async function recordWrites(owner: pg.Client, tables: readonly string[]): Promise<void> {
  await owner.query(`
    CREATE SCHEMA seen;
    CREATE TABLE seen.written (relation name);
    CREATE FUNCTION seen.note() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO seen.written VALUES (TG_ARGV[0]);
      RETURN NULL;
    END $$`);
  for (const table of tables) {
    const on = `ON ${schema}.${quoteIdentifier(table)}`;
    await owner.query(`
      CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ${on} FOR EACH ROW EXECUTE FUNCTION seen.note(${quoteLiteral(table)});
      CREATE TRIGGER seen_whole AFTER TRUNCATE ${on} FOR EACH STATEMENT EXECUTE FUNCTION seen.note(${quoteLiteral(table)})`);
  }
}

async function keyOf(owner: pg.Client, name: string): Promise<string[]> {
  const { rows } = await owner.query<{ key: string }>(
    `SELECT format('t.%I', a.attname) AS key
     FROM pg_index AS i
     JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
     WHERE i.indrelid = $1::regclass AND i.indisprimary
     ORDER BY a.attnum`,
    [`${schema}.${quoteIdentifier(name)}`],
  );
  return rows.map(({ key }) => key);
}
