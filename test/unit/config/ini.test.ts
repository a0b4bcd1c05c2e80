import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseIni, parsePairs } from '../../../src/config/ini.ts';
import type { Place } from '../../../src/config/problem.ts';
import { check } from '../../kit/seed.ts';

const start: Place = { kind: 'file', file: 'a.ini', line: 3, column: 10 };

function ini(files: Record<string, string>) {
  return parseIni('a.ini', (file) => {
    if (files[file] === undefined) throw Object.assign(new Error('x'), { code: 'ENOENT' });
    return files[file];
  });
}

test('comments start a line only, so a value may hold ; and #', () => {
  const { entries, problems } = ini({
    'a.ini': '; x\n# y\n[pgbouncer]\n  server_reset_query = SELECT 1; -- #2  \r\n',
  });
  expect(problems).toEqual([]);
  expect(entries).toMatchObject([
    { section: 'pgbouncer', name: 'server_reset_query', value: 'SELECT 1; -- #2' },
  ]);
  expect(entries[0]!.place).toEqual({ kind: 'file', file: 'a.ini', line: 4, column: 3 });
  expect(entries[0]!.valuePlace).toMatchObject({ line: 4, column: 24 });
});

test('a name in double quotes may hold anything', () => {
  const { entries } = ini({ 'a.ini': '[databases]\n"my ""db" = host=x\n* = host=y' });
  expect(entries.map(({ name }) => name)).toEqual(['my "db', '*']);
});

test('an included file continues the section and is named in its errors', () => {
  const { entries, problems } = ini({
    'a.ini': '[users]\n%include b.ini\n%include gone.ini\nx = pool_mode=session',
    'b.ini': 'y = pool_mode=session\nnonsense\n[databases]\nz = host=h',
  });
  expect(entries.map(({ section, name }) => `${section}.${name}`)).toEqual([
    'users.y',
    'databases.z',
    'databases.x',
  ]);
  expect(problems).toMatchObject([
    { place: { file: 'b.ini', line: 2, column: 1 }, message: 'syntax error' },
    { place: { file: 'a.ini', line: 3, column: 10 }, message: 'could not read "gone.ini": no such file' },
  ]);
});

test('a file that includes itself ends at a limit', () => {
  const { problems } = ini({ 'a.ini': '%include a.ini' });
  expect(problems).toMatchObject([{ message: 'include nested deeper than 10 files' }]);
});

test('a value before any section is refused', () => {
  expect(ini({ 'a.ini': 'x = 1' }).problems).toMatchObject([{ message: '"x" stands before any [section]' }]);
});

test('pairs take quoted values with doubled quotes, and blanks around "="', () => {
  const { pairs, problem } = parsePairs(`host = h password='it''s a \\ one'  dbname=d`, start);
  expect(problem).toBeNull();
  expect(pairs.map(({ key, value }) => [key, value])).toEqual([
    ['host', 'h'],
    ['password', "it's a \\ one"],
    ['dbname', 'd'],
  ]);
  expect(pairs[1]!.valuePlace).toMatchObject({ line: 3, column: 28 });
});

test.each([
  ['host', 'is not followed by "="', 10],
  ['host=', 'empty value', 15],
  ["a=1 password='x", 'without an end', 23],
  ["password='a'b", 'a blank must follow', 22],
  ['=x', '"=" without a name', 10],
])('a broken connection string %j is refused at its column', (text, message, column) => {
  const { problem } = parsePairs(text, start);
  expect(problem?.message).toContain(message);
  expect(problem?.place).toMatchObject({ column });
});

test('whatever the value, quoting it gives it back', () =>
  check(
    fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (one, two) => {
      const quoted = (value: string): string => `'${value.replaceAll("'", "''")}'`;
      const { pairs, problem } = parsePairs(`a=${quoted(one)} b=${quoted(two)}`, start);
      expect(problem).toBeNull();
      expect(pairs.map(({ value }) => value)).toEqual([one, two]);
    }),
  ));
