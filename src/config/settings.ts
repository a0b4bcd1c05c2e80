/**
 * Every setting, once: name, section, type, default, whether RELOAD may change it, and what it means. The reader, the
 * environment's names, docs/settings.md and config/tviews.ini all come from this table.
 *
 * The names of section [pgbouncer] have PgBouncer's meanings and defaults; where ours differs, the text says so.
 */
import type { z } from 'zod';
import {
  bytes,
  type Codec,
  duration,
  flag,
  integer,
  list,
  oneOf,
  optionalText,
  orUnset,
  text,
} from './codec.ts';

export interface Setting<Value> {
  readonly codec: Codec<Value>;
  readonly default: Value;
  /** Whether a changed value takes effect without a restart. */
  readonly reloadable: boolean;
  readonly doc: string;
}

function setting<Value>(codec: Codec<Value>, fields: Omit<Setting<NoInfer<Value>>, 'codec'>): Setting<Value> {
  return { codec, ...fields };
}

export const poolModes = ['session', 'transaction', 'statement'] as const;
export type PoolMode = (typeof poolModes)[number];

const port = (): Codec<number> => integer(0, 65535);

/** Section [pgbouncer]. */
export const pgbouncerSettings = {
  listen_addr: setting(list(), {
    default: ['127.0.0.1'],
    reloadable: false,
    doc: 'Addresses to listen on; `*` means all. (PgBouncer listens on a Unix socket only where this is not set; we have no Unix socket yet.)',
  }),
  listen_port: setting(port(), {
    default: 6432,
    reloadable: false,
    doc: 'Port to listen on. 0: any free port.',
  }),
  auth_type: setting(
    oneOf(['any', 'trust', 'plain', 'md5', 'scram-sha-256'], ['cert', 'hba', 'pam', 'ldap']),
    {
      default: 'md5',
      reloadable: true,
      doc: 'How clients prove who they are. `md5` uses SCRAM for users whose secret is a SCRAM one. Started by `DATABASE_URL` alone, the default is `scram-sha-256`.',
    },
  ),
  auth_file: setting(optionalText('file'), {
    default: null,
    reloadable: true,
    doc: 'File of users and their passwords, md5 hashes or SCRAM secrets: `"name" "secret"` lines, as PgBouncer’s userlist.txt.',
  }),
  pool_mode: setting(oneOf(poolModes), {
    default: 'session',
    reloadable: true,
    doc: 'When a server connection goes back to its pool: at the client’s end, after each transaction, or after each statement.',
  }),
  default_pool_size: setting(integer(0, 1_000_000), {
    default: 20,
    reloadable: true,
    doc: 'Most server connections per database and user. 0: no limit.',
  }),
  max_client_conn: setting(integer(0, 1_000_000), {
    default: 100,
    reloadable: true,
    doc: 'Most client connections.',
  }),
  max_prepared_statements: setting(integer(0, 1_000_000), {
    default: 200,
    reloadable: true,
    doc: 'Most prepared statements kept on one server connection in transaction and statement mode. 0: named prepared statements are not followed.',
  }),
  query_wait_timeout: setting(duration('seconds'), {
    default: 120,
    reloadable: true,
    doc: 'How long a client waits for a server connection before it is disconnected. 0: for ever.',
  }),
  server_reset_query: setting(text(), {
    default: 'DISCARD ALL',
    reloadable: true,
    doc: 'Sent to a server connection before another client gets it, in session mode. Empty: nothing.',
  }),
  server_reset_query_always: setting(flag('number'), {
    default: false,
    reloadable: true,
    doc: 'Send `server_reset_query` in the other pool modes too.',
  }),
  server_connect_timeout: setting(duration('seconds'), {
    default: 15,
    reloadable: true,
    doc: 'How long connecting and logging in to a server may take.',
  }),
  server_login_retry: setting(duration('seconds'), {
    default: 15,
    reloadable: true,
    doc: 'How long to wait after a failed login before trying again; meanwhile clients get the server’s error.',
  }),
  server_lifetime: setting(duration('seconds'), {
    default: 3600,
    reloadable: true,
    doc: 'A server connection older than this is closed once it is idle. 0: it is used once.',
  }),
  server_idle_timeout: setting(duration('seconds'), {
    default: 600,
    reloadable: true,
    doc: 'A server connection idle for longer than this is closed. 0: never.',
  }),
  client_login_timeout: setting(duration('seconds'), {
    default: 60,
    reloadable: true,
    doc: 'How long a client may take to log in. 0: for ever.',
  }),
  ignore_startup_parameters: setting(list(), {
    default: [],
    reloadable: true,
    doc: 'Startup parameters to accept and drop, beyond those that are tracked; any other parameter is an error.',
  }),
  logfile: setting(optionalText('file'), {
    default: null,
    reloadable: true,
    doc: 'File to log to, besides standard error (which `-q` or `-d` turns off).',
  }),
  pidfile: setting(optionalText('file'), {
    default: null,
    reloadable: false,
    doc: 'File for the process’s id. Needed with `-d`.',
  }),
  verbose: setting(integer(0, 3), {
    default: 0,
    reloadable: true,
    doc: 'Log more: 1 as `log_level = debug`, 2 and more as `trace`. The same as `-v`, so many times.',
  }),
} as const satisfies Readonly<Record<string, Setting<unknown>>>;

