/** One database for all the shapes of a file: its connections are used again, its rows put back between interleavings. */
import type pg from 'pg';
import { dropTview } from '../../../src/database/drop.ts';
import { quoteIdentifier, quoteLiteral } from '../../../src/database/identifier.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { inTransaction } from '../../../src/database/session.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { comparison, type Divergence, pinSettings } from '../../kit/oracle.ts';
import { apply } from '../database/support.ts';
import { type Locking, lockWith, nameOf } from './locking.ts';
import type { Session, Shape } from './shape.ts';

const schema = 'iso';

/**
 * What is created and dropped thousands of times fills the catalog, as the run's autovacuum is off; and a session keeps the plans of
 * functions that are no more, and goes through all of them whenever anything is changed. After a few hundred, a step takes 0.2 s.
 */
const resetsUntilSlow = 25;
const filledCatalogs =
  'pg_attribute pg_class pg_depend pg_index pg_proc pg_rewrite pg_shdepend pg_statistic pg_trigger pg_type'
    .split(' ')
    .map((name) => `pg_catalog.${name}`);

export interface Connection {
  readonly client: pg.Client;
  readonly pid: number;
  /** Changes of a claimed transaction that nobody has flushed yet, as JSON. */
  readonly heard: string[];
}

/** What is wrong once everybody is done. Empty: nothing. */
export type Verdict = readonly string[];

export interface Arena {
  /** The connection of the session in this place, or the other one that it uses beside that. */
  connection(place: number, role: Session['role'], use?: 'own' | 'other'): Promise<Connection>;
  /** Which of these backends wait for a lock that one of our sessions holds, or a prepared transaction. */
  waiting(pids: readonly number[]): Promise<ReadonlySet<number>>;
  /** SQL that claims a transaction. */
  readonly claim: string;
  begin(shape: Shape): Promise<void>;
  /** Also where begin() has failed. */
  end(): Promise<void>;
  lockWith(locking: Locking): Promise<void>;
  /** Rows as they were in the beginning. */
  reset(shape: Shape): Promise<void>;
  judge(shape: Shape): Promise<Verdict>;
  close(): Promise<void>;
}

export async function openArena(): Promise<Arena> {
  const database = await freshDatabase({ schema });
  let owner = await database.client();
  await init(executorOf(owner));
  const control = await openControl(database);
  const { rows: secrets } = await control.query<{ claim: string }>(
    `SELECT format('SELECT tviews.claim(%L, 2)', value) AS claim FROM tviews.secret`,
  );
  const connections = new Map<string, Promise<Connection>>();
  const open = async (role: Session['role']): Promise<Connection> => {
    const client = await database.client(database[role]);
    const heard: string[] = [];
    client.on('notice', ({ code, message }) => {
      if (code === 'TV001') heard.push(message ?? '');
    });
    return { client, pid: pidOf(client), heard };
  };
  let resets = 0;
  let judgement = '';
  let locking = '';

  const freshen = async (): Promise<void> => {
    const old = [owner, ...(await Promise.all(connections.values())).map(({ client }) => client)];
    connections.clear();
    await Promise.all(old.map((client) => client.end()));
    owner = await database.client();
    await control.query(`VACUUM ${filledCatalogs.join(', ')}`);
  };

  const prepareJudgement = async (): Promise<void> => {
    judgement = await judgementQuery(control);
  };

  return {
    claim: secrets[0]!.claim,
    connection(place, role, use = 'own') {
      const name = `${role} ${place} ${use}`;
      const connection = connections.get(name) ?? open(role);
      connections.set(name, connection);
      return connection;
    },
    async waiting(pids) {
      const ours = [...(await Promise.all(connections.values())).map(({ pid }) => pid), 0];
      const { rows } = await control.query<{ pid: number }>({
        name: 'waiting',
        text: 'SELECT p.pid FROM unnest($1::int[]) AS p (pid) WHERE pg_blocking_pids(p.pid) && $2::int[]',
        values: [pids, ours],
      });
      return new Set(rows.map(({ pid }) => pid));
    },
    async begin(shape) {
      await owner.query(shape.tables);
      for (const [name, definition] of Object.entries(shape.tviews)) {
        await apply(owner, name, definition, shape.options?.[name]);
      }
      await control.query(shape.damage ?? '');
      await keepRows(control);
      await prepareJudgement();
      locking = '';
    },
    async end() {
      await control.query(
        'DROP SCHEMA IF EXISTS kept CASCADE; DELETE FROM tviews.queue; DELETE FROM tviews.repair',
      );
      const executor = executorOf(owner);
      const { rows: tviews } = await control.query<{ name: string }>(
        'SELECT name FROM tviews.tview ORDER BY id DESC',
      );
      for (const { name } of tviews) {
        await inTransaction(executor, () =>
          dropTview(executor, { kind: 'drop', schema: null, name, ifExists: false }),
        );
      }
      const tables = (await tablesOf(control)).map((name) => `${schema}.${quoteIdentifier(name)}`);
      if (tables.length > 0) await owner.query(`DROP TABLE ${tables.join(', ')} CASCADE`);
    },
    async lockWith(wanted) {
      if (locking === nameOf(wanted)) return;
      await lockWith(owner, wanted);
      locking = nameOf(wanted);
    },
    async reset(shape) {
      if (shape.restore !== undefined) {
        await shape.restore(owner);
        resets += 1;
        if (resets % resetsUntilSlow === 0) await freshen();
      }
      await control.query({ name: 'reset', text: 'SELECT kept.put_back()' });
    },
    async judge(shape) {
      if (shape.restore !== undefined) await prepareJudgement();
      const { rows } = await control.query<{ found: Judgement }>(judgement);
      const verdict = verdictOf(rows[0]!.found);
      if (rows[0]!.found.prepared.length > 0) {
        for (const gid of rows[0]!.found.prepared)
          await control.query(`ROLLBACK PREPARED ${quoteLiteral(gid)}`);
      }
      return verdict;
    },
    close: () => database.drop(),
  };
}

