/**
 * A flush reads rows in proportion to the keys it is about: with an index on each link, no change of one row, nor of a few,
 * reads a large table from end to end — not for the keys, the locks, the rows, nor in tviews above. Counted by PostgreSQL as
 * it happens, whatever plan it has made.
 */
import { readFileSync } from 'node:fs';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dropTview } from '../../../src/database/drop.ts';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { inTransaction } from '../../../src/database/session.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { apply } from '../database/support.ts';

interface Definition {
  readonly construct: string;
  readonly sql: string;
  readonly key?: readonly string[];
}

const definitions: readonly Definition[] = [
  {
    construct: 'a chain of ten tables',
    sql: `SELECT att.id, att.bytes, c.body, t.title, p.name AS project, a.name AS account, w.name AS author,
            (SELECT jsonb_agg(l.name ORDER BY l.id) FROM task_label tl JOIN label l ON l.id = tl.label_id WHERE tl.task_id = t.id) AS labels,
            (SELECT count(*) FROM membership m JOIN team e ON e.id = m.team_id WHERE e.project_id = p.id) AS members
          FROM attachment att
          JOIN comment c ON c.id = att.comment_id
          JOIN task t ON t.id = c.task_id
          JOIN project p ON p.id = t.project_id
          JOIN account a ON a.id = p.account_id
          JOIN person w ON w.id = c.author_id`,
  },
  {
    construct: 'LEFT JOIN and GROUP BY',
    sql: `SELECT t.id, t.title, count(c.id) AS comments, sum(att.bytes) AS bytes
          FROM task t LEFT JOIN comment c ON c.task_id = t.id LEFT JOIN attachment att ON att.comment_id = c.id
          GROUP BY t.id`,
  },
  {
    construct: 'GROUP BY a foreign key, HAVING',
    sql: `SELECT c.author_id, count(*) AS n, max(t.title) AS last FROM comment c JOIN task t ON t.id = c.task_id
          GROUP BY c.author_id HAVING count(*) > 1`,
  },
  {
    construct: 'LATERAL with LIMIT',
    sql: `SELECT t.id, newest.body FROM task t
          LEFT JOIN LATERAL (
            SELECT c.body || w.name AS body FROM comment c JOIN person w ON w.id = c.author_id
            WHERE c.task_id = t.id ORDER BY c.id DESC LIMIT 1
          ) AS newest ON true`,
  },
  {
    construct: 'EXISTS and NOT EXISTS',
    sql: `SELECT w.id, w.name,
            EXISTS (SELECT FROM comment c JOIN task t ON t.id = c.task_id WHERE c.author_id = w.id AND t.state = 'open') AS talks
          FROM person w
          WHERE NOT EXISTS (SELECT FROM membership m WHERE m.person_id = w.id AND m.role = 'banned')`,
  },
  {
    construct: 'IN',
    sql: `SELECT p.id, p.name,
            (SELECT min(w.name) FROM person w WHERE w.id IN (SELECT t.assignee_id FROM task t WHERE t.project_id = p.id)) AS lead
          FROM project p
          WHERE p.id IN (SELECT e.project_id FROM team e WHERE e.name <> 'none')`,
  },
  {
    construct: 'a self-join, in several roles',
    sql: `SELECT t.id, t.title, parent.title AS parent, grand.title AS grand,
            (SELECT jsonb_agg(k.title ORDER BY k.id) FROM task k WHERE k.parent_id = t.id) AS parts
          FROM task t LEFT JOIN task parent ON parent.id = t.parent_id LEFT JOIN task grand ON grand.id = parent.parent_id`,
  },
  {
    construct: 'a CTE, a derived table',
    sql: `WITH talk AS (SELECT c.task_id, c.author_id, c.body FROM comment c)
          SELECT t.id, s.n, (SELECT jsonb_agg(talk.body ORDER BY talk.body) FROM talk WHERE talk.task_id = t.id) AS said
          FROM task t LEFT JOIN (SELECT tl.task_id, count(*) AS n FROM task_label tl GROUP BY tl.task_id) AS s ON s.task_id = t.id`,
  },
  {
    construct: 'a many-to-many link with a composite key',
    sql: `SELECT m.team_id, m.person_id, m.role, e.name AS team, w.name AS person
          FROM membership m JOIN team e ON e.id = m.team_id JOIN person w ON w.id = m.person_id`,
    key: ['team_id', 'person_id'],
  },
  {
    construct: 'windows partitioned by the key',
    sql: `SELECT DISTINCT ON (t.project_id) t.project_id, t.title, rank() OVER w AS place, sum(t.points) OVER w AS points
          FROM task t WINDOW w AS (PARTITION BY t.project_id ORDER BY t.points, t.id)
          ORDER BY t.project_id, t.points DESC, t.id`,
    key: ['project_id'],
  },
  {
    construct: 'UNION ALL',
    sql: `SELECT 'task' AS kind, t.id, t.title, w.name AS who FROM task t LEFT JOIN person w ON w.id = t.assignee_id
          UNION ALL
          SELECT 'comment', c.id, c.body, w.name FROM comment c JOIN person w ON w.id = c.author_id`,
    key: ['kind', 'id'],
  },
  {
    construct: 'INTERSECT',
    sql: `SELECT t.id, t.state FROM task t
          INTERSECT SELECT c.task_id, 'open' FROM comment c JOIN person w ON w.id = c.author_id WHERE w.name <> 'nobody'`,
    key: ['id'],
  },
];

