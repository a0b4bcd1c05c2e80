/** Connections of the role that owns schema tviews, for what no client's session can do. */
import pg from 'pg';

export interface OwnerConnection {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string | undefined;
  /** A server that takes the connection and says nothing must not keep the proxy from listening, nor from trying again. */
  readonly connectTimeoutMs: number;
}

/** Not connected yet. */
export function ownerClient(owner: OwnerConnection, applicationName: string): pg.Client {
  return new pg.Client(ownerSettings(owner, applicationName));
}

/** For what may wait for locks, and shall keep nobody else waiting. A connection that is not needed for a minute is given back. */
export function ownerPool(owner: OwnerConnection, applicationName: string, max: number): pg.Pool {
  const pool = new pg.Pool({
    ...ownerSettings(owner, applicationName),
    max,
    idleTimeoutMillis: 60_000,
    allowExitOnIdle: true,
  });
  // A connection that is lost says so to the work on it, or at the next one; unheard, it would end the process.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

export function ownerSettings(owner: OwnerConnection, applicationName: string): pg.ClientConfig {
  const { host, port, database, user, password, connectTimeoutMs } = owner;
  return {
    host,
    port,
    database,
    user,
    ...(password === undefined ? {} : { password }),
    application_name: applicationName,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
  };
}
