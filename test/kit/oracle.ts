/**
 * The oracle: a tview must equal its definition's view, row for row and byte for byte. Written apart from the code that
 * `tviews verify` uses, on purpose: a mistake in one must not hide in the other.
 */
import type pg from 'pg';
import { quoteQualified } from '../../src/database/identifier.ts';

export interface Divergence {
  /** Rows of the view the table lacks. */
  readonly missing: number;
  /** Rows of the table the view does not have. */
  readonly surplus: number;
  /** Rows both have, with the same key and another content; counted in neither of the others. */
  readonly different: number;
}

/** What a test expects: `expect(await divergence(client, 'shop.tv_product')).toEqual(inStep)`. */
export const inStep: Divergence = { missing: 0, surplus: 0, different: 0 };

/** Settings that change how values turn into text and JSON; the same on both sides of the comparison. */
const pinned = {
  TimeZone: "'UTC'",
  DateStyle: "'ISO, YMD'",
  IntervalStyle: "'postgres'",
  bytea_output: "'hex'",
  extra_float_digits: '1',
  xmlbinary: "'base64'",
  search_path: 'pg_catalog',
} as const;

/** Pins them for a session, or for the transaction it is in. */
export async function pinSettings(client: pg.Client, scope: 'SESSION' | 'LOCAL'): Promise<void> {
  await client.query(
    Object.entries(pinned)
      .map(([name, value]) => `SET ${scope} ${name} = ${value}`)
      .join('; '),
  );
}

/**
 * Compares `schema.tv_x` with `schema.v_x` in one snapshot. Rows are compared as text (`row::text`), so `1.0` is not
 * `1.00`; duplicates count. `client` must not be inside a transaction.
 */
export async function divergence(
  client: pg.Client,
  tview: string,
  key?: readonly string[],
): Promise<Divergence> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    await pinSettings(client, 'LOCAL');
    const { rows } = await client.query<Record<keyof Divergence, string>>(
      await comparison(client, tview, key),
    );
    const counts = rows[0]!;
    return {
      missing: Number(counts.missing),
      surplus: Number(counts.surplus),
      different: Number(counts.different),
    };
  } finally {
    await client.query('ROLLBACK');
  }
}

/**
 * The query that compares, one row of three counts: for whoever asks often. It holds as long as neither the columns of the
 * view nor the key of the table change, and is to be run under pinned settings.
 */
export async function comparison(client: pg.Client, tview: string, key?: readonly string[]): Promise<string> {
  const [schema, table, ...rest] = tview.split('.');
  if (schema === undefined || table === undefined || rest.length > 0 || !table.startsWith('tv_')) {
    throw new Error(`divergence() wants schema.tv_name, not ${tview}`);
  }
  const tableName = quoteQualified({ schema, name: table });
  const viewName = quoteQualified({ schema, name: `v_${table.slice('tv_'.length)}` });
  const columns = key ?? (await primaryKey(client, tableName));
  // The columns of the view, by name: the table may have them in another order or have more of its own.
  const { rows: names } = await client.query<{ name: string }>(
    `SELECT quote_ident(attname) AS name FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [viewName],
  );
  const list = names.map(({ name }) => name).join(', ');
  const keyText = `ROW(${columns.map((column) => `x."${column.replaceAll('"', '""')}"`).join(', ')})::text`;
  return `
    WITH expected AS (SELECT ${keyText} AS key, x::text AS row FROM (SELECT ${list} FROM ${viewName}) AS x),
         found AS (SELECT ${keyText} AS key, x::text AS row FROM (SELECT ${list} FROM ${tableName}) AS x),
         lacking AS (TABLE expected EXCEPT ALL TABLE found),
         extra AS (TABLE found EXCEPT ALL TABLE expected)
    SELECT count(*) FILTER (WHERE in_extra = 0) AS missing,
           count(*) FILTER (WHERE in_lacking = 0) AS surplus,
           count(*) FILTER (WHERE in_lacking > 0 AND in_extra > 0) AS different
    FROM (
      SELECT key, sum(lack) AS in_lacking, sum(more) AS in_extra
      FROM (
        SELECT key, 1 AS lack, 0 AS more FROM lacking
        UNION ALL
        SELECT key, 0 AS lack, 1 AS more FROM extra
      ) AS both_sides
      GROUP BY key
    ) AS by_key
  `;
}

async function primaryKey(client: pg.Client, tableName: string): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT attribute.attname AS name
     FROM pg_index AS index
     CROSS JOIN LATERAL unnest(index.indkey::int2[]) WITH ORDINALITY AS part (attnum, place)
     JOIN pg_attribute AS attribute ON attribute.attrelid = index.indrelid AND attribute.attnum = part.attnum
     WHERE index.indrelid = $1::regclass AND index.indisprimary
     ORDER BY part.place`,
    [tableName],
  );
  if (rows.length === 0) {
    throw new Error(`${tableName} has no primary key: give divergence() the key's columns`);
  }
  return rows.map(({ name }) => name);
}
