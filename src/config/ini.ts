/**
 * The syntax of pgbouncer.ini, and nothing else: sections, `name = value` lines, `%include`, comments, and the
 * `key=value` pairs of a connection string. Which names exist is settings.ts.
 *
 * As PgBouncer reads it: a comment starts with `;` or `#` at the start of a line and nowhere else, so a value may hold
 * both; a value goes to the end of its line; nothing in a value is an escape.
 */
import { columnsOn, type Place, type Problem } from './problem.ts';

export interface Entry {
  readonly section: string;
  readonly name: string;
  readonly value: string;
  readonly place: Place;
  readonly valuePlace: Place;
}

export interface IniFile {
  /** In the order of the file, those of included files where they are included. Duplicates are all there. */
  readonly entries: readonly Entry[];
  readonly problems: readonly Problem[];
}

/** PgBouncer's own limit. */
const deepestInclude = 10;

const sectionLine = /^\[([^\]]*)\]\s*$/;
const includeLine = /^%include\s+(.*)$/;
const valueLine = /^("(?:[^"]|"")*"|[A-Za-z0-9_.*-]+)([ \t]*=[ \t]*)(.*)$/;

/**
 * Reads a file with everything it includes. `read` gives a file's text or throws; a path is taken as it stands, that is,
 * relative to the working directory, as in PgBouncer.
 */
export function parseIni(file: string, read: (file: string) => string): IniFile {
  const entries: Entry[] = [];
  const problems: Problem[] = [];
  let section: string | null = null;

  const parseFile = (path: string, depth: number, from: Place): void => {
    let text: string;
    try {
      text = read(path);
    } catch (error) {
      problems.push({ place: from, message: `could not read "${path}": ${reason(error)}` });
      return;
    }
    for (const [index, raw] of text
      .replace(/^\uFEFF/, '')
      .split('\n')
      .entries()) {
      const indent = raw.length - raw.trimStart().length;
      const line = raw.trim();
      const place: Place = { kind: 'file', file: path, line: index + 1, column: indent + 1 };
      if (line === '' || line.startsWith(';') || line.startsWith('#')) continue;

      const include = includeLine.exec(line);
      if (include !== null) {
        if (depth === deepestInclude) {
          problems.push({ place, message: `include nested deeper than ${deepestInclude} files` });
        } else {
          parseFile(include[1]!, depth + 1, columnsOn(place, line.length - include[1]!.length));
        }
        continue;
      }
      const header = sectionLine.exec(line);
      if (header !== null) {
        section = header[1]!;
        continue;
      }
      const parts = valueLine.exec(line);
      if (parts === null) {
        problems.push({
          place,
          message: 'syntax error',
          hint: 'A line is a [section], a "name = value", a "%include file" or a comment that starts with ; or #.',
        });
        continue;
      }
      const [, written, equals, value] = parts as unknown as [string, string, string, string];
      if (section === null) {
        problems.push({ place, message: `"${written}" stands before any [section]` });
        continue;
      }
      entries.push({
        section,
        name: written.startsWith('"') ? written.slice(1, -1).replaceAll('""', '"') : written,
        value,
        place,
        valuePlace: columnsOn(place, written.length + equals.length),
      });
    }
  };

  parseFile(file, 0, { kind: 'nowhere' });
  return { entries, problems };
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'permission denied' : message;
}

export interface Pair {
  readonly key: string;
  readonly value: string;
  readonly place: Place;
  readonly valuePlace: Place;
}

/**
 * The `key=value` pairs of a connection string. A value in single quotes may hold blanks; a quote in it is doubled, and
 * a backslash is itself. Without quotes the value ends at the next blank. Empty values are refused.
 */
export function parsePairs(
  text: string,
  start: Place,
): { readonly pairs: readonly Pair[]; readonly problem: Problem | null } {
  const pairs: Pair[] = [];
  let at = 0;
  const skipBlanks = (): void => {
    while (text[at] === ' ' || text[at] === '\t') at++;
  };
  const wrong = (position: number, message: string): { pairs: Pair[]; problem: Problem } => ({
    pairs,
    problem: { place: columnsOn(start, position), message: `syntax error in connection string: ${message}` },
  });

  for (;;) {
    skipBlanks();
    if (at >= text.length) return { pairs, problem: null };
    const keyAt = at;
    while (at < text.length && !/[= \t]/.test(text[at]!)) at++;
    const key = text.slice(keyAt, at);
    skipBlanks();
    if (key === '') return wrong(keyAt, '"=" without a name before it');
    if (text[at] !== '=') return wrong(keyAt, `"${key}" is not followed by "="`);
    at++;
    skipBlanks();

    const valueAt = at;
    let value = '';
    if (text[at] === "'") {
      at++;
      for (;;) {
        if (at >= text.length) return wrong(valueAt, 'quoted value without an end');
        if (text[at] === "'") {
          if (text[at + 1] !== "'") break;
          at++;
        }
        value += text[at++];
      }
      at++;
      if (at < text.length && !/[ \t]/.test(text[at]!))
        return wrong(at, 'a blank must follow a quoted value');
    } else {
      while (at < text.length && !/[ \t]/.test(text[at]!)) value += text[at++];
    }
    if (value === '') return wrong(valueAt, `"${key}" has an empty value`);
    pairs.push({ key, value, place: columnsOn(start, keyAt), valuePlace: columnsOn(start, valueAt) });
  }
}
