/**
 * Makes Settings from a file and the environment. A `TVIEWS_<SETTING>` variable goes before the file; `DATABASE_URL` is
 * used where no database is configured, so that it alone is enough to start. Every problem is collected, not the first only.
 */
import { readFileSync } from 'node:fs';
import type { Codec } from './codec.ts';
import { type Entry, parseIni, parsePairs } from './ini.ts';
import { nearest, notYetDatabase, notYetPgbouncer, notYetUser } from './known.ts';
import { ConfigError, type Place, type Problem } from './problem.ts';
import {
  type DatabaseSettings,
  databaseKeys,
  environmentName,
  pgbouncerSettings,
  type Settings,
  tviewsSettings,
  type UserSettings,
  userKeys,
} from './settings.ts';

export interface ConfigSource {
  readonly file?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Reads a file; for tests. */
  readonly read?: (file: string) => string;
}

/** The settings, or a ConfigError that knows every problem. */
export function loadSettings(source: ConfigSource = {}): Settings {
  const { settings, problems } = examineSettings(source);
  const [first, ...others] = problems;
  if (first !== undefined) throw new ConfigError([first, ...others]);
  return settings;
}

/** For check-config: the settings as far as they could be read, and everything that is wrong. */
export function examineSettings(source: ConfigSource = {}): {
  readonly settings: Settings;
  readonly problems: readonly Problem[];
} {
  const env = source.env ?? {};
  const read = source.read ?? ((file: string) => readFileSync(file, 'utf8'));
  const ini = source.file === undefined ? { entries: [], problems: [] } : parseIni(source.file, read);
  const problems: Problem[] = [...ini.problems];
  const inSection = (section: string): Entry[] => ini.entries.filter((entry) => entry.section === section);

  for (const { section, place } of ini.entries.filter(firstOfUnknownSection())) {
    problems.push({
      place,
      ...(section === 'peers'
        ? { message: 'section [peers] of PgBouncer is not supported yet' }
        : {
            message: `unknown section [${section}]`,
            hint: suggest(section, ['databases', 'users', 'pgbouncer', 'tviews']),
          }),
    });
  }

  const fileValues = (section: string): Given[] =>
    inSection(section).map(({ name, value, place, valuePlace }) => ({ name, value, place, valuePlace }));
  const fromEnvironment = (names: readonly string[]): Given[] =>
    names.flatMap((name) => {
      const variable = environmentName(name);
      const value = env[variable];
      const place: Place = { kind: 'environment', variable };
      return value === undefined ? [] : [{ name, value, place, valuePlace: place }];
    });

  let pgbouncer = readTable(
    pgbouncerSettings,
    [...fileValues('pgbouncer'), ...fromEnvironment(Object.keys(pgbouncerSettings))],
    { what: 'setting', notYet: notYetPgbouncer, others: Object.keys(tviewsSettings), otherPlace: '[tviews]' },
    problems,
  ) as Settings['pgbouncer'];
  const tviews = readTable(
    tviewsSettings,
    [...fileValues('tviews'), ...fromEnvironment(Object.keys(tviewsSettings))],
    {
      what: 'setting',
      notYet: new Set(),
      others: Object.keys(pgbouncerSettings),
      otherPlace: '[pgbouncer]',
    },
    problems,
  ) as Settings['tviews'];

  const databases = new Map<string, DatabaseSettings>();
  for (const entry of inSection('databases')) {
    const database = readDatabase(entry, problems);
    if (database !== null) databases.set(entry.name, database);
  }
  const users = new Map<string, UserSettings>();
  for (const entry of inSection('users')) {
    const given = readPairs(entry, problems);
    const scope: Scope = { what: 'key of a user', notYet: notYetUser };
    const values = readTable(userKeys, given, scope, problems) as Omit<UserSettings, 'name'>;
    users.set(entry.name, { ...values, name: entry.name });
  }

  const logins = new Map<string, string>();
  const url = env.DATABASE_URL;
  const noneWritten = inSection('databases').length === 0;
  if (noneWritten && url !== undefined && url !== '') {
    const database = readUrl(url, problems);
    if (database !== null) {
      databases.set(database.dbname, database);
      databases.set('*', { ...database, name: '*', dbname: '*' });
      // The clients' login is the URL's: no password means that there is nothing to ask for.
      if (database.user !== null && database.password !== null) {
        logins.set(database.user, database.password);
      }
      const authTypeGiven =
        inSection('pgbouncer').some(({ name }) => name === 'auth_type') || env[environmentName('auth_type')];
      if (!authTypeGiven) pgbouncer = { ...pgbouncer, auth_type: 'scram-sha-256' };
    }
  } else if (noneWritten && problems.length === 0) {
    problems.push({
      place:
        source.file === undefined
          ? { kind: 'nowhere' }
          : { kind: 'file', file: source.file, line: 1, column: 1 },
      message: 'no database is configured',
      hint: 'Set DATABASE_URL, or add a line such as "shop = host=127.0.0.1 dbname=shop" to section [databases].',
    });
  }

  const fallbackDatabase = databases.get('*') ?? null;
  databases.delete('*');
  return {
    settings: {
      file: source.file ?? null,
      pgbouncer,
      tviews,
      databases,
      fallbackDatabase,
      users,
      logins,
    },
    problems: problems.toSorted(byLine),
  };
}

