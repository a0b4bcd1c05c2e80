/** A database of its own for every test that asks: with an owner and an application, neither of them superuser. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { quoteIdentifier, quoteLiteral } from '../../src/database/identifier.ts';

export interface FreshDatabaseOptions {
  /** A superuser's URL of another server than the run's: one that a test may crash. */
  readonly server?: string;
  /** Name of a schema the owner creates and both roles find first; `public` by default. */
  readonly schema?: string;
  /** SQL the owner runs once everything is there. */
  readonly sql?: string;
}

/** A login of the database: the role's name, its password, its URL. */
export interface Login {
  readonly role: string;
  readonly password: string;
  readonly url: string;
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
}

export async function freshDatabase(options: FreshDatabaseOptions = {}): Promise<FreshDatabase> {
  const server = new URL(options.server ?? inject('serverUrl'));
  const suffix = randomBytes(5).toString('hex');
  const name = `test_${suffix}`;
  const schema = options.schema ?? 'public';
  const login = (role: string, password: string): Login => {
    const url = new URL(server);
    url.username = encodeURIComponent(role);
    url.password = encodeURIComponent(password);
    url.pathname = `/${name}`;
    return { role, password, url: url.href };
  };
  const owner = login(`owner_${suffix}`, 'owner');
  const app = login(`app_${suffix}`, 'app');
  const superuser = login(decodeURIComponent(server.username), decodeURIComponent(server.password));

  await withClient(server.href, async (admin) => {
    for (const { role, password } of [owner, app]) {
      await admin.query(`CREATE ROLE ${quoteIdentifier(role)} LOGIN PASSWORD ${quoteLiteral(password)}`);
    }
    // Owning it is what the installing role has on a managed server: enough for our schema, no superuser.
    await admin.query(`CREATE DATABASE ${quoteIdentifier(name)} OWNER ${quoteIdentifier(owner.role)}`);
  });
  await withClient(superuser.url, (admin) =>
    admin.query(`ALTER SCHEMA public OWNER TO ${quoteIdentifier(owner.role)}`),
  );
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
      await client.query(
        `ALTER DATABASE ${quoteIdentifier(name)} SET search_path = ${quoteIdentifier(schema)}, public`,
      );
    }
  });
  if (options.sql !== undefined) {
    const { sql } = options;
    await withClient(owner.url, (client) => client.query(sql));
  }

  const open = new Set<pg.Client>();
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
      await Promise.all([...open].map((client) => client.end()));
      await withClient(server.href, async (admin) => {
        // A transaction prepared and left would keep the database from being dropped.
        const { rows } = await admin.query<{ gid: string }>(
          'SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1',
          [name],
        );
        if (rows.length > 0) {
          await withClient(superuser.url, async (inside) => {
            for (const { gid } of rows) await inside.query(`ROLLBACK PREPARED ${quoteLiteral(gid)}`);
          });
        }
        await admin.query(`DROP DATABASE ${quoteIdentifier(name)} WITH (FORCE)`);
        for (const { role } of [owner, app]) await admin.query(`DROP ROLE ${quoteIdentifier(role)}`);
      });
    },
  };
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
