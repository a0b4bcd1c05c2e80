/** A database of its own for every test that asks: with an owner and an application, neither of them superuser. */
import pg from 'pg';
import { inject } from 'vitest';
import { quoteIdentifier } from '../../src/database/identifier.ts';
import { dropPlace, giveBack, type Login, takePlace, withClient } from './places.ts';

export type { Login };

export interface FreshDatabaseOptions {
  /** A superuser's URL of another server than the run's: one that a test may crash. */
  readonly server?: string;
  /** Name of a schema the owner creates and both roles find first; `public` by default. */
  readonly schema?: string;
  /** SQL the owner runs once everything is there. */
  readonly sql?: string;
}

export interface FreshDatabase {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** The schema the tests' tables go to. */
  readonly schema: string;
  /** Owns the database and the schema; installs tviews. Not a superuser. */
  readonly owner: Login;
  /** May read and write every table the owner creates, and nothing else. */
  readonly app: Login;
  /** The server's superuser, in this database: for what only an administrator can do. */
  readonly superuser: Login;
  /** The owner's URL. */
  readonly url: string;
  /** A connected client; the owner's unless said otherwise. All are closed by drop(). */
  client(login?: Login, config?: pg.ClientConfig): Promise<pg.Client>;
  drop(): Promise<void>;
  /** The same, and no other test gets what is left of it: for one that has filled the catalog with what is no more. */
  dropForGood(): Promise<void>;
}

export async function freshDatabase(options: FreshDatabaseOptions = {}): Promise<FreshDatabase> {
  const server = new URL(options.server ?? inject('serverUrl'));
  const schema = options.schema ?? 'public';
  const place = await takePlace(server);
  const { name, owner, app, superuser } = place;
  await withClient(owner.url, async (client) => {
    if (schema !== 'public') await client.query(`CREATE SCHEMA ${quoteIdentifier(schema)}`);
    await client.query(`
      GRANT USAGE ON SCHEMA ${quoteIdentifier(schema)} TO ${quoteIdentifier(app.role)};
      ALTER DEFAULT PRIVILEGES IN SCHEMA ${quoteIdentifier(schema)}
        GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO ${quoteIdentifier(app.role)};
      ALTER DEFAULT PRIVILEGES IN SCHEMA ${quoteIdentifier(schema)}
        GRANT USAGE, SELECT ON SEQUENCES TO ${quoteIdentifier(app.role)};
    `);
    if (schema !== 'public') {
      const path = `${quoteIdentifier(schema)}, public`;
      await client.query(
        `ALTER DATABASE ${quoteIdentifier(name)} SET search_path = ${path}; SET search_path = ${path}`,
      );
    }
    if (options.sql !== undefined) await client.query(options.sql);
  });

  const open = new Set<pg.Client>();
  const closeAll = async (): Promise<void> => {
    await Promise.all([...open].map((client) => client.end()));
  };
  return {
    name,
    host: server.hostname,
    port: Number(server.port || 5432),
    schema,
    owner,
    app,
    superuser,
    url: owner.url,
    client: async (as = owner, config = {}) => {
      const client = new pg.Client({ ...config, connectionString: as.url });
      // A server stopped or a connection killed on purpose reaches the query that waits; idle, there is nobody to tell.
      client.on('error', () => open.delete(client));
      await client.connect();
      open.add(client);
      client.once('end', () => open.delete(client));
      return client;
    },
    drop: async () => {
      await closeAll();
      await giveBack(server, place);
    },
    dropForGood: async () => {
      await closeAll();
      await dropPlace(server, place);
    },
  };
}
