/** What the actions of a foreign key do to tviews of both sides. */
import type pg from 'pg';
import { expect } from 'vitest';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { sqlStateOf } from '../../../src/database/session.ts';
import { freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { apply } from '../database/support.ts';

export interface ForeignKeyOutcome {
  readonly action: string;
  readonly onDelete: string;
  readonly onUpdate: string;
}

const actions = ['CASCADE', 'SET NULL', 'SET DEFAULT', 'RESTRICT', 'NO ACTION DEFERRABLE INITIALLY DEFERRED'];

export async function foreignKeyOutcomes(): Promise<readonly ForeignKeyOutcome[]> {
  const database = await freshDatabase();
  try {
    const owner = await database.client();
    await init(executorOf(owner));
    const outcomes: ForeignKeyOutcome[] = [];
    for (const [place, action] of actions.entries())
      outcomes.push(await outcomeOf(owner, `action_${place}`, action));
    return outcomes;
  } finally {
    await database.drop();
  }
}

async function outcomeOf(owner: pg.Client, schema: string, action: string): Promise<ForeignKeyOutcome> {
  const [rule, deferred = ''] = action.split(/(?= DEFERRABLE)/);
  await owner.query(`
    CREATE SCHEMA ${schema};
    SET search_path = ${schema};
    CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL);
    CREATE TABLE child (
      id int PRIMARY KEY, parent int DEFAULT 0 REFERENCES parent ON DELETE ${rule} ON UPDATE ${rule}${deferred}, name text NOT NULL
    );
    INSERT INTO parent VALUES (0, 'none'), (1, 'one'), (2, 'two');
    INSERT INTO child VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'c')`);
  await apply(
    owner,
    'tv_child',
    'SELECT c.id, c.name, p.id AS parent, p.name AS parent_name FROM child c LEFT JOIN parent p ON p.id = c.parent',
  );
  await apply(
    owner,
    'tv_parent',
    `SELECT p.id, p.name, (SELECT string_agg(c.name, ',' ORDER BY c.id) FROM child c WHERE c.parent = p.id) AS children FROM parent p`,
  );
  // Where nothing is done by itself, the application does it, later in the transaction.
  const own =
    deferred === '' ? '' : 'UPDATE child SET parent = 0 WHERE parent NOT IN (SELECT id FROM parent);';
  return {
    action,
    onDelete: await effectOf(owner, schema, `DELETE FROM parent WHERE id = 1;${own}`),
    onUpdate: await effectOf(owner, schema, `UPDATE parent SET id = 20 WHERE id = 2;${own}`),
  };
}

interface Row {
  readonly id: number;
  readonly parent: number | null;
}

/** What becomes of the children's rows in their tview, or the error. */
async function effectOf(owner: pg.Client, schema: string, sql: string): Promise<string> {
  const children = async (): Promise<readonly Row[]> =>
    (await owner.query<Row>('SELECT id, parent FROM tv_child ORDER BY id')).rows;
  const before = await children();
  let failure: string | undefined;
  try {
    await owner.query(`BEGIN; ${sql} COMMIT`);
  } catch (error) {
    failure = sqlStateOf(error);
    await owner.query('ROLLBACK');
  }
  for (const tview of ['tv_child', 'tv_parent']) {
    expect(await divergence(owner, `${schema}.${tview}`), sql).toEqual(inStep);
  }
  const after = await children();
  if (failure !== undefined) {
    expect(after).toEqual(before);
    return `fails with ${failure}`;
  }
  const gone = before.filter(({ id }) => !after.some((row) => row.id === id));
  const changed = after.filter((row) =>
    before.some(({ id, parent }) => id === row.id && parent !== row.parent),
  );
  expect(gone.length + changed.length, sql).toBeGreaterThan(0);
  return gone.length > 0
    ? 'the referring rows are gone'
    : `the referring rows show ${changed[0]!.parent === null ? 'nothing' : changed[0]!.parent === 0 ? 'the other row' : 'the new key'}`;
}
