/** Keys that are computed from a row: whatever the row holds, and whoever applies and writes, the tview equals its definition. */
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { explanationLines } from '../../../src/cli/explain-text.ts';
import { dropTview } from '../../../src/database/drop.ts';
import { explainTview } from '../../../src/database/explain.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { applyOnline } from '../../../src/database/online-apply.ts';
import { repairPending } from '../../../src/database/repair.ts';
import { inTransaction } from '../../../src/database/session.ts';
import { divergentRows, rebuild, verifyTview } from '../../../src/database/verify.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { apply, create } from './support.ts';

let database: FreshDatabase;
let owner: pg.Client;

beforeAll(async () => {
  database = await freshDatabase({ schema: 'shop' });
  owner = await database.client();
  await init(executorOf(owner));
});
afterAll(() => database.drop());

interface Written {
  readonly of: string;
  readonly columns: string;
  readonly sql: string;
  readonly key: readonly string[];
  readonly writes: readonly string[];
}

const odd = `SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Kathmandu'; SET IntervalStyle = 'sql_standard'; SET extra_float_digits = -10`;
const usual = 'RESET DateStyle; RESET TimeZone; RESET IntervalStyle; RESET extra_float_digits';

const written: readonly Written[] = [
  {
    of: 'columns of different collations',
    columns: 'a text COLLATE "C" NOT NULL, b text COLLATE "POSIX" NOT NULL',
    sql: `SELECT length(t.a || t.b) AS k, (t.a < 'M') AS l, count(*) FROM t GROUP BY 1, 2`,
    key: ['k', 'l'],
    writes: ["INSERT INTO t VALUES (1, 'ä', 'b'), (2, 'X', '')", "UPDATE t SET a = 'Z'", 'DELETE FROM t'],
  },
  {
    of: "constants, which the applier's session shows in its own way",
    columns: 'd timestamptz NOT NULL, i interval NOT NULL',
    sql: `SELECT (t.d > timestamptz '2020-02-03 04:05:06+02') AS k, (t.i > interval '-1 year 2 mons') AS l,
            t.id * float8 '0.12345678901234567' AS f, count(*)
          FROM t GROUP BY 1, 2, 3`,
    key: ['k', 'l', 'f'],
    writes: ["INSERT INTO t VALUES (1, now(), '1 year'), (2, '-infinity', '-20 years')", 'DELETE FROM t'],
  },
  {
    of: "moments, of which the writer's session has another idea",
    columns: 'ts timestamptz NOT NULL, d date NOT NULL',
    sql: `SELECT t.ts::text AS a, t.d::text AS b, date_trunc('day', t.ts) AS c, t.ts::date AS e, date_trunc('month', t.d) AS f,
            COALESCE(to_char(t.ts, 'YYYY TMMonth'), '') AS g, (t.ts > t.d) AS h, count(*)
          FROM t GROUP BY 1, 2, 3, 4, 5, 6, 7`,
    key: ['a', 'b', 'c', 'e', 'f', 'g', 'h'],
    writes: [
      "INSERT INTO t VALUES (1, '2020-01-01 23:30', '2020-02-01'), (2, 'infinity', '-infinity')",
      "UPDATE t SET ts = timestamptz '0044-03-15 12:00 BC'",
      'DELETE FROM t',
    ],
  },
  {
    of: 'equal numbers that look different',
    columns: 'n numeric NOT NULL, f float8 NOT NULL',
    sql: `SELECT t.n * 1.0 AS k, t.f * 1.0::float8 AS f, count(*) FROM t GROUP BY 1, 2`,
    key: ['k', 'f'],
    writes: [
      "INSERT INTO t VALUES (1, 1.0, '-0')",
      'INSERT INTO t VALUES (2, 1.00, 0)',
      'DELETE FROM t WHERE id = 1',
      "INSERT INTO t VALUES (3, 'NaN', 'NaN'), (4, 'infinity', '-infinity')",
      'UPDATE t SET n = -n',
    ],
  },
  {
    of: 'a number beside its text',
    columns: 'n numeric NOT NULL',
    sql: 'SELECT t.n, t.n::text AS k, count(*) FROM t GROUP BY t.n, t.n::text',
    key: ['n', 'k'],
    writes: ['INSERT INTO t VALUES (1, 1.0)', 'INSERT INTO t VALUES (2, 1.00)', 'UPDATE t SET n = 1.0'],
  },
  {
    of: 'branches of different types',
    columns: 'n numeric(6, 2) NOT NULL, i int NOT NULL',
    sql: `SELECT t.n::numeric(6, 1) AS k FROM t UNION SELECT t.i + 1 FROM t`,
    key: ['k'],
    writes: ['INSERT INTO t VALUES (1, 1.25, 0), (2, 1.3, 1)', 'UPDATE t SET i = 0', 'DELETE FROM t'],
  },
  {
    of: 'all that has a syntax of its own, and odd names',
    columns: `"Gr oup" text NOT NULL, "end" int NOT NULL, "user" varchar(4) NOT NULL, "%" int NOT NULL`,
    sql: `SELECT lower(t."Gr oup") || t."user" AS "k ey", CASE WHEN t."end" > 1 THEN t."%" ELSE -5 END::text AS "or""der",
            (NOT (t."end" > 1 OR t."%" > 8 AND t."user" ~~ 'a%')) IS NOT NULL AS "not", (t."end" > 1) = (t."%" > 1) AS b,
            t."end" - (t."%" - 1) * -2 AS c, CASE t."end" + 1 WHEN 2 THEN 1 WHEN t."%" THEN 3 ELSE 0 END AS d,
            trim(both 'x' from t."user") AS e, substring(t."Gr oup" from 2 for 3) AS f, t."Gr oup" ~* '^a.*\\d' AS g,
            t."user" || '\\' || '''' AS h
          FROM t`,
    key: ['k ey', 'or"der', 'not', 'b', 'c', 'd', 'e', 'f', 'g', 'h'],
    writes: [
      `INSERT INTO t VALUES (1, 'A9', 1, 'xbx', 7)`,
      `UPDATE t SET "end" = 2`,
      `UPDATE t SET "end" = 1, "%" = 9, "user" = '\\'`,
    ],
  },
  {
    of: 'a window by a column and an expression',
    columns: 'n int NOT NULL, a text NOT NULL',
    sql: `SELECT t.n, lower(t.a) AS k, t.id, sum(t.id) OVER (PARTITION BY t.n, lower(t.a)) AS s FROM t`,
    key: ['n', 'k', 'id'],
    writes: [
      "INSERT INTO t VALUES (1, 1, 'A'), (2, 1, 'a'), (3, 2, 'a')",
      'UPDATE t SET n = 1',
      "UPDATE t SET a = 'b' WHERE id = 2",
    ],
  },
  {
    of: 'a table below itself',
    columns: 'p int, a text NOT NULL',
    sql: `SELECT lower(r.a) AS k, r.id / 2 AS h, count(c.id) AS n, max(c.a) AS m FROM t r LEFT JOIN t c ON c.p = r.id GROUP BY 1, 2`,
    key: ['k', 'h'],
    writes: [
      "INSERT INTO t VALUES (1, NULL, 'A'), (2, 1, 'b'), (3, 1, 'C'), (4, 2, 'D')",
      'UPDATE t SET p = 2',
      'UPDATE t SET id = id + 10, a = lower(a)',
      'DELETE FROM t WHERE id = 11',
    ],
  },
];

