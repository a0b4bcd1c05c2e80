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
