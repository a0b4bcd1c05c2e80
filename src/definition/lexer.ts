/**
 * Cuts SQL text into tokens as PostgreSQL's scanner does (manual, 4.1 Lexical Structure), synchronously and with offsets
 * in characters. It serves what looks at statements from outside: where they end, which words they begin with. What is
 * inside a query is read by PostgreSQL's own grammar (grammar.ts).
 */
import { SqlState, TviewsError } from '../errors/errors.ts';

export type TokenKind = 'word' | 'quoted' | 'string' | 'number' | 'parameter' | 'symbol';

export interface Token {
  readonly kind: TokenKind;
  /** `word`: folded to lower case; `quoted` and `string`: the value, unescaped; else as written. */
  readonly value: string;
  /** Offsets in characters (UTF-16 code units) of the text; `end` is exclusive. */
  readonly start: number;
  readonly end: number;
}

const blank = /\s+/y;
const lineComment = /--[^\r\n]*/y;
const word = /[\p{L}_\u0080-\uffff][\p{L}\p{N}_$\u0080-\uffff]*/uy;
const number = /(?:0[xXoObB][\da-fA-F_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)/y;
const parameter = /\$\d+/y;
const dollarTag = /\$(?:[\p{L}_\u0080-\uffff][\p{L}\p{N}_\u0080-\uffff]*)?\$/uy;

function matchAt(pattern: RegExp, text: string, at: number): string | null {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? null;
}

/** Folds an unquoted name as the server does: ASCII letters only, so that É stays É. */
function fold(name: string): string {
  return name.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

function unterminated(what: string, start: number): TviewsError {
  return new TviewsError(SqlState.syntaxError, `unterminated ${what}`, { position: start + 1 });
}

/** Where the blanks and comments that begin at `at` end. Block comments nest. */
export function skipBlanks(text: string, at: number): number {
  for (;;) {
    const skipped = matchAt(blank, text, at) ?? matchAt(lineComment, text, at);
    if (skipped !== null) at += skipped.length;
    else if (text.startsWith('/*', at)) at = endOfBlockComment(text, at);
    else return at;
  }
}

function endOfBlockComment(text: string, start: number): number {
  let depth = 1;
  let at = start + 2;
  while (depth > 0) {
    if (at >= text.length) throw unterminated('/* comment', start);
    if (text.startsWith('/*', at)) {
      depth += 1;
      at += 2;
    } else if (text.startsWith('*/', at)) {
      depth -= 1;
      at += 2;
    } else at += 1;
  }
  return at;
}

/** The token at or after `at`; null at the end of the text. */
export function nextToken(text: string, at: number): Token | null {
  const start = skipBlanks(text, at);
  if (start >= text.length) return null;
  const character = text[start]!;
  if (character === "'") return quoted(text, start, start, 'string', "'", 'quoted string', false);
  if (character === '"') return quoted(text, start, start, 'quoted', '"', 'quoted identifier', false);
  if (character === '$') {
    const found = matchAt(parameter, text, start);
    if (found !== null) return { kind: 'parameter', value: found, start, end: start + found.length };
    const tag = matchAt(dollarTag, text, start);
    if (tag !== null) {
      const close = text.indexOf(tag, start + tag.length);
      if (close < 0) throw unterminated('dollar-quoted string', start);
      const value = text.slice(start + tag.length, close);
      return { kind: 'string', value, start, end: close + tag.length };
    }
  }
  // E'', B'', X'' and N'' are one token with their prefix; only E changes what a backslash means.
  if (/[eEbBxXnN]/.test(character) && text[start + 1] === "'") {
    const escapes = character === 'e' || character === 'E';
    return quoted(text, start, start + 1, 'string', "'", 'quoted string', escapes);
  }
  const name = matchAt(word, text, start);
  if (name !== null) return { kind: 'word', value: fold(name), start, end: start + name.length };
  const digits = /[\d.]/.test(character) ? matchAt(number, text, start) : null;
  if (digits !== null) return { kind: 'number', value: digits, start, end: start + digits.length };
  return { kind: 'symbol', value: character, start, end: start + 1 };
}

const escapeLetters: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f' };

function quoted(
  text: string,
  start: number,
  open: number,
  kind: 'string' | 'quoted',
  mark: string,
  what: string,
  escapes: boolean,
): Token {
  let value = '';
  for (let at = open + 1; at < text.length; at += 1) {
    const character = text[at]!;
    if (escapes && character === '\\') {
      at += 1;
      const escaped = text[at] ?? '';
      value += escapeLetters[escaped] ?? escaped;
    } else if (character !== mark) value += character;
    else if (text[at + 1] === mark) {
      at += 1;
      value += mark;
    } else return { kind, value, start, end: at + 1 };
  }
  throw unterminated(what, start);
}