/** In the order of the lines of one file; what stands elsewhere stays where it was found. */
function byLine(one: Problem, other: Problem): number {
  if (one.place.kind !== 'file' || other.place.kind !== 'file' || one.place.file !== other.place.file)
    return 0;
  return one.place.line - other.place.line || one.place.column - other.place.column;
}

function firstOfUnknownSection(): (entry: Entry) => boolean {
  const seen = new Set(['databases', 'users', 'pgbouncer', 'tviews']);
  return ({ section }) => !seen.has(section) && seen.add(section) !== undefined;
}

interface Given {
  readonly name: string;
  readonly value: string;
  readonly place: Place;
  readonly valuePlace: Place;
}

interface Scope {
  /** `setting`, `key of a database`… */
  readonly what: string;
  readonly notYet: ReadonlySet<string>;
  /** Names of another section, and which. */
  readonly others?: readonly string[];
  readonly otherPlace?: string;
}

type Table = Readonly<Record<string, { readonly codec: Codec<unknown>; readonly default: unknown }>>;

/** Defaults, overwritten by what is given, the last of duplicates. Problems are added to `problems`. */
function readTable(
  table: Table,
  given: readonly Given[],
  scope: Scope,
  problems: Problem[],
): Readonly<Record<string, unknown>> {
  const values: Record<string, unknown> = {};
  for (const [name, { default: value }] of Object.entries(table)) values[name] = value;
  for (const { name, value, place, valuePlace } of given) {
    const known = Object.hasOwn(table, name) ? table[name] : undefined;
    if (known === undefined) {
      problems.push({ place, ...unknownName(name, table, scope) });
      continue;
    }
    const parsed = known.codec.schema.safeParse(value);
    if (parsed.success) values[name] = parsed.data;
    else {
      const wrong = parsed.error.issues.map(({ message }) => message).join('; ');
      problems.push({ place: valuePlace, message: `invalid value "${value}" for ${name}: ${wrong}` });
    }
  }
  return values;
}

function unknownName(name: string, table: Table, scope: Scope): Pick<Problem, 'message' | 'hint'> {
  if (scope.notYet.has(name)) {
    return {
      message: `"${name}" is a ${scope.what} of PgBouncer's that tview-proxy does not support yet`,
      hint: 'Remove it: it is refused, not ignored, so that nobody relies on what is not there.',
    };
  }
  if (scope.others?.includes(name)) {
    return { message: `"${name}" belongs to section ${scope.otherPlace}` };
  }
  return {
    message: `unknown ${scope.what} "${name}"`,
    hint: suggest(name, [...Object.keys(table), ...scope.notYet, ...(scope.others ?? [])]),
  };
}

function suggest(written: string, names: Iterable<string>): string | undefined {
  const name = nearest(written, names);
  return name === null ? undefined : `Did you mean "${name}"?`;
}

function readPairs(entry: Entry, problems: Problem[]): Given[] {
  const { pairs, problem } = parsePairs(entry.value, entry.valuePlace);
  if (problem !== null) problems.push(problem);
  return pairs.map(({ key, value, place, valuePlace }) => ({ name: key, value, place, valuePlace }));
}

type DatabaseValues = Omit<DatabaseSettings, 'name' | 'dbname'> & { readonly dbname: string | null };

function readDatabase(entry: Entry, problems: Problem[]): DatabaseSettings | null {
  const before = problems.length;
  if (entry.name === 'pgbouncer') {
    problems.push({ place: entry.place, message: 'database name "pgbouncer" is reserved for the console' });
  }
  const given = readPairs(entry, problems);
  const scope: Scope = { what: 'key of a database', notYet: notYetDatabase };
  const values = readTable(databaseKeys, given, scope, problems) as DatabaseValues;
  const host = given.findLast(({ name }) => name === 'host');
  if (host !== undefined && (values.host.includes(',') || values.host.startsWith('/'))) {
    problems.push({
      place: host.valuePlace,
      message: `host "${values.host}" is ${values.host.includes(',') ? 'a list' : 'a Unix socket'}, which tview-proxy does not support yet`,
    });
  }
  if (problems.length > before) return null;
  return { ...values, name: entry.name, dbname: values.dbname ?? entry.name };
}

/** A postgres:// URL as a line of [databases]. The URL itself is in no message: it may hold a password. */
function readUrl(text: string, problems: Problem[]): DatabaseSettings | null {
  const place: Place = { kind: 'environment', variable: 'DATABASE_URL' };
  const wrong = (message: string): null => {
    problems.push({ place, message, hint: 'It looks like postgres://user:password@host:5432/database.' });
    return null;
  };
  if (!URL.canParse(text)) return wrong('not a URL');
  const url = new URL(text);
  if (!/^postgres(ql)?:$/.test(url.protocol)) return wrong(`"${url.protocol}//" is not postgres://`);
  const user = decodeURIComponent(url.username) || null;
  const dbname = decodeURIComponent(url.pathname.slice(1)) || user;
  if (dbname === null) return wrong('names neither a database nor a user');
  return {
    name: dbname,
    host: url.hostname.replace(/^\[|\]$/g, '') || databaseKeys.host.default,
    port: url.port === '' ? databaseKeys.port.default : Number(url.port),
    dbname,
    user,
    password: decodeURIComponent(url.password) || null,
    pool_size: null,
    pool_mode: null,
    connect_query: null,
  };
}