const tables = [
  ['account', "plan = 'paid', name = name || '!'"],
  ['person', "name = name || '!'"],
  ['project', "name = name || '!'"],
  ['team', "name = name || '!'"],
  ['membership', "role = 'banned'"],
  ['task', "title = title || '!', state = 'done', points = points + 1"],
  ['comment', "body = body || '!'"],
  ['attachment', 'bytes = bytes + 1'],
  ['label', "name = name || '!'"],
] as const;

/** Also with other links: what was referred to and what is. */
const moves: Partial<Record<string, string>> = {
  task: 'project_id = 17, assignee_id = 18, parent_id = 19',
  comment: 'task_id = 17, author_id = 18',
  attachment: 'comment_id = 17',
  project: 'account_id = 17',
  team: 'project_id = 17',
};

/** A row of a table here leads to ten, twenty rows of another; the smallest of those read has 4,000. */
const fewRows = 1500;

let database: FreshDatabase;
let owner: pg.Client;
let app: pg.Client;
beforeAll(async () => {
  database = await freshDatabase({
    schema: 'work',
    sql: readFileSync(new URL('schema.sql', import.meta.url), 'utf8'),
  });
  owner = await database.client();
  await init(executorOf(owner));
  app = await database.client(database.app);
});
afterAll(() => database.drop());

interface Reads {
  readonly table: string;
  readonly sequential: number;
  readonly fetched: number;
}

const readsSql = `
  SELECT relname AS table, seq_tup_read::int AS sequential, COALESCE(idx_tup_fetch, 0)::int AS fetched
  FROM pg_stat_xact_all_tables WHERE schemaname = $1 ORDER BY 1`;

/** What the change, and the flush it brings, read of each table of a schema. Rolled back. */
async function readsOf(change: string, schema = 'work'): Promise<Reads[]> {
  await app.query('BEGIN');
  try {
    // What is counted is this session's since it last told the server, which need not be nothing.
    const { rows: before } = await app.query<Reads>(readsSql, [schema]);
    const { rowCount } = await app.query(change);
    expect(rowCount).toBeGreaterThan(0);
    await app.query('SET CONSTRAINTS ALL IMMEDIATE');
    const { rows: after } = await app.query<Reads>(readsSql, [schema]);
    return after.map(({ table, sequential, fetched }) => {
      const had = before.find((one) => one.table === table);
      return {
        table,
        sequential: sequential - (had?.sequential ?? 0),
        fetched: fetched - (had?.fetched ?? 0),
      };
    });
  } finally {
    await app.query('ROLLBACK');
  }
}

