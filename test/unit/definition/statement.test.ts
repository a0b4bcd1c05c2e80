import { describe, expect, test } from 'vitest';
import {
  describeInFile,
  looksLikeTviewStatement,
  parseTviewStatements,
  placeOf,
} from '../../../src/definition/statement.ts';
import { TviewsError } from '../../../src/errors/errors.ts';

async function failure(text: string): Promise<TviewsError> {
  try {
    await parseTviewStatements(text);
  } catch (error) {
    if (error instanceof TviewsError) return error;
    throw error;
  }
  throw new Error(`accepted: ${text}`);
}

describe('a file of tview statements', () => {
  test('yields every statement with its place', async () => {
    const text = [
      '-- products; with a semicolon',
      'CREATE TVIEW tv_product AS',
      "  SELECT p.pk_product, 'a;b' AS note, $tag$;$tag$ AS other FROM product p -- ;",
      "  /* ; /* nested ; */ */ WHERE p.name <> E'\\';';",
      '',
      '  DROP TVIEW IF EXISTS shop.tv_old, "Shop"."tv_Older";',
    ].join('\n');
    const found = await parseTviewStatements(text);
    expect(found).toEqual([
      {
        statement: {
          kind: 'create',
          schema: null,
          name: 'tv_product',
          ifExists: 'error',
          key: null,
          query: text.slice(text.indexOf('SELECT'), text.indexOf(';\n\n')),
        },
        offset: text.indexOf('CREATE'),
        queryOffset: text.indexOf('SELECT'),
        line: 2,
        column: 1,
      },
      {
        statement: { kind: 'drop', schema: 'shop', name: 'tv_old', ifExists: true },
        offset: text.indexOf('DROP'),
        queryOffset: null,
        line: 6,
        column: 3,
      },
      {
        statement: { kind: 'drop', schema: 'Shop', name: 'tv_Older', ifExists: true },
        offset: text.indexOf('DROP'),
        queryOffset: null,
        line: 6,
        column: 3,
      },
    ]);
  });

  test('may be empty', async () => {
    expect(await parseTviewStatements(' ; -- nothing\n;;')).toEqual([]);
  });

  test.each([
    ['CREATE TVIEW IF NOT EXISTS tv_a AS SELECT 1', 'skip'],
    ['create or replace tview tv_a as select 1', 'replace'],
    ['CREATE TABLE IF NOT EXISTS tv_a AS SELECT 1', 'skip'],
    ['CREATE TABLE tv_a AS WITH q AS (SELECT 1) SELECT * FROM q', 'error'],
  ])('%s', async (text, ifExists) => {
    const [found] = await parseTviewStatements(text);
    expect(found?.statement).toMatchObject({ kind: 'create', name: 'tv_a', ifExists });
  });

  test.each([
    ["'pk_a'", ['pk_a']],
    ['\'a, B , "B c"\'', ['a', 'b', 'B c']],
    ['pk_a', ['pk_a']],
    ['$$a,b$$', ['a', 'b']],
  ])('WITH (key = %s) names the key columns', async (option, key) => {
    const [found] = await parseTviewStatements(`CREATE TVIEW s.tv_a WITH (key = ${option}) AS SELECT 1`);
    expect(found?.statement).toMatchObject({ schema: 's', key });
  });

  test.each([
    ["'*'", '*'],
    ["' * '", '*'],
    ['rate', [{ schema: null, name: 'rate' }]],
    [
      `'rate, shop."B, c" , D'`,
      [
        { schema: null, name: 'rate' },
        { schema: 'shop', name: 'B, c' },
        { schema: null, name: 'd' },
      ],
    ],
  ])('WITH (full_refresh = %s) names tables', async (option, fullRefresh) => {
    for (const options of [`full_refresh = ${option}, key = a`, `key = a, full_refresh = ${option}`]) {
      const [found] = await parseTviewStatements(`CREATE TVIEW tv_a WITH (${options}) AS SELECT 1`);
      expect(found?.statement).toMatchObject({ key: ['a'], fullRefresh });
    }
  });

  test('takes the forms of pg_tviews', async () => {
    const text = `SELECT pg_tviews_create('tv_a', $$ SELECT 'x' AS pk_a; $$);
      SELECT public.pg_tviews_create('shop."tv_B"', 'SELECT ''x'' AS pk_a');
      SELECT pg_tviews_drop('tv_a'); select pg_tviews_drop('tv_a', true)`;
    expect((await parseTviewStatements(text)).map(({ statement }) => statement)).toEqual([
      {
        kind: 'create',
        schema: null,
        name: 'tv_a',
        ifExists: 'error',
        key: null,
        query: "SELECT 'x' AS pk_a",
      },
      {
        kind: 'create',
        schema: 'shop',
        name: 'tv_B',
        ifExists: 'error',
        key: null,
        query: "SELECT 'x' AS pk_a",
      },
      { kind: 'drop', schema: null, name: 'tv_a', ifExists: false },
      { kind: 'drop', schema: null, name: 'tv_a', ifExists: true },
    ]);
  });

  test('points at a syntax error in the text as written, in characters', async () => {
    const text = "-- é 日本 🙂\nCREATE TVIEW tv_a AS\n  SELECT '🙂' AS pk_a FORM t WHERE x;";
    const error = await failure(text);
    expect(error).toMatchObject({ code: '42601', position: [...text].indexOf('M') - 2 });
    expect(placeOf(text, error.position!)).toEqual({ line: 3, column: 22 });
    expect(describeInFile('shop.sql', text, error)).toBe('shop.sql:3:22: syntax error at or near "FORM"');
  });

  test('points into a dollar-quoted query', async () => {
    const text = "SELECT pg_tviews_create('tv_a', $$ SELECT 1 FRM x y $$)";
    expect((await failure(text)).position).toBe(text.indexOf('x y') + 1);
  });

  test.each([
    ["CREATE TVIEW tv_a AS SELECT 'abc", '42601', 'unterminated quoted string', 29],
    ['CREATE TVIEW tv_a AS SELECT /* 1', '42601', 'unterminated /* comment', 29],
    ['CREATE TVIEW tv_a AS SELECT $x$ 1', '42601', 'unterminated dollar-quoted string', 29],
    ['CREATE TVIEW tv_a', '42601', 'syntax error at end of input', 18],
    ['CREATE TVIEW tv_a AS', '42601', 'syntax error at end of input', 21],
    ['CREATE TVIEW tv_a SELECT 1', '42601', 'syntax error at or near "SELECT"', 19],
    ['CREATE TVIEW tv_a AS DELETE FROM t', '42601', 'the definition of a tview must be one SELECT', 22],
    ['CREATE TABLE tv_a AS SELECT 1 WITH NO DATA', '42601', 'syntax error at or near "WITH"', 31],
    ['INSERT INTO t VALUES (1)', '42601', 'this is not a tview statement, at or near "INSERT"', 1],
    ['DROP TVIEW tv_a CASCADE', '42601', 'syntax error at or near "CASCADE"', 17],
    ['CREATE TVIEW product AS SELECT 1', '42602', '"product" is not a name for a tview', 14],
    ['CREATE TVIEW s.tv_ AS SELECT 1', '42602', '"tv_" is not a name for a tview', 16],
    ['DROP TVIEW product', '42602', '"product" is not a name for a tview', 12],
    ["SELECT pg_tviews_create('a.b.tv_c', 'SELECT 1')", '42602', '"a.b.tv_c" is not a name for a tview', 25],
    ['SELECT pg_tviews_create($1, $2)', '42601', 'the arguments must be string literals', 25],
    ['CREATE TVIEW tv_a WITH (speed = 1) AS SELECT 1', '22023', 'unrecognized tview option "speed"', 25],
    ["CREATE TVIEW tv_a WITH (key = '') AS SELECT 1", '22023', `invalid value for option "key": ''`, 31],
    [
      "CREATE TVIEW tv_a WITH (key = 'a b') AS SELECT 1",
      '22023',
      `invalid value for option "key": 'a b'`,
      31,
    ],
    [
      "CREATE TVIEW tv_a WITH (key = 'a', key = 'b') AS SELECT 1",
      '42601',
      'option "key" specified more than once',
      36,
    ],
    [
      "CREATE TVIEW tv_a WITH (full_refresh = 'a.b.c') AS SELECT 1",
      '22023',
      `invalid value for option "full_refresh": 'a.b.c'`,
      40,
    ],
    [
      `CREATE TVIEW tv_a WITH (key = 'a "," b') AS SELECT 1`,
      '22023',
      `invalid value for option "key": 'a "," b'`,
      31,
    ],
    [
      `CREATE TVIEW tv_${'a'.repeat(61)} AS SELECT 1`,
      '42602',
      `name of tview "tv_${'a'.repeat(61)}" is longer than 63 bytes`,
      14,
    ],
  ])('%s is turned down', async (text, code, message, position) => {
    expect(await failure(text)).toMatchObject({ code, message, position });
  });

  test('suggests a name', async () => {
    expect((await failure('CREATE TVIEW product AS SELECT 1')).hint).toBe('Call it tv_product.');
  });
});

