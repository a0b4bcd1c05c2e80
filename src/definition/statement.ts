/**
 * Reads `CREATE TVIEW` and `DROP TVIEW` statements, and the forms pg_tviews gave them, out of SQL text: from files, and
 * from what a client sends through the proxy. Whether a definition can be kept in step is not decided here (compile.ts).
 */
import { SqlState, TviewsError } from '../errors/errors.ts';
import { parseSql } from './grammar.ts';
import { nextToken, skipBlanks, type Token } from './lexer.ts';
import type { CreateTview, DropTview, Located, TviewStatement } from './plan.ts';

/** PostgreSQL's invalid_name. */
const invalidName = '42602';

/** A place in a text, for people: lines and columns from 1. */
export interface TextPlace {
  readonly line: number;
  readonly column: number;
}

/** The line and column of an error's `position` (characters from 1). */
export function placeOf(text: string, position: number): TextPlace {
  const lines = [...text]
    .slice(0, position - 1)
    .join('')
    .split('\n');
  return { line: lines.length, column: [...lines.at(-1)!].length + 1 };
}

/** `shop.sql:12:5: syntax error at or near "FORM"`, or without line and column where the error has no position. */
export function describeInFile(file: string, text: string, error: TviewsError): string {
  if (error.position === undefined) return `${file}: ${error.message}`;
  const { line, column } = placeOf(text, error.position);
  return `${file}:${line}:${column}: ${error.message}`;
}

/**
 * The tview statements of a text, in order. Anything else in it is an error: a file for `tviews apply` holds nothing
 * but definitions. Queries are checked against PostgreSQL's grammar, so that a slip of the pen has a line and a column.
 */
export async function parseTviewStatements(text: string): Promise<Located<TviewStatement>[]> {
  try {
    return await readStatements(text);
  } catch (error) {
    // Inside, places are offsets of the JavaScript string; a `position` counts characters, an emoji as one.
    if (!(error instanceof TviewsError) || error.position === undefined) throw error;
    throw atPosition(error, [...text.slice(0, error.position - 1)].length + 1);
  }
}

function atPosition(error: TviewsError, position: number | undefined): TviewsError {
  const { code, message, detail, hint, cause } = error;
  return new TviewsError(code, message, { detail, hint, cause, position });
}

async function readStatements(text: string): Promise<Located<TviewStatement>[]> {
  const statements: Located<TviewStatement>[] = [];
  for (const tokens of splitStatements(text)) {
    const cursor = new Cursor(text, tokens);
    const first = tokens[0]!;
    for (const parsed of readStatement(cursor)) {
      if (parsed.kind === 'create') {
        const { queryOffset, ...statement } = parsed;
        await checkQuery(statement, text, queryOffset);
        statements.push(located(text, first.start, queryOffset, statement));
      } else statements.push(located(text, first.start, null, parsed));
    }
  }
  return statements;
}

function located(
  text: string,
  offset: number,
  queryOffset: number | null,
  statement: TviewStatement,
): Located<TviewStatement> {
  return { statement, offset, queryOffset, ...placeOf(text, [...text.slice(0, offset)].length + 1) };
}

/**
 * An error whose position counts from the start of the statement's query, made to count from the start of the text.
 * Without a position where the query does not stand there as it is (in a literal with quotes in it): none is better than
 * a wrong one.
 */
export function pointIntoText(
  error: unknown,
  text: string,
  { statement, queryOffset }: Located<TviewStatement>,
): unknown {
  if (!(error instanceof TviewsError) || error.position === undefined) return error;
  if (statement.kind !== 'create' || queryOffset === null) return error;
  const verbatim = text.startsWith(statement.query, queryOffset);
  return atPosition(error, verbatim ? [...text.slice(0, queryOffset)].length + error.position : undefined);
}

/** The tokens of each statement, without its semicolon; empty statements are left out. */
function splitStatements(text: string): Token[][] {
  const statements: Token[][] = [];
  let current: Token[] = [];
  for (let token = nextToken(text, 0); token !== null; token = nextToken(text, token.end)) {
    if (token.kind === 'symbol' && token.value === ';') {
      if (current.length > 0) statements.push(current);
      current = [];
    } else current.push(token);
  }
  if (current.length > 0) statements.push(current);
  return statements;
}

/** Walks the tokens of one statement; a word it does not find is a syntax error at that place. */
class Cursor {
  readonly text: string;
  private readonly tokens: readonly Token[];
  private at = 0;

  constructor(text: string, tokens: readonly Token[]) {
    this.text = text;
    this.tokens = tokens;
  }

  peek(ahead = 0): Token | undefined {
    return this.tokens[this.at + ahead];
  }