/** The superuser's: it sees everything, and puts rows back without a trigger that notices. */
async function openControl(database: FreshDatabase): Promise<pg.Client> {
  const control = await database.client(database.superuser);
  await pinSettings(control, 'SESSION');
  await control.query('SET session_replication_role = replica');
  // Some shapes deadlock; each time somebody would wait for a second before he looks.
  await control.query(`ALTER DATABASE ${quoteIdentifier(database.name)} SET deadlock_timeout = '20ms'`);
  return control;
}

const pidOf = (client: pg.Client): number => (client as pg.Client & { processID: number }).processID;

async function tablesOf(control: pg.Client): Promise<string[]> {
  const { rows } = await control.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r' ORDER BY oid`,
    [schema],
  );
  return rows.map(({ name }) => name);
}

/** A function that puts all rows back, tviews' as well: its plans are kept, so it costs less than the shortest flush. */
async function keepRows(control: pg.Client): Promise<void> {
  const names = (await tablesOf(control)).map(quoteIdentifier);
  await control.query(`
    CREATE SCHEMA kept;
    ${names.map((name) => `CREATE TABLE kept.${name} AS TABLE ${schema}.${name};`).join('\n')}
    CREATE FUNCTION kept.put_back() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      ${names
        .map((name) => `DELETE FROM ${schema}.${name}; INSERT INTO ${schema}.${name} TABLE kept.${name};`)
        .join('\n      ')}
    END $$`);
}

interface Judgement {
  readonly queued: number;
  readonly locks: number;
  readonly repairs: number;
  readonly prepared: readonly string[];
  readonly tviews: Readonly<Record<string, Divergence>>;
}

/** Everything in one query: it is asked after every interleaving. */
async function judgementQuery(control: pg.Client): Promise<string> {
  const { rows } = await control.query<{ name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name
     FROM tviews.tview AS t JOIN pg_class AS c ON c.oid = t.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
     ORDER BY t.id`,
  );
  const tviews: string[] = [];
  for (const { name } of rows) {
    tviews.push(
      `${quoteLiteral(name)}, (SELECT to_jsonb(compared) FROM (${await comparison(control, name)}) AS compared)`,
    );
  }
  return `SELECT jsonb_build_object(
    'queued', (SELECT count(*) FROM tviews.queue),
    'locks', (
      SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
      WHERE l.locktype = 'advisory' AND d.datname = current_database()
    ),
    'repairs', (SELECT count(*) FROM tviews.repair),
    'prepared', (
      SELECT COALESCE(jsonb_agg(p.gid), '[]') FROM pg_prepared_xacts AS p WHERE p.database = current_database()
    ),
    'tviews', jsonb_build_object(${tviews.join(', ')})
  ) AS found`;
}

function verdictOf({ queued, locks, repairs, prepared, tviews }: Judgement): Verdict {
  const verdict: string[] = [];
  for (const [name, { missing, surplus, different }] of Object.entries(tviews)) {
    if (missing + surplus + different > 0) {
      verdict.push(`${name} is stale: ${missing} missing, ${surplus} surplus, ${different} different`);
    }
  }
  if (queued > 0) verdict.push(`${queued} rows are left in tviews.queue`);
  if (repairs > 0) verdict.push(`${repairs} rows are left in tviews.repair`);
  if (locks > 0) verdict.push(`${locks} advisory locks are left`);
  if (prepared.length > 0) verdict.push(`transactions are left prepared: ${prepared.join(', ')}`);
  return verdict;
}
