import { describe, expect, test } from 'vitest';
import { parseAuthFile, readAuthFile } from '../../../../proxy/client/auth-file.ts';

describe('auth_file', () => {
  test('is read as PgBouncer reads userlist.txt', () => {
    const users = parseAuthFile(
      [
        '; a comment; "not" "a user"',
        '"ann" "secret" whatever follows is ignored',
        '',
        '\t"o""brien"\t"a ""quoted"" \\ word"',
        `"max" "md5${'0a'.repeat(16)}"`,
        '"nil" ""',
        '"ann" "newer"',
      ].join('\r\n'),
      'users.txt',
    );
    expect(Object.fromEntries(users)).toEqual({
      ann: { kind: 'plain', password: 'newer' },
      'o"brien': { kind: 'plain', password: 'a "quoted" \\ word' },
      max: { kind: 'md5', hash: '0a'.repeat(16) },
      nil: { kind: 'none' },
    });
  });

  test.each([
    ['ann secret', 'user name in double quotes expected'],
    ['"ann', 'user name in double quotes expected'],
    ['"ann"', 'password in double quotes expected'],
    ['"ann" secret', 'password in double quotes expected'],
    ['"ann" "secret', 'password in double quotes expected'],
    ['"" "secret"', 'user name is empty'],
  ])('%j is an error that names file and line, and not the secret', (line, problem) => {
    let told: unknown;
    try {
      parseAuthFile(`"good" "line"\n\n${line}\n`, '/etc/users.txt');
    } catch (error) {
      told = error;
    }
    expect(told).toMatchObject({ code: 'F0000', message: `/etc/users.txt:3: ${problem}` });
    expect(JSON.stringify(told)).not.toContain('secret');
  });

  test('a file that cannot be read is named', async () => {
    await expect(readAuthFile('/nowhere/users.txt')).rejects.toThrow(
      'could not read auth_file "/nowhere/users.txt"',
    );
  });
});