  /** Takes the words if all of them come next, else nothing. */
  accept(...words: readonly string[]): boolean {
    const found = words.every((value, index) => {
      const token = this.peek(index);
      return (
        token !== undefined && token.value === value && (token.kind === 'word' || token.kind === 'symbol')
      );
    });
    if (found) this.at += words.length;
    return found;
  }

  expect(...words: readonly string[]): void {
    for (const value of words) if (!this.accept(value)) throw this.unexpected();
  }

  take(...kinds: readonly Token['kind'][]): Token {
    const token = this.peek();
    if (token === undefined || !kinds.includes(token.kind)) throw this.unexpected();
    this.at += 1;
    return token;
  }

  expectEnd(): void {
    if (this.peek() !== undefined) throw this.unexpected();
  }

  /** Everything from here to the end of the statement, and where it begins. */
  rest(): { readonly query: string; readonly offset: number } {
    const first = this.peek();
    const last = this.tokens.at(-1);
    if (first === undefined || last === undefined) throw this.unexpected();
    this.at = this.tokens.length;
    return { query: this.text.slice(first.start, last.end), offset: first.start };
  }

  unexpected(): TviewsError {
    const token = this.peek();
    if (token === undefined) {
      return new TviewsError(SqlState.syntaxError, 'syntax error at end of input', {
        position: (this.tokens.at(-1)?.end ?? 0) + 1,
      });
    }
    const near = this.text.slice(token.start, token.end);
    return new TviewsError(SqlState.syntaxError, `syntax error at or near "${near}"`, {
      position: token.start + 1,
    });
  }
}

interface ParsedCreate extends CreateTview {
  readonly queryOffset: number;
}

/** One statement; `DROP TVIEW a, b` is two. */
function readStatement(cursor: Cursor): (ParsedCreate | DropTview)[] {
  const start = cursor.peek()!;
  if (cursor.accept('create', 'or', 'replace', 'tview')) return [createTview(cursor, 'replace')];
  if (cursor.accept('create', 'tview')) {
    return [createTview(cursor, cursor.accept('if', 'not', 'exists') ? 'skip' : 'error')];
  }
  if (cursor.accept('drop', 'tview')) return dropTviews(cursor);
  if (cursor.accept('create', 'table')) {
    return [createTableAs(cursor, cursor.accept('if', 'not', 'exists') ? 'skip' : 'error')];
  }
  if (cursor.accept('select')) {
    cursor.accept('public', '.');
    if (cursor.accept('pg_tviews_create', '(')) return [createCall(cursor)];
    if (cursor.accept('pg_tviews_drop', '(')) return [dropCall(cursor)];
  }
  const near = cursor.text.slice(start.start, start.end);
  throw new TviewsError(SqlState.syntaxError, `this is not a tview statement, at or near "${near}"`, {
    position: start.start + 1,
    hint: 'Write CREATE [OR REPLACE] TVIEW [IF NOT EXISTS] tv_name AS SELECT …; or DROP TVIEW [IF EXISTS] tv_name;.',
  });
}

function createTview(cursor: Cursor, ifExists: CreateTview['ifExists']): ParsedCreate {
  const name = tviewName(cursor);
  const options = cursor.accept('with', '(') ? withOptions(cursor) : { key: null };
  cursor.expect('as');
  const { query, offset } = cursor.rest();
  return { kind: 'create', ...name, ifExists, ...options, query, queryOffset: offset };
}

/** pg_tviews' first form. `WITH NO DATA` would be a tview that is not in step; the parser of the query refuses it. */
function createTableAs(cursor: Cursor, ifExists: CreateTview['ifExists']): ParsedCreate {
  const name = tviewName(cursor);
  cursor.expect('as');
  const { query, offset } = cursor.rest();
  return { kind: 'create', ...name, ifExists, key: null, query, queryOffset: offset };
}

function createCall(cursor: Cursor): ParsedCreate {
  const name = nameInString(cursor);
  cursor.expect(',');
  const literal = stringArgument(cursor);
  cursor.expect(')');
  cursor.expectEnd();
  // Only a dollar quote holds the query as written, so only there does a place in it lie at a known place of the text.
  const offset = literal.start + cursor.text.slice(literal.start, literal.end).indexOf(literal.value);
  const query = literal.value.trim().replace(/;$/, '');
  const shift = literal.value.indexOf(query);
  return {
    kind: 'create',
    ...name,
    ifExists: 'error',
    key: null,
    query,
    queryOffset: Math.max(offset, literal.start) + Math.max(shift, 0),
  };
}

function dropCall(cursor: Cursor): DropTview {
  const name = nameInString(cursor);
  let ifExists = false;
  if (cursor.accept(',')) {
    if (cursor.accept('true')) ifExists = true;
    else cursor.expect('false');
  }
  cursor.expect(')');
  cursor.expectEnd();
  return { kind: 'drop', ...name, ifExists };
}

