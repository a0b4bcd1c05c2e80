import { expect, test } from 'vitest';
import { exampleFile } from '../../../src/config/document.ts';
import { type ConfigSource, examineSettings, loadSettings } from '../../../src/config/load.ts';
import { printPlace } from '../../../src/config/problem.ts';
import { findDatabase } from '../../../src/config/settings.ts';

const source = (text: string, env: Record<string, string> = {}): ConfigSource => ({
  file: 'a.ini',
  env,
  read: () => text,
});
const problemsOf = (text: string, env: Record<string, string> = {}): string[] =>
  examineSettings(source(text, env)).problems.map(
    ({ place, message, hint }) => `${printPlace(place)}: ${message}${hint === undefined ? '' : ` | ${hint}`}`,
  );
const one = '[databases]\n* = host=h\n';

test('DATABASE_URL alone is enough to start', () => {
  const settings = loadSettings({
    env: { DATABASE_URL: 'postgres://shop%40x:s%2Fcret@db.example:5433/shop' },
  });
  const server = { host: 'db.example', port: 5433, user: 'shop@x', password: 's/cret' };
  expect(findDatabase(settings, 'shop')).toMatchObject({ ...server, name: 'shop', dbname: 'shop' });
  expect(findDatabase(settings, 'other')).toMatchObject({ ...server, name: 'other', dbname: 'other' });
  expect([...settings.logins]).toEqual([['shop@x', 's/cret']]);
  expect(settings.pgbouncer).toMatchObject({
    listen_port: 6432,
    auth_type: 'scram-sha-256',
    pool_mode: 'session',
  });
  expect(settings.tviews).toMatchObject({ metrics_addr: '127.0.0.1', metrics_port: 9127, refresh: true });
});

test('DATABASE_URL is left alone where the file configures databases', () => {
  const settings = loadSettings(source(one, { DATABASE_URL: 'postgres://u:p@elsewhere/db' }));
  expect(findDatabase(settings, 'db')?.host).toBe('h');
  expect(settings.logins.size).toBe(0);
  expect(settings.pgbouncer.auth_type).toBe('md5');
});

test('a password in a wrong DATABASE_URL is not printed', () => {
  const { problems } = examineSettings({ env: { DATABASE_URL: 'mysql://u:geheim@h/db' } });
  expect(JSON.stringify(problems)).toContain('is not postgres://');
  expect(JSON.stringify(problems)).not.toContain('geheim');
});

test('nothing configured is a problem that says what to do', () => {
  expect(() => loadSettings({})).toThrow('configuration: no database is configured');
});

test('the environment goes before the file, and the last of duplicates counts', () => {
  const text = `${one}[pgbouncer]\nlisten_port = 1\nlisten_port = 2\ndefault_pool_size = 3\ndefault_pool_size = 4`;
  const settings = loadSettings(source(text, { TVIEWS_LISTEN_PORT: '7' }));
  expect(settings.pgbouncer.listen_port).toBe(7);
  expect(settings.pgbouncer.default_pool_size).toBe(4);
  expect(problemsOf(one, { TVIEWS_LISTEN_PORT: 'x' })).toEqual([
    'TVIEWS_LISTEN_PORT: invalid value "x" for listen_port: must be an integer',
  ]);
});

test('a database line takes its own keys and inherits the rest', () => {
  const text = `[databases]
shop = host=h port=5433 dbname=real user=u password='p w' pool_size=5 pool_mode=Transaction connect_query='SELECT 1'
plain =
`;
  const settings = loadSettings(source(text));
  expect(findDatabase(settings, 'shop')).toEqual({
    name: 'shop',
    host: 'h',
    port: 5433,
    dbname: 'real',
    user: 'u',
    password: 'p w',
    pool_size: 5,
    pool_mode: 'transaction',
    connect_query: 'SELECT 1',
  });
  expect(findDatabase(settings, 'plain')).toMatchObject({
    host: '127.0.0.1',
    dbname: 'plain',
    pool_size: null,
  });
  expect(findDatabase(settings, 'none')).toBeUndefined();
});

test('a * line with a dbname sends every client to that database', () => {
  expect(findDatabase(loadSettings(source('[databases]\n* = host=h dbname=one')), 'two')?.dbname).toBe('one');
});

test('what PgBouncer knows and we do not yet is told apart from a typing error', () => {
  expect(
    problemsOf(`${one}[pgbouncer]\nreserve_pool_size = 5\npool_mod = session\nrefresh = on\nzzz = 1`),
  ).toEqual([
    'a.ini:4:1: "reserve_pool_size" is a setting of PgBouncer\'s that tview-proxy does not support yet | Remove it: it is refused, not ignored, so that nobody relies on what is not there.',
    'a.ini:5:1: unknown setting "pool_mod" | Did you mean "pool_mode"?',
    'a.ini:6:1: "refresh" belongs to section [tviews]',
    'a.ini:7:1: unknown setting "zzz"',
  ]);
});

test('a wrong value is pointed at where it stands', () => {
  const text = `[databases]\nshop = host=h port=99999 pool_mode=query timezone=UTC\n[pgbouncer]\nauth_type = hba\nquery_wait_timeout = -1`;
  expect(problemsOf(text)).toEqual([
    'a.ini:2:20: invalid value "99999" for port: must be between 1 and 65535',
    'a.ini:2:36: invalid value "query" for pool_mode: must be one of session, transaction, statement',
    expect.stringContaining(`a.ini:2:42: "timezone" is a key of a database of PgBouncer's`),
    expect.stringContaining(`a.ini:4:13: invalid value "hba" for auth_type: "hba" is a value of PgBouncer's`),
    'a.ini:5:22: invalid value "-1" for query_wait_timeout: must be a number of seconds, 0 or more',
  ]);
});

test('an unknown section is named once', () => {
  expect(problemsOf(`${one}[pgbounce]\na = 1\nb = 2\n[peers]\n1 = host=x`)).toEqual([
    'a.ini:4:1: unknown section [pgbounce] | Did you mean "pgbouncer"?',
    'a.ini:7:1: section [peers] of PgBouncer is not supported yet',
  ]);
});

test('the example file is the defaults', () => {
  // It names no database: DATABASE_URL does.
  const env = { DATABASE_URL: 'postgres://app:secret@db.example/shop' };
  const { settings, problems } = examineSettings({ ...source(exampleFile()), env });
  expect(problems).toEqual([]);
  expect({ ...settings.pgbouncer, auth_type: 'md5' }).toEqual(loadSettings(source(one)).pgbouncer);
  expect([...settings.databases.keys()]).toEqual(['shop']);
  // Uncommented, every setting still reads, and as its default.
  const uncommented = examineSettings(source(exampleFile().replace(/^;(?=[\w*]+ =)/gm, '')));
  expect(uncommented.problems).toEqual([]);
  expect(uncommented.settings.pgbouncer).toEqual(loadSettings(source(one)).pgbouncer);
  expect(uncommented.settings.tviews).toEqual(settings.tviews);
});
