/** Images: link values must come back from JSON exactly, whatever their type and the writer's settings. */
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { captureSettings, imageExpression, imagesRelation } from '../../../src/database/image.ts';
import type { Column } from '../../../src/definition/plan.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';

let database: FreshDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await freshDatabase({
    sql: `
      CREATE TYPE colour AS ENUM ('red', 'dark "blue"');
      CREATE DOMAIN positive AS numeric CHECK (value > 0);
      CREATE TYPE pair AS (a int, b text);`,
  });
  client = await database.client();
});
afterAll(() => database.drop());

const values: Record<string, readonly string[]> = {
  smallint: ['-32768'],
  integer: ['2147483647'],
  bigint: ['9223372036854775807', '-9007199254740993'],
  numeric: ['1.0', '1.00', '-0.000', '123456789012345678901234567890.123456789', 'NaN', 'Infinity'],
  'numeric(10,2)': ['1.50'],
  real: ['1e-7', '-0', '0.1', 'NaN', '-Infinity'],
  'double precision': ['0.1', '1e308', '2.2250738585072014e-308', '-0'],
  text: ['', ' ', 'null', '{"a": "\\u0041"}', 'line\nbreak', 'ünïcödé 🚀', "quote ' and \\ back"],
  'character varying(5)': ['ab'],
  'character(5)': ['ab', '     '],
  boolean: ['true', 'false'],
  uuid: ['6c1f3f0e-0a0b-4c0d-8e0f-112233445566'],
  date: ['2026-02-03', '0044-03-15 BC', 'infinity', '12345-01-01'],
  'timestamp without time zone': [
    '2026-02-03 04:05:06.123456',
    '-infinity',
    '0044-03-15 00:00:00 BC',
    '20000-01-01',
  ],
  'timestamp with time zone': [
    '2026-02-03 04:05:06.123456+05:30',
    'infinity',
    '1800-01-01 00:00:00+00',
    '0044-03-15 00:00:00+00 BC',
  ],
  'time with time zone': ['04:05:06.1+02'],
  interval: ['1 year -2 days +03:04:05.6', '-1 day'],
  bytea: ['\\x00ff5c27', '\\x'],
  jsonb: ['null', '1.0', '"a"', '{"a": [1, null]}'],
  json: ['{"b":1,  "b":2}'],
  'public.colour': ['dark "blue"'],
  'public.positive': ['1.50'],
  'public.pair': ['(1,"a ""b"", c")'],
  'integer[]': ['{1,NULL,3}', '{}', '[2:3]={5,6}', '{{1,2},{3,4}}'],
  'text[]': ['{a,"b,c",NULL,"NULL"}'],
  'timestamp with time zone[]': ['{"2026-02-03 04:05:06+05"}'],
  int4range: ['[1,5)', 'empty'],
  inet: ['10.0.0.1', '10.0.0.0/8', '::1'],
  'bit(3)': ['101'],
  '"char"': ['x'],
  name: ['some_name'],
};

/** Settings a writer may have, each of which changes how some type is written. */
const writers = [
  '',
  `SET TimeZone = 'Europe/Amsterdam'; SET DateStyle = 'German'; SET IntervalStyle = 'sql_standard'; SET extra_float_digits = -15; SET bytea_output = 'escape'`,
  `SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'iso_8601'`,
];

for (const [type, texts] of Object.entries(values)) {
  test(`${type} comes back as it was`, async () => {
    for (const writer of writers) {
      const column: Column = { name: 'the "value"', type, collation: null };
      await client.query('BEGIN');
      await client.query(`CREATE TEMP TABLE samples (id int, "the ""value""" ${type}) ON COMMIT DROP`);
      await client.query(
        `INSERT INTO samples SELECT row_number() OVER (), v::${type} FROM unnest($1::text[]) AS v UNION ALL SELECT 0, NULL`,
        [texts],
      );
      await client.query(writer);
      const settings = Object.entries(captureSettings([column])).filter(([name]) => name !== 'search_path');
      for (const [name, value] of settings)
        await client.query(`SELECT set_config($1, $2, true)`, [name, value]);
      const written = await client.query<{ images: string }>(
        `SELECT jsonb_agg(${imageExpression('s', [column])} ORDER BY id)::text AS images FROM samples AS s`,
      );
      await client.query('RESET ALL');
      const { rows } = await client.query<{ same: boolean; text: string | null }>(
        `WITH changed AS (${imagesRelation('$1::text::jsonb', [column])}),
           numbered AS (SELECT row_number() OVER () - 1 AS id, changed.* FROM changed)
         SELECT ROW(n."the ""value""")::record *= ROW(s."the ""value""")::record AS same, s."the ""value"""::text AS text
         FROM samples AS s LEFT JOIN numbered AS n USING (id)`,
        [written.rows[0]!.images],
      );
      expect(rows.filter(({ same }) => !same)).toEqual([]);
      expect(rows).toHaveLength(texts.length + 1);
      await client.query('ROLLBACK');
    }
  });
}

test('a row of more columns than one function call takes keeps them all', async () => {
  const columns = Array.from({ length: 120 }, (_, i) => ({
    name: `c${i}`,
    type: 'integer',
    collation: null,
  }));
  const { rows } = await client.query<{ image: Record<string, number> }>(
    `SELECT ${imageExpression('r', columns)} AS image FROM (SELECT ${columns.map(({ name }, i) => `${i} AS ${name}`).join(', ')}) AS r`,
  );
  expect(Object.keys(rows[0]!.image)).toHaveLength(120);
});
