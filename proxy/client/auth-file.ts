/**
 * auth_file in PgBouncer's format: `"user" "secret"` on each line, `""` for a quote inside; what follows the secret is
 * ignored, and so are lines that begin with `;`. Unlike PgBouncer, which stops reading, a bad line is an error.
 */
import { readFile } from 'node:fs/promises';
import { SqlState, TviewsError } from '../../src/errors/errors.ts';
import { readSecret, type UserSecret } from '../wire/authentication/secret.ts';

const QUOTED = /"((?:[^"]|"")*)"/y;

/** @throws TviewsError with file and line; never quotes the line, which holds a secret. */
export function parseAuthFile(text: string, file: string): Map<string, UserSecret> {
  const users = new Map<string, UserSecret>();
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  for (const [index, line] of lines.entries()) {
    const start = line.search(/\S/);
    if (start < 0 || line[start] === ';') continue;
    const fail = (problem: string): never => {
      throw new TviewsError(SqlState.configFileError, `${file}:${index + 1}: ${problem}`, {
        hint: 'A line of auth_file is "user" "password", both in double quotes; a quote inside is written twice.',
      });
    };
    const user = quotedAt(line, start) ?? fail('user name in double quotes expected');
    if (user.text === '') fail('user name is empty');
    const gap = line.slice(user.end).search(/\S/);
    const secret = gap < 0 ? null : quotedAt(line, user.end + gap);
    // As in PgBouncer, a later line for the same user wins.
    users.set(user.text, readSecret((secret ?? fail('password in double quotes expected')).text));
  }
  return users;
}

export async function readAuthFile(file: string): Promise<Map<string, UserSecret>> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new TviewsError(SqlState.configFileError, `could not read auth_file "${file}"`, {
      detail: error instanceof Error ? error.message : String(error),
      cause: error,
    });
  }
  return parseAuthFile(text, file);
}

function quotedAt(line: string, start: number): { readonly text: string; readonly end: number } | null {
  QUOTED.lastIndex = start;
  const match = QUOTED.exec(line);
  return match === null ? null : { text: match[1]!.replaceAll('""', '"'), end: QUOTED.lastIndex };
}