describe('looksLikeTviewStatement', () => {
  test.each([
    'CREATE TVIEW x AS SELECT 1',
    '  /* c */ -- d\n create or replace tview x as select 1',
    'CREATE TVIEW IF NOT EXISTS tv_a AS SELECT 1',
    'DROP TVIEW tv_a',
    'CREATE TABLE tv_a AS SELECT 1',
    'CREATE TABLE IF NOT EXISTS shop."tv_a" AS SELECT 1',
    "SELECT pg_tviews_create('tv_a', $$SELECT 'unterminated$$)",
    "select public . pg_tviews_drop ('tv_a')",
    "CREATE TVIEW tv_a AS SELECT 'unterminated",
  ])('yes: %s', (sql) => {
    expect(looksLikeTviewStatement(sql)).toBe(true);
  });

  test.each([
    '',
    'SELECT 1',
    'SELECT * FROM pg_tviews_create',
    'CREATE TABLE tv_a (id int)',
    'CREATE TABLE tv_a',
    'CREATE TABLE other AS SELECT 1',
    'CREATE TEMP TABLE tv_a AS SELECT 1',
    'CREATE VIEW tview AS SELECT 1',
    'DROP TABLE tview',
    "INSERT INTO log VALUES ('CREATE TVIEW tv_a')",
    '/* CREATE TVIEW tv_a',
    '-- CREATE TVIEW tv_a',
    '"CREATE" TVIEW x',
    "'",
  ])('no: %s', (sql) => {
    expect(looksLikeTviewStatement(sql)).toBe(false);
  });
});