/** Section [tviews]. */
export const tviewsSettings = {
  refresh: setting(flag('word'), {
    default: true,
    reloadable: true,
    doc: 'Keep the refresh state of transactions in the proxy and flush before COMMIT. Off: the database does it by itself at COMMIT, and a transaction does not see its own changes in a tview before.',
  }),
  owner_user: setting(optionalText(), {
    default: null,
    reloadable: false,
    doc: 'The role that ran `tviews init`; the proxy reads the registry of tviews as this user. Default: the user the database’s line names, or the one of `DATABASE_URL`. Without an owner the database does all refreshes by itself.',
  }),
  owner_password: setting(optionalText(), {
    default: null,
    reloadable: false,
    doc: 'Password of `owner_user`. Default: the one in `auth_file`.',
  }),
  pending_bytes: setting(bytes(65536), {
    default: 4_194_304,
    reloadable: true,
    doc: 'Most bytes of changes one session holds; with more, it flushes before COMMIT.',
  }),
  slow_flush: setting(duration('milliseconds'), {
    default: 1000,
    reloadable: true,
    doc: 'A flush that takes longer is logged at level warn. 0: none is.',
  }),
  verify_interval: setting(duration('milliseconds'), {
    default: 10_000,
    reloadable: true,
    doc: 'How often the proxy compares some rows of a tview with its definition, one tview after the other; it rests at least 20 times as long as that took. What differs is logged and counted, not repaired. 0: never.',
  }),
  verify_rows: setting(integer(1, 1_000_000), {
    default: 1000,
    reloadable: true,
    doc: 'Rows compared at a time by `verify_interval`.',
  }),
  metrics_addr: setting(text(), {
    default: '127.0.0.1',
    reloadable: false,
    doc: 'Address of the HTTP port with /metrics, /healthz, /readyz and the status page.',
  }),
  metrics_port: setting(port(), { default: 9127, reloadable: false, doc: 'The HTTP port. 0: none.' }),
  log_level: setting(oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal']), {
    default: 'info',
    reloadable: true,
    doc: 'The least that is logged.',
  }),
  log_format: setting(oneOf(['auto', 'json', 'pretty']), {
    default: 'auto',
    reloadable: false,
    doc: 'One JSON object per line, or lines for people. `auto`: for people on a terminal.',
  }),
} as const satisfies Readonly<Record<string, Setting<unknown>>>;

/** Keys of a line of section [databases]. */
export const databaseKeys = {
  host: setting(text(), {
    default: '127.0.0.1',
    reloadable: true,
    doc: 'Server’s name or address. (PgBouncer uses a Unix socket where none is given.)',
  }),
  port: setting(integer(1, 65535), { default: 5432, reloadable: true, doc: 'Server’s port.' }),
  dbname: setting(optionalText(), {
    default: null,
    reloadable: true,
    doc: 'Name of the database on the server. Default: the name on the left; for `*`, the one the client asks for.',
  }),
  user: setting(optionalText(), {
    default: null,
    reloadable: true,
    doc: 'Log in to the server as this user, whoever the client is. Default: as the client.',
  }),
  password: setting(optionalText(), {
    default: null,
    reloadable: true,
    doc: 'Password of `user`. Default: the one in `auth_file`.',
  }),
  pool_size: setting(orUnset(integer(0, 1_000_000)), {
    default: null,
    reloadable: true,
    doc: 'Most server connections per user. Default: `default_pool_size`.',
  }),
  pool_mode: setting(orUnset(oneOf(poolModes)), {
    default: null,
    reloadable: true,
    doc: 'Pool mode of this database. Default: `pool_mode`.',
  }),
  connect_query: setting(optionalText('SQL'), {
    default: null,
    reloadable: true,
    doc: 'Run on each new server connection before a client gets it.',
  }),
} as const satisfies Readonly<Record<string, Setting<unknown>>>;

/** Keys of a line of section [users]. */
export const userKeys = {
  pool_mode: setting(orUnset(oneOf(poolModes)), {
    default: null,
    reloadable: true,
    doc: 'Pool mode of this user, before the database’s and the general one.',
  }),
} as const satisfies Readonly<Record<string, Setting<unknown>>>;

type Values<Table extends Readonly<Record<string, { readonly codec: { readonly schema: z.ZodType } }>>> = {
  readonly [Name in keyof Table]: z.output<Table[Name]['codec']['schema']>;
};

/** A line of section [databases], with its defaults filled in. */
export interface DatabaseSettings extends Omit<Values<typeof databaseKeys>, 'dbname'> {
  /** The name clients ask for. */
  readonly name: string;
  readonly dbname: string;
}

export interface UserSettings extends Values<typeof userKeys> {
  readonly name: string;
}

/** Everything the proxy was told. Read once; a RELOAD makes another one. */
export interface Settings {
  /** The file read, null without one. */
  readonly file: string | null;
  readonly pgbouncer: Values<typeof pgbouncerSettings>;
  readonly tviews: Values<typeof tviewsSettings>;
  readonly databases: ReadonlyMap<string, DatabaseSettings>;
  /** The `*` line: for databases no line names. `findDatabase` fills in the name. */
  readonly fallbackDatabase: DatabaseSettings | null;
  readonly users: ReadonlyMap<string, UserSettings>;
  /** Users and passwords besides `auth_file`: the one of DATABASE_URL, when there is no [databases] section. */
  readonly logins: ReadonlyMap<string, string>;
}

/** The settings of the database a client asks for; undefined when there is none. */
export function findDatabase(settings: Settings, name: string): DatabaseSettings | undefined {
  const found = settings.databases.get(name);
  if (found !== undefined || settings.fallbackDatabase === null) return found;
  const fallback = settings.fallbackDatabase;
  return { ...fallback, name, dbname: fallback.dbname === '*' ? name : fallback.dbname };
}

/** The environment variable that sets a setting. */
export function environmentName(name: string): string {
  return `TVIEWS_${name.toUpperCase()}`;
}