function dropTviews(cursor: Cursor): DropTview[] {
  const ifExists = cursor.accept('if', 'exists');
  const dropped: DropTview[] = [];
  do dropped.push({ kind: 'drop', ...tviewName(cursor), ifExists });
  while (cursor.accept(','));
  cursor.accept('restrict');
  cursor.expectEnd();
  return dropped;
}

interface TviewName {
  readonly schema: string | null;
  readonly name: string;
}

function tviewName(cursor: Cursor): TviewName {
  const first = cursor.take('word', 'quoted');
  if (!cursor.accept('.')) return checkedName(null, first.value, first.start);
  const second = cursor.take('word', 'quoted');
  return checkedName(first.value, second.value, second.start);
}

/** `'tv_x'` or `'shop.tv_x'`: a string that holds a name, read as the server reads a regclass literal. */
function nameInString(cursor: Cursor): TviewName {
  const literal = stringArgument(cursor);
  const parts: string[] = [];
  for (let token = nextToken(literal.value, 0); token !== null; token = nextToken(literal.value, token.end)) {
    const separates = parts.length % 2 === 1;
    const fits = separates ? token.value === '.' : token.kind === 'word' || token.kind === 'quoted';
    if (!fits) throw badName(literal.value, literal.start);
    parts.push(token.value);
  }
  const [first, , second] = parts;
  if (parts.length === 3) return checkedName(first!, second!, literal.start);
  if (parts.length === 1) return checkedName(null, first!, literal.start);
  throw badName(literal.value, literal.start);
}

function stringArgument(cursor: Cursor): Token {
  const token = cursor.peek();
  if (token?.kind === 'string') return cursor.take('string');
  throw new TviewsError(SqlState.syntaxError, 'the arguments must be string literals', {
    position: (token?.start ?? 0) + 1,
    hint: "Write SELECT pg_tviews_create('tv_name', $$SELECT …$$), without parameters or expressions.",
  });
}

/** PostgreSQL keeps 63 bytes of a name and drops the rest; with v_… beside tv_… that could hit another object. */
const longestName = 63;

function checkedName(schema: string | null, name: string, offset: number): TviewName {
  if (!name.startsWith('tv_') || name.length === 'tv_'.length) throw badName(name, offset);
  if (Buffer.byteLength(name) > longestName) {
    throw new TviewsError(invalidName, `name of tview "${name}" is longer than ${longestName} bytes`, {
      position: offset + 1,
      hint: 'Choose a shorter name: PostgreSQL would cut it off.',
    });
  }
  return { schema, name };
}

function badName(name: string, offset: number): TviewsError {
  return new TviewsError(invalidName, `"${name}" is not a name for a tview`, {
    position: offset + 1,
    detail:
      'The table of a tview is called tv_<entity>, its definition is installed beside it as the view v_<entity>.',
    hint: `Call it tv_${/^\w+$/.test(name) ? name.replace(/^tv_?/, '') || 'name' : 'name'}.`,
  });
}

type Options = Pick<CreateTview, 'key' | 'fullRefresh'>;

/** `WITH (key = 'a, b', full_refresh = 'c, shop.d')`, after the opening parenthesis. */
function withOptions(cursor: Cursor): Options {
  let key: Options['key'] = null;
  let fullRefresh: Options['fullRefresh'];
  const seen = new Set<string>();
  do {
    const option = cursor.take('word', 'quoted');
    if (option.value !== 'key' && option.value !== 'full_refresh') {
      throw new TviewsError(SqlState.invalidParameterValue, `unrecognized tview option "${option.value}"`, {
        position: option.start + 1,
        hint: "The options are key and full_refresh: WITH (key = 'column, …', full_refresh = 'table, …').",
      });
    }
    if (seen.has(option.value)) {
      throw new TviewsError(SqlState.syntaxError, `option "${option.value}" specified more than once`, {
        position: option.start + 1,
      });
    }
    seen.add(option.value);
    cursor.expect('=');
    const value = cursor.take('string', 'word', 'quoted');
    if (option.value === 'key') key = value.kind === 'string' ? columnList(value) : [value.value];
    else fullRefresh = value.kind === 'string' ? tableList(value) : [{ schema: null, name: value.value }];
  } while (cursor.accept(','));
  cursor.expect(')');
  return fullRefresh === undefined ? { key } : { key, fullRefresh };
}

/** The dotted names in `'a, shop."B c"'`: quoted or folded. Null: it is no such list. */
function nameList(literal: Token): string[][] | null {
  const names: string[][] = [];
  let wanted: 'name' | 'part' | 'separator' = 'name';
  for (let token = nextToken(literal.value, 0); token !== null; token = nextToken(literal.value, token.end)) {
    if (wanted === 'separator') {
      if (token.kind !== 'symbol' || (token.value !== ',' && token.value !== '.')) return null;
      wanted = token.value === ',' ? 'name' : 'part';
      continue;
    }
    if (token.kind !== 'word' && token.kind !== 'quoted') return null;
    if (wanted === 'name') names.push([token.value]);
    else names.at(-1)!.push(token.value);
    wanted = 'separator';
  }
  return wanted === 'separator' && new Set(names.map((name) => JSON.stringify(name))).size === names.length
    ? names
    : null;
}

