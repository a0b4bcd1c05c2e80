/** Connections of the role that owns schema tviews, for what no client's session can do. */
import pg from 'pg';

export interface OwnerConnection {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string | undefined;
}

/** Not connected yet. */
export function ownerClient(owner: OwnerConnection, applicationName: string): pg.Client {
  return new pg.Client(ownerSettings(owner, applicationName));
}

export function ownerSettings(owner: OwnerConnection, applicationName: string): pg.ClientConfig {
  const { host, port, database, user, password } = owner;
  return {
    host,
    port,
    database,
    user,
    ...(password === undefined ? {} : { password }),
    application_name: applicationName,
    keepAlive: true,
  };
}
