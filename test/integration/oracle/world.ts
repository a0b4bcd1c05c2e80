/** A database with a schema, its definitions, a proxy in front of it and sessions: where transactions are tried. */
import pg from 'pg';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence } from '../../kit/oracle.ts';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';
import { apply } from '../database/support.ts';
import type { Definitions } from './definition.ts';
import { type Conditions, impose } from './flaw.ts';
import { ddl, type Schema } from './schema.ts';
import { Session } from './session.ts';
import { comparison } from './transaction.ts';

export interface Design {
  readonly schema: Schema;
  readonly definitions: Definitions;
  readonly conditions: Conditions;
}

/** Every table's rows, as JSON text of an array, in the order of the schema's tables. */
export type Data = Readonly<Record<string, string>>;

/** What is wrong at a checkpoint; empty when nothing is. */
export interface Findings {
  /** Rows of tviews that are not as their definition has them. */
  readonly divergent: number;
  readonly tviews: readonly string[];
  readonly problems: readonly string[];
}

const schemaName = 'oracle';

/** Rows that wait for a lock or for a deadlock to be found hold up everybody in a small hot set. */
const databaseSettings = { deadlock_timeout: '20ms', lock_timeout: '3s' };

export class World {
  readonly design: Design;
  readonly sessions: readonly Session[];
  readonly #database: FreshDatabase;
  readonly #owner: pg.Client;
  readonly #proxy: TestProxy;

  private constructor(
    design: Design,
    parts: {
      database: FreshDatabase;
      owner: pg.Client;
      proxy: TestProxy;
      sessions: Session[];
    },
  ) {
    this.design = design;
    this.sessions = parts.sessions;
    this.#database = parts.database;
    this.#owner = parts.owner;
    this.#proxy = parts.proxy;
  }

  /** Throws a definition's refusal. */
  static async open(design: Design, sessionCount: number): Promise<World> {
    const { schema, definitions } = design;
    const database = await freshDatabase({ schema: schemaName, sql: ddl(schema) });
    try {
      const administrator = await database.client(database.superuser);
      for (const [name, value] of Object.entries(databaseSettings)) {
        await administrator.query(
          `ALTER DATABASE ${pg.escapeIdentifier(database.name)} SET ${name} = '${value}'`,
        );
      }
      const owner = await database.client();
      await init(executorOf(owner));
      for (const { name, query } of definitions.views) await owner.query(`CREATE VIEW ${name} AS ${query}`);
      for (const { name, query, key, fullRefresh } of definitions.tviews) {
        await apply(owner, name, query, { key, ...(fullRefresh === true && { fullRefresh: '*' }) });
      }
      await impose(
        owner,
        schema.tables.map(({ name }) => name),
        design.conditions,
      );
      // A server for every session, so that nobody who holds a lock waits for one who waits for the lock.
      const proxy = await testProxy(database, { poolSize: sessionCount + 1 });
      const proxyUrl = proxy.url(database.app);
      const sessions = await Promise.all(
        Array.from({ length: sessionCount }, () => Session.open({ database, proxyUrl })),
      );
      return new World(design, { database, owner, proxy, sessions });
    } catch (error) {
      await database.drop();
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.sessions.map((session) => session.close()));
    await this.#proxy.close();
    await this.#database.drop();
  }

  /** Puts these statements' rows in, as one transaction of the owner's. */
  async prepare(statements: readonly string[]): Promise<void> {
    await this.#owner.query(['BEGIN', ...statements, 'COMMIT'].join('; '));
    // The server's own vacuum is off for the length of the tests, and these few rows have thousands of dead versions.
    await this.#owner.query(
      `VACUUM ${this.#tables().join(', ')}, ${this.#tviews().join(', ')}, tviews.queue, tviews.repair`,
    );
  }

  #tables(): string[] {
    return this.design.schema.tables.map(({ name }) => name);
  }

  #tviews(): string[] {
    return this.design.definitions.tviews.map(({ name }) => name);
  }

  /** Empties every table and puts the data back. */
  async restore(data: Data): Promise<void> {
    await this.prepare([`TRUNCATE ${this.#tables().join(', ')}`, ...insertions(this.design.schema, data)]);
  }

  /** What is there and what is wrong with it, in one query. Nobody may be in a transaction. */
  async look(): Promise<{ findings: Findings; data: Data }> {
    await this.#workOffRepairs();
    for (let attempt = 1; ; attempt++) {
      const { rows } = await this.#owner.query<{
        wrong: Record<string, number>;
        left: Record<string, number>;
        data: Data;
      }>(this.#lookQuery());
      const { wrong, left, data } = rows[0]!;
      const findings = findingsOf(wrong, left);
      // The proxy looks for repairs by itself, and may just be giving back the locks of one.
      if (findings.problems.length === 0 || attempt === 5) return { findings, data };
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** What transactions that kept their snapshot past the proxy have left to be looked at again. */
  async #workOffRepairs(): Promise<void> {
    for (let left = 1; left > 0; ) {
      const { rows } = await this.#owner.query<{ left: string }>('SELECT tviews.repair() AS left');
      left = Number(rows[0]!.left);
    }
  }

  #lookQuery(): string {
    const object = (fields: readonly string[]): string => `jsonb_build_object(${fields.join(', ')})`;
    const wrong = this.#tviews().map((tview) => `'${tview}', (${comparison(tview)})`);
    const left = Object.entries(leftovers).map(([what, query]) => `'${what}', (${query})`);
    const data = this.#tables().map(
      (table) => `'${table}', (SELECT COALESCE(jsonb_agg(to_jsonb(t)), '[]')::text FROM ${table} AS t)`,
    );
    return `SELECT ${object(wrong)} AS wrong, ${object(left)} AS left, ${object(data)} AS data`;
  }

  /** The same with the tests' own oracle, which compares byte for byte. */
  async check(): Promise<Findings> {
    const { findings } = await this.look();
    const wrong: Record<string, number> = {};
    for (const tview of this.#tviews()) {
      const { missing, surplus, different } = await divergence(this.#owner, `${schemaName}.${tview}`);
      wrong[tview] = missing + surplus + different;
    }
    const { divergent, tviews } = findingsOf(wrong, {});
    return { divergent, tviews, problems: findings.problems };
  }
}

/** What a transaction must not leave behind. */
const leftovers = {
  'changes in the queue': 'SELECT count(*) FROM tviews.queue',
  repairs: 'SELECT count(*) FROM tviews.repair',
  'prepared transactions': 'SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()',
  'advisory locks': `SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND d.datname = current_database()`,
};

function findingsOf(
  wrong: Readonly<Record<string, number>>,
  left: Readonly<Record<string, number>>,
): Findings {
  return {
    divergent: Object.values(wrong).reduce((sum, rows) => sum + rows, 0),
    tviews: Object.keys(wrong).filter((tview) => wrong[tview]! > 0),
    problems: Object.entries(left)
      .filter(([, count]) => count > 0)
      .map(([what, count]) => `${count} ${what} left`),
  };
}

/** Puts data into empty tables. */
export const insertions = (schema: Schema, data: Data): string[] =>
  schema.tables
    .filter(({ name }) => data[name] !== '[]')
    .map(
      ({ name }) =>
        `INSERT INTO ${name} SELECT * FROM jsonb_populate_recordset(NULL::${name}, ${pg.escapeLiteral(data[name]!)})`,
    );