/** The column names in `'a, "B c"'`. */
function columnList(literal: Token): readonly string[] {
  const names = nameList(literal);
  if (names?.every((parts) => parts.length === 1)) return names.flat();
  throw new TviewsError(
    SqlState.invalidParameterValue,
    `invalid value for option "key": '${literal.value}'`,
    {
      position: literal.start + 1,
      hint: "Name each output column of the key once, separated by commas: key = 'pk_order, line'.",
    },
  );
}

function tableList(literal: Token): NonNullable<Options['fullRefresh']> {
  if (literal.value.trim() === '*') return '*';
  const names = nameList(literal);
  if (names?.every((parts) => parts.length <= 2)) {
    return names.map((parts) => ({ schema: parts.length === 2 ? parts[0]! : null, name: parts.at(-1)! }));
  }
  throw new TviewsError(
    SqlState.invalidParameterValue,
    `invalid value for option "full_refresh": '${literal.value}'`,
    {
      position: literal.start + 1,
      hint: "Name each table once, separated by commas, or all of them by an asterisk: full_refresh = 'shop.currency, rate'.",
    },
  );
}

/** Lets PostgreSQL's grammar read the query, and moves the place of an error into the text the user wrote. */
async function checkQuery(statement: CreateTview, text: string, offset: number): Promise<void> {
  const verbatim = text.startsWith(statement.query, offset);
  const moved = (position: number): number => (verbatim ? offset + position : offset + 1);
  let kinds: string[];
  try {
    const tree = await parseSql(statement.query);
    kinds = tree.map((node) => Object.keys(node)[0] ?? 'nothing');
  } catch (error) {
    if (!(error instanceof TviewsError) || error.position === undefined) throw error;
    const before = [...statement.query].slice(0, error.position - 1).join('');
    throw atPosition(error, moved(before.length + 1));
  }
  if (kinds.length !== 1 || kinds[0] !== 'SelectStmt') {
    throw new TviewsError(SqlState.syntaxError, 'the definition of a tview must be one SELECT', {
      position: moved(1),
      hint: `Write CREATE TVIEW ${statement.name} AS SELECT …;`,
    });
  }
}

/**
 * Whether a statement begins like one of ours, so that the proxy reads it itself instead of sending it on. Cheap,
 * synchronous and without the grammar: it looks at the first words and never throws.
 */
export function looksLikeTviewStatement(sql: string): boolean {
  const at = startOf(sql);
  if (at === null) return false;
  const head = sql.slice(at, at + 6).toLowerCase();
  if (head !== 'create' && head !== 'select' && !head.startsWith('drop')) return false;
  const first = firstTokens(sql, at, 12);
  if (first === null) return false;
  const cursor = new Cursor(sql, first);
  if (cursor.accept('create', 'tview') || cursor.accept('create', 'or', 'replace', 'tview')) return true;
  if (cursor.accept('drop', 'tview')) return true;
  if (cursor.accept('create', 'table')) {
    cursor.accept('if', 'not', 'exists');
    return namesTview(cursor);
  }
  if (!cursor.accept('select')) return false;
  cursor.accept('public', '.');
  return cursor.accept('pg_tviews_create', '(') || cursor.accept('pg_tviews_drop', '(');
}

/** `[schema.]tv_… AS` comes next. */
function namesTview(cursor: Cursor): boolean {
  const isName = (token: Token | undefined): boolean => token?.kind === 'word' || token?.kind === 'quoted';
  const qualified = cursor.peek(1)?.value === '.';
  const name = cursor.peek(qualified ? 2 : 0);
  if (!isName(cursor.peek()) || !isName(name) || !name!.value.startsWith('tv_')) return false;
  const after = cursor.peek(qualified ? 3 : 1);
  return after?.kind === 'word' && after.value === 'as';
}

function startOf(sql: string): number | null {
  try {
    return skipBlanks(sql, 0);
  } catch (error) {
    // An unterminated comment: the server's error is the one to show.
    if (error instanceof TviewsError) return null;
    throw error;
  }
}

function firstTokens(sql: string, at: number, count: number): Token[] | null {
  const tokens: Token[] = [];
  try {
    for (let token = nextToken(sql, at); token !== null; token = nextToken(sql, token.end)) {
      tokens.push(token);
      if (tokens.length >= count) break;
    }
  } catch (error) {
    // Something unterminated after the first words. If they are ours we shall say so ourselves; else the server will.
    if (error instanceof TviewsError) return tokens;
    throw error;
  }
  return tokens;
}