async function requireFew(change: string): Promise<void> {
  const reads = await readsOf(change);
  const scanned = reads.filter(({ sequential }) => sequential > 0);
  expect(scanned, change).toEqual([]);
  const fetched = reads.reduce((sum, one) => sum + one.fetched, 0);
  expect(fetched, `${change}: ${JSON.stringify(reads)}`).toBeLessThan(fewRows);
}

const keyOf = (table: string): string => (table === 'membership' ? 'team_id' : 'id');

test.for(definitions)('$construct: a change reads rows, not tables', async ({ sql, key = null }) => {
  const applied = await apply(owner, 'tv_x', sql, { key });
  expect(applied.advice.filter(({ message }) => message.includes('index'))).toEqual([]);
  try {
    for (const [table, set] of tables) {
      for (const rows of [1, 8]) {
        const few = `${keyOf(table)} IN (${Array.from({ length: rows }, (_, i) => 40 + 401 * i).join(', ')})`;
        await requireFew(`UPDATE ${table} SET ${set} WHERE ${few}`);
        const move = moves[table];
        if (move !== undefined) await requireFew(`UPDATE ${table} SET ${move} WHERE ${few}`);
      }
    }
    await requireFew(`INSERT INTO task (id, project_id, title) VALUES (100000, 5, 'new')`);
    await requireFew(`INSERT INTO comment VALUES (100000, 5, 6, 'new')`);
    await requireFew(`INSERT INTO task_label VALUES (5, 11999)`);
    await requireFew(`DELETE FROM attachment WHERE id = 77`);
    await requireFew(`DELETE FROM membership WHERE team_id = 77`);
    await requireFew(`DELETE FROM task_label WHERE task_id = 77`);
    await requireFew(`DELETE FROM comment WHERE id = 77`);
  } finally {
    await dropX();
  }
});

async function dropX(): Promise<void> {
  await inTransaction(executorOf(owner), () =>
    dropTview(executorOf(owner), { kind: 'drop', schema: null, name: 'tv_x', ifExists: false }),
  );
}

test('of a few large documents the one that changes is read, not all', async () => {
  // So large that they are stored apart, and so few that their table is read from end to end to find one.
  await apply(
    owner,
    'tv_x',
    `SELECT w.id, (SELECT string_agg(md5(w.name || n), '') FROM generate_series(1, 500) AS n) AS data FROM person w WHERE w.id <= 50`,
  );
  try {
    const { rows } = await owner.query<{ documents: string }>(
      `SELECT c.reltoastrelid::regclass::text AS documents FROM pg_class c WHERE c.oid = 'tv_x'::regclass`,
    );
    const name = rows[0]!.documents.replace('pg_toast.', '');
    const reads = await readsOf(`UPDATE person SET name = name || '!' WHERE id = 7`, 'pg_toast');
    const { fetched } = reads.find(({ table }) => table === name)!;
    // A document has nine parts: to compare the old one and to take it away.
    expect(fetched).toBeGreaterThan(0);
    expect(fetched).toBeLessThan(30);
  } finally {
    await dropX();
  }
});

test('the queue is read by its index, also by a session that came when it was empty', async () => {
  await apply(owner, 'tv_x', 'SELECT w.id, w.name FROM person w');
  try {
    await owner.query('VACUUM tviews.queue');
    app = await database.client(database.app);
    for (let i = 0; i < 20; i++) {
      const reads = await readsOf(
        `UPDATE person SET name = name || '!' WHERE id IN (1, ${i + 10})`,
        'tviews',
      );
      expect(reads.find(({ table }) => table === 'queue')).toMatchObject({ sequential: 0 });
    }
  } finally {
    await dropX();
  }
});
