import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { freePort } from '../../../src/cli/demo/local-postgres.ts';
import { canReach } from '../../../src/cli/demo/postgres-binaries.ts';
import { packageVersion } from '../../../src/cli/package.ts';
import { table } from '../../../src/cli/terminal.ts';
import { tviews } from '../../kit/command.ts';

const folder = mkdtempSync(join(tmpdir(), 'tviews-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

test('--version and --help are no errors', async () => {
  expect(await tviews(['--version'])).toEqual({
    exitCode: 0,
    stdout: `tview-proxy ${packageVersion()}\n`,
    stderr: '',
  });
  const help = await tviews(['--help']);
  expect(help.exitCode).toBe(0);
  for (const command of [
    'init',
    'apply',
    'list',
    'explain',
    'verify',
    'rebuild',
    'drop',
    'status',
    'uninstall',
    'check-config',
  ]) {
    expect(help.stdout).toContain(command);
  }
});

test.each([
  [['frobnicate'], "unknown command 'frobnicate'"],
  [['list', '--colour'], "unknown option '--colour'"],
  [['rebuild'], "missing required argument 'name'"],
  [['list'], 'no database given'],
])('%j is a wrong call: exit code 2', async (argv, message) => {
  const result = await tviews(argv);
  expect(result.exitCode).toBe(2);
  expect(result.stderr).toContain(message);
  expect(result.stdout).toBe('');
});

test('a server that is not there is one sentence without the password', async () => {
  const port = await freePort();
  const { exitCode, stderr } = await tviews([
    'list',
    '--database-url',
    `postgres://u:geheim@127.0.0.1:${port}/db`,
  ]);
  expect(exitCode).toBe(1);
  expect(stderr).toBe(
    `error: no server is listening at 127.0.0.1:${port}\nHINT: Check host and port of the database URL, and that the server runs.\n`,
  );
});

test('a URL that is none is refused, and as JSON with --json', async () => {
  const { exitCode, stdout, stderr } = await tviews(['list', '--json', '--database-url', 'shop']);
  expect(exitCode).toBe(1);
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual({
    error: {
      code: '22023',
      message: 'the database URL is not a postgres:// URL',
      hint: 'It looks like postgres://user:password@host:5432/database.',
    },
  });
});

test('check-config accepts a good file and names its databases', async () => {
  const good = file('good.ini', '[databases]\nshop = host=h\n* = host=h\n');
  expect(await tviews(['check-config', good])).toEqual({
    exitCode: 0,
    stdout: `${good}: ok, 2 databases (shop, *)\n`,
    stderr: '',
  });
});

test('check-config lists every problem with its place', async () => {
  const bad = file('bad.ini', '[databases]\n* = host=h prot=5\n[pgbouncer]\nadmin_users = me\n');
  const { exitCode, stdout } = await tviews(['check-config', bad]);
  expect(exitCode).toBe(1);
  expect(stdout).toContain(`${bad}:2:12: unknown key of a database "prot"\n  HINT: Did you mean "port"?`);
  expect(stdout).toContain(
    `${bad}:4:1: "admin_users" is a setting of PgBouncer's that tview-proxy does not support yet`,
  );
  const { problems } = JSON.parse((await tviews(['check-config', bad, '--json'])).stdout) as {
    problems: unknown[];
  };
  expect(problems).toHaveLength(2);
});

test('check-config of a file that is not there says so', async () => {
  const { exitCode, stdout } = await tviews(['check-config', join(folder, 'none.ini')]);
  expect(exitCode).toBe(1);
  expect(stdout).toContain('no such file');
});

test('columns are aligned, numbers to the right', () => {
  expect(
    table(
      ['name', 'rows'],
      [
        ['a', 10],
        ['bcdef', 5],
      ],
    ),
  ).toEqual(['name   rows', 'a        10', 'bcdef     5']);
});

test('a folder without the search permission for others is out of reach', () => {
  const user = { uid: 65534, gid: 65534 };
  expect(canReach(user, tmpdir())).toBe(true);
  // mkdtemp makes 0700.
  expect(canReach(user, join(folder, 'x'))).toBe(false);
});
