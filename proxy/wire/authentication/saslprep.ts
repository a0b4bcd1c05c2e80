/**
 * SASLprep (RFC 4013) as PostgreSQL performs it (src/common/saslprep.c): both sides of SCRAM must arrive at the same
 * bytes, so where PostgreSQL departs from the RFC, we depart with it.
 */
import { LEFT_TO_RIGHT, NOTHING, PROHIBITED, RIGHT_TO_LEFT, SPACES } from './stringprep-tables.ts';

const EVERY_ASCII = /^[\0-\x7f]*$/;

/** The prepared password; the password itself where it cannot be prepared, as PostgreSQL does for old passwords. */
export function saslprep(password: string): string {
  // Also for control characters, which the RFC prohibits: PostgreSQL takes ASCII as it stands.
  if (EVERY_ASCII.test(password)) return password;

  const mapped: string[] = [];
  for (const character of password) {
    const code = character.codePointAt(0)!;
    if (contains(SPACES, code)) mapped.push(' ');
    else if (!contains(NOTHING, code)) mapped.push(character);
  }
  if (mapped.length === 0) return password;

  // PostgreSQL looks for prohibited characters before normalising, not in its output as the RFC says.
  const codes = mapped.map((character) => character.codePointAt(0)!);
  if (codes.some((code) => contains(PROHIBITED, code)) || !directionIsClear(codes)) return password;
  return mapped.join('').normalize('NFKC');
}

/** RFC 3454, section 6: text with a right-to-left character has no left-to-right one, and begins and ends with the former. */
function directionIsClear(codes: readonly number[]): boolean {
  if (!codes.some((code) => contains(RIGHT_TO_LEFT, code))) return true;
  if (codes.some((code) => contains(LEFT_TO_RIGHT, code))) return false;
  return contains(RIGHT_TO_LEFT, codes[0]!) && contains(RIGHT_TO_LEFT, codes[codes.length - 1]!);
}

/** Binary search in a flat list of ranges. */
function contains(ranges: readonly number[], code: number): boolean {
  let low = 0;
  let high = ranges.length / 2 - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (code < ranges[2 * middle]!) high = middle - 1;
    else if (code > ranges[2 * middle + 1]!) low = middle + 1;
    else return true;
  }
  return false;
}