test.each(written)('$of', async ({ columns, sql, key, writes }) => {
  await owner.query(`CREATE TABLE t (id int PRIMARY KEY, ${columns})`);
  await owner.query(odd);
  try {
    await apply(owner, 'tv_t', sql, { key });
    for (const write of writes) {
      await owner.query(write);
      expect(await divergence(owner, 'shop.tv_t'), write).toEqual(inStep);
    }
    expect(divergentRows(await verifyTview(executorOf(owner), 'tv_t'))).toBe(0);
  } finally {
    await owner.query(usual);
    await inTransaction(executorOf(owner), () =>
      dropTview(executorOf(owner), { kind: 'drop', schema: 'shop', name: 'tv_t', ifExists: true }),
    );
    await owner.query('DROP TABLE t');
  }
});

describe('once it is there', () => {
  const query = `SELECT lower(m.mail) AS mail, date_trunc('month', m.at AT TIME ZONE 'UTC')::date AS month, count(*), sum(m.n / 10) AS tens
    FROM mails m WHERE m.n / 10 > -5 GROUP BY 1, 2`;
  const plain = 'SELECT m.mail, m.n AS month, count(*) FROM mails m GROUP BY 1, 2';
  const applying = (sql: string) =>
    applyOnline(executorOf(owner), create('tv_mail', sql, { ifExists: 'replace' }));
  const write = async (...writes: string[]) => {
    for (const sql of writes) {
      await owner.query(sql);
      expect(await divergence(owner, 'shop.tv_mail'), sql).toEqual(inStep);
    }
  };

  beforeEach(async () => {
    await owner.query(`
      CREATE TABLE letter (id int PRIMARY KEY, mail text NOT NULL, other text NOT NULL, n int NOT NULL, at timestamptz NOT NULL);
      CREATE VIEW mails AS SELECT l.id, l.mail, l.n, l.at FROM letter l;
      INSERT INTO letter SELECT i, chr(65 + i % 3) || '@x', chr(100 + i % 5), i * 7, '2024-01-01'::timestamptz + i * interval '11 days'
      FROM generate_series(1, 12) AS i`);
    expect(await applying(query)).toMatchObject({ action: 'created' });
    await write("INSERT INTO letter VALUES (20, 'B@X', 'z', 3, '2024-03-01')");
  });
  afterEach(async () => {
    await inTransaction(executorOf(owner), () =>
      dropTview(executorOf(owner), { kind: 'drop', schema: 'shop', name: 'tv_mail', ifExists: false }),
    );
    await owner.query('DROP VIEW mails; DROP TABLE IF EXISTS letter, post');
  });

  test('its columns and its table are renamed', async () => {
    await owner.query('ALTER TABLE letter RENAME at TO "sent At"; ALTER TABLE letter RENAME TO post');
    expect((await init(executorOf(owner))).followed).toMatchObject([{ outcome: 'renamed' }]);
    await write(`UPDATE post SET mail = 'R', "sent At" = "sent At" + interval '1 month' WHERE id < 4`);
    await owner.query(`
      ALTER TABLE post RENAME mail TO held; ALTER TABLE post RENAME other TO mail; ALTER TABLE post RENAME held TO other`);
    // A writer may have been misled in between.
    expect((await init(executorOf(owner))).followed).toMatchObject([{ outcome: 'changed' }]);
    await write(
      "UPDATE post SET other = 'Q@q' WHERE id < 4",
      `UPDATE post SET mail = 'no', "sent At" = "sent At" + interval '1 month' WHERE id > 8`,
      'DELETE FROM post WHERE id = 5',
    );
    expect(await applying(query)).toMatchObject({ action: 'unchanged' });
  });

  test('the view below is another, and it is applied again, with an index and without', async () => {
    await owner.query('CREATE INDEX ON letter (lower(mail))');
    expect(await applying(query)).toMatchObject({ action: 'unchanged' });
    await owner.query(
      'CREATE OR REPLACE VIEW mails AS SELECT l.id, l.other AS mail, l.n, l.at FROM letter l',
    );
    expect((await init(executorOf(owner))).followed).toMatchObject([{ outcome: 'changed' }]);
    expect((await repairPending(executorOf(owner))).failures).toEqual([]);
    await write("UPDATE letter SET other = 'Other' WHERE id < 5", "UPDATE letter SET mail = 'no'");
    expect(await applying(query)).toMatchObject({ action: 'unchanged' });
  });

  test('its key becomes a plain column, and computed again', async () => {
    expect(await applying(plain)).toMatchObject({ action: 'replaced' });
    await write("UPDATE letter SET mail = 'plain' WHERE id < 5", 'UPDATE letter SET n = n + 1');
    expect(await applying(query)).toMatchObject({ action: 'replaced' });
    await write("UPDATE letter SET mail = 'Again' WHERE id < 5", 'UPDATE letter SET n = n - 100');
  });

  test('a session that shows constants in another way applies the same definition', async () => {
    const dated = query.replace('WHERE', "WHERE m.at > timestamptz '2024-02-01 00:00+00' AND");
    expect(await applying(dated)).toMatchObject({ action: 'replaced' });
    await owner.query(odd);
    expect(await applying(dated)).toMatchObject({ action: 'unchanged' });
    await write("UPDATE letter SET mail = 'Odd' WHERE id > 5");
    await owner.query(usual);
  });

  test('it is explained and rebuilt', async () => {
    const explained = explanationLines(await explainTview(executorOf(owner), 'tv_mail')).join('\n');
    expect(explained).toContain('lower(');
    expect(explained).toContain('MISSING');
    await rebuild(executorOf(owner), 'tv_mail');
    await write("UPDATE letter SET mail = 'Rebuilt' WHERE id > 5");
  });
});
