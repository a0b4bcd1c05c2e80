/** Partitions that come and go after a tview was applied, made by whoever owns the table and knows nothing of tviews. */
import type pg from 'pg';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Catalog } from '../../../proxy/tviews/catalog.ts';
import { changedFamilies } from '../../../src/database/family.ts';
import { status } from '../../../src/database/list.ts';
import { init, uninstall } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { repairPending } from '../../../src/database/repair.ts';
import { applyText } from '../../kit/blog.ts';
import { connectTo } from '../../kit/clients.ts';
import { tviews } from '../../kit/command.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { testProxy } from '../../kit/proxy.ts';
import { apply, untilWaiting } from './support.ts';

let database: FreshDatabase;
/** Installs tviews, and owns none of the tables. */
let owner: pg.Client;
/** Owns the tables, and has no rights on anything of ours. */
let app: pg.Client;

const tview = `SELECT s.id, s.region, s.note FROM sale s WHERE s.note <> 'hidden'`;
const sum = `SELECT c.id, (SELECT jsonb_agg(s.note ORDER BY s.id, s.region) FROM sale s WHERE s.customer = c.id) AS notes FROM customer c`;

beforeEach(async () => {
  database = await freshDatabase({ schema: 'shop' });
  owner = await database.client();
  app = await database.client(database.app);
  await owner.query(`GRANT CREATE ON SCHEMA shop TO ${database.app.role}`);
  await app.query(`
    CREATE TABLE customer (id int PRIMARY KEY);
    CREATE TABLE sale (
      id int, region int NOT NULL, customer int, note text, PRIMARY KEY (id, region)
    ) PARTITION BY LIST (region);
    CREATE TABLE sale_1 PARTITION OF sale FOR VALUES IN (1);
    CREATE TABLE sale_2 PARTITION OF sale FOR VALUES IN (2, 20) PARTITION BY LIST (region);
    CREATE TABLE sale_20 PARTITION OF sale_2 FOR VALUES IN (20);
    CREATE INDEX ON sale (customer);
    INSERT INTO customer VALUES (1), (2);
    INSERT INTO sale VALUES (1, 1, 1, 'a'), (2, 20, 1, 'b'), (3, 20, 2, 'c');
    GRANT ALL ON ALL TABLES IN SCHEMA shop TO ${database.owner.role}`);
  await init(executorOf(owner));
  await apply(owner, 'tv_sale', tview, { key: ['id', 'region'] });
  await apply(owner, 'tv_sum', sum, { key: ['id'] });
});
afterEach(() => database.drop());

const expectExact = async (): Promise<void> => {
  expect(await divergence(owner, 'shop.tv_sale')).toEqual(inStep);
  expect(await divergence(owner, 'shop.tv_sum')).toEqual(inStep);
};

/** With what a proxy has of this database; gives what that has logged. */
async function withCatalog(work: (catalog: Catalog) => Promise<void>): Promise<string[]> {
  const logged: string[] = [];
  const catalog = new Catalog(
    database.name,
    {
      ...database,
      database: database.name,
      connectTimeoutMs: 5000,
      user: database.owner.role,
      password: database.owner.password,
    },
    pino({ level: 'info' }, { write: (line: string) => logged.push(line) }),
  );
  await catalog.start();
  try {
    await work(catalog);
  } finally {
    await catalog.close();
  }
  return logged;
}

const writesToNewOnes = [
  `INSERT INTO sale_new VALUES (10, 3, 1, 'straight'), (11, 3, 2, 'straight')`,
  `INSERT INTO sale VALUES (12, 3, 1, 'through the parent')`,
  `UPDATE sale_new SET note = note || '!', customer = 2 WHERE id = 10`,
  `UPDATE sale_new SET note = note`,
  `UPDATE sale SET region = 1 WHERE id = 12`,
  `UPDATE sale SET region = 3 WHERE id = 1`,
  `DELETE FROM sale_new WHERE id = 11`,
  // Two levels further down.
  `INSERT INTO sale_deep_1 VALUES (20, 401, 1, 'deep')`,
  `UPDATE sale_deep SET note = 'deeper'`,
  `INSERT INTO sale_22 VALUES (30, 2, 2, 'in the middle')`,
  `UPDATE sale_2 SET region = CASE region WHEN 2 THEN 20 ELSE 2 END`,
  `DELETE FROM sale_22`,
  `DELETE FROM sale_deep`,
];

const newOnes = `
  CREATE TABLE sale_new PARTITION OF sale FOR VALUES IN (3);
  CREATE TABLE sale_deep PARTITION OF sale FOR VALUES IN (401, 402) PARTITION BY LIST (region);
  CREATE TABLE sale_deep_1 (LIKE sale);
  ALTER TABLE sale_deep ATTACH PARTITION sale_deep_1 FOR VALUES IN (401);
  CREATE TABLE sale_22 PARTITION OF sale_2 FOR VALUES IN (2)`;

describe('writes straight to partitions that nobody told us of are seen', () => {
  test.for([
    'past the proxy',
    'through the proxy',
    'past the proxy, of a table that is ours',
    'through the proxy, of a table that is ours',
  ])('%s', async (way) => {
    if (way.includes('ours')) await makeOwnerOfTables();
    await app.query(newOnes);
    const url = way.startsWith('past the proxy')
      ? database.app.url
      : (await testProxy(database)).url(database.app);
    const client = await connectTo(url);
    for (const write of writesToNewOnes) {
      await client.query(write);
      expect({
        write,
        sale: await divergence(owner, 'shop.tv_sale'),
        sum: await divergence(owner, 'shop.tv_sum'),
      }).toEqual({
        write,
        sale: inStep,
        sum: inStep,
      });
    }
    await client.query(`TRUNCATE sale; INSERT INTO sale VALUES (1, 1, 1, 'a')`);
    await client.query('BEGIN');
    for (const write of writesToNewOnes) await client.query(write);
    const { rows } = await client.query('SELECT note FROM tv_sale WHERE id = 10');
    // A transaction reads its own writes, those of the new partitions too.
    if (way.startsWith('through')) expect(rows).toEqual([{ note: 'straight!' }]);
    await client.query('COMMIT');
    await expectExact();
    expect((await owner.query('SELECT FROM tviews.queue')).rows).toEqual([]);
  });

  test('an update that changes nothing of what is read is none', async () => {
    await app.query(
      `${newOnes}; ALTER TABLE sale ADD COLUMN other int; INSERT INTO sale_new VALUES (10, 3, 1, 'x')`,
    );
    await app.query('BEGIN');
    await app.query('UPDATE sale_new SET other = 1');
    expect(await queuedBy(app)).toBe(0);
    await app.query(`UPDATE sale_new SET note = 'y'`);
    expect(await queuedBy(app)).toBe(1);
    await app.query('COMMIT');
    await expectExact();
  });
});

test('a write to a partition is claimed, whatever the partition is called', async () => {
  await app.query('ALTER TABLE sale_1 RENAME TO elsewhere');
  const proxy = await testProxy(database);
  const client = await connectTo(proxy.url(database.app));
  await client.query('BEGIN');
  await client.query(`INSERT INTO elsewhere VALUES (70, 1, 1, 'x')`);
  expect(await queuedBy(client)).toBe(0);
  await client.query('COMMIT');
  await expectExact();
});

/** Changes of the client's own transaction. */
async function queuedBy(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  const superuser = await database.client(database.superuser);
  const { rows: stats } = await superuser.query<{ n: number }>(
    // What a transaction has inserted and not committed, only it can see. Its row locks tell.
    `SELECT count(*)::int AS n FROM pg_locks WHERE pid = $1 AND relation = 'tviews.queue'::regclass`,
    [rows[0]!.pid],
  );
  await superuser.end();
  return stats[0]!.n;
}

/** As where one role owns everything. */
async function makeOwnerOfTables(): Promise<void> {
  const superuser = await database.client(database.superuser);
  await superuser.query(`GRANT ${database.app.role} TO ${database.owner.role}`);
  await init(executorOf(owner));
  await repairPending(executorOf(owner));
}

describe('what came and went', () => {
  const found = async () => {
    const { changedFamilies: changed, blindTables, toRepair } = await status(executorOf(owner));
    return { changed, blindTables, toRepair };
  };
  const nothing = { changed: [], blindTables: [], toRepair: 0 };

  /** `tviews init`, then `tviews verify --repair`. */
  const mend = async (): Promise<number> => {
    await init(executorOf(owner));
    const { tried, failures } = await repairPending(executorOf(owner));
    expect(failures).toEqual([]);
    return tried;
  };

  test('nothing is said of a family that is as it was', async () => {
    expect(await found()).toEqual(nothing);
    expect(await mend()).toBe(0);
    await app.query('ALTER TABLE sale_1 RENAME TO sale_one');
    expect(await found()).toEqual(nothing);
  });

  test('a new partition is told of, with the TRUNCATE that only a trigger of its own would see', async () => {
    await app.query('CREATE TABLE sale_new PARTITION OF sale FOR VALUES IN (3)');
    const changed = [
      {
        schema: 'shop',
        name: 'sale',
        come: ['shop.sale_new'],
        gone: [],
        isPartitioned: true,
        isFirst: false,
        source: expect.any(Number),
        comeOids: expect.any(Array),
      },
    ];
    const blindTables = [{ schema: 'shop', name: 'sale_new', events: ['truncate'] }];
    expect(await found()).toEqual({ changed, blindTables, toRepair: 0 });
    await app.query(`GRANT ALL ON sale_new TO ${database.owner.role}`);
    // It is empty: nothing has to be looked at.
    expect(await mend()).toBe(0);
    expect(await found()).toEqual(nothing);
    await app.query(`INSERT INTO sale_new VALUES (10, 3, 1, 'x'); TRUNCATE sale_new`);
    await expectExact();
  });

  test('one that was attached with rows, detached, or dropped: init and repair mend what no trigger saw', async () => {
    await app.query(`
      CREATE TABLE sale_full (LIKE sale INCLUDING ALL);
      INSERT INTO sale_full VALUES (10, 3, 1, 'came along');
      GRANT ALL ON sale_full TO ${database.owner.role};
      ALTER TABLE sale ATTACH PARTITION sale_full FOR VALUES IN (3)`);
    expect((await divergence(owner, 'shop.tv_sale')).missing).toBe(1);
    await init(executorOf(owner));
    // Its rows, not everything.
    const { rows } = await owner.query('SELECT changes FROM tviews.repair');
    expect(rows).toEqual([{ changes: [{ s: expect.any(Number), r: [{ id: 10, region: 3, customer: 1 }] }] }]);
    expect(await mend()).toBe(1);
    await expectExact();

    await app.query('ALTER TABLE sale DETACH PARTITION sale_1');
    expect(await changedFamilies(executorOf(owner))).toEqual([
      {
        schema: 'shop',
        name: 'sale',
        come: [],
        gone: ['shop.sale_1'],
        isPartitioned: true,
        isFirst: false,
        source: expect.any(Number),
        comeOids: expect.any(Array),
      },
    ]);
    expect((await divergence(owner, 'shop.tv_sale')).surplus).toBe(1);
    expect(await mend()).toBe(1);
    await expectExact();

    await app.query('DROP TABLE sale_2');
    expect((await changedFamilies(executorOf(owner)))[0]!.gone).toEqual(['one that was dropped']);
    expect(await mend()).toBe(1);
    await expectExact();
    expect(await found()).toEqual(nothing);
  });

  test('status and verify say what to do, and a proxy that comes does it', async () => {
    const run = (...argv: string[]) => tviews(argv, { env: { DATABASE_URL: database.url } });
    const sentence =
      'partitions of shop.sale changed: shop.sale_new came; shop.sale_1 went: run "tviews init", then "tviews verify --repair"\n';
    expect((await run('status')).stdout).not.toContain('family');
    await app.query(`
      ALTER TABLE sale DETACH PARTITION sale_1;
      CREATE TABLE sale_new PARTITION OF sale FOR VALUES IN (3);
      GRANT ALL ON sale_new TO ${database.owner.role}`);
    const told = await run('status');
    expect(told.exitCode).toBe(1);
    expect(told.stdout).toContain(`family     ${sentence}`);
    expect((await run('verify')).stdout).toContain(`\n${sentence}`);
    const logged = await withCatalog(async (catalog) => {
      await catalog.follower.follow();
      await catalog.follower.follow();
      expect(await run('status')).toMatchObject({ exitCode: 0 });
      await expectExact();
    });
    expect(
      logged.filter((line) => line.includes('capture follows the partitions of shop.sale')),
    ).toHaveLength(1);
  });

  test('of a partition it has no rights on, a proxy tells in its log, once', async () => {
    await app.query('CREATE TABLE sale_new PARTITION OF sale FOR VALUES IN (3)');
    const logged = await withCatalog(async (catalog) => {
      await catalog.follower.follow();
      await app.query('ALTER TABLE customer ADD COLUMN other int');
      await catalog.follower.follow();
    });
    expect(logged.filter((line) => line.includes('partitions of shop.sale changed'))).toHaveLength(1);
  });

  test('DETACH CONCURRENTLY', async () => {
    await app.query('ALTER TABLE sale DETACH PARTITION sale_1 CONCURRENTLY');
    expect(await mend()).toBe(1);
    await expectExact();
  });

  test('a partition that was elsewhere for a while, where its rows were not read', async () => {
    await makeOwnerOfTables();
    expect(await found()).toEqual(nothing);
    await app.query('ALTER TABLE sale DETACH PARTITION sale_1');
    await app.query(`INSERT INTO sale VALUES (9, 20, 1, 'x')`);
    await app.query('ALTER TABLE sale ATTACH PARTITION sale_1 FOR VALUES IN (1)');
    await app.query('ALTER TABLE sale DETACH PARTITION sale_2');
    await app.query('ALTER TABLE sale ATTACH PARTITION sale_2 FOR VALUES IN (2, 20)');
    expect((await divergence(owner, 'shop.tv_sum')).different).toBe(1);
    expect((await changedFamilies(executorOf(owner)))[0]).toMatchObject({
      come: ['shop.sale_1', 'shop.sale_20'],
      gone: [],
    });
    expect(await mend()).toBe(1);
    expect(await found()).toEqual(nothing);
    await expectExact();
  });

  test('a foreign table is told of as long as it is there, and keeps init from nothing', async () => {
    const superuser = await database.client(database.superuser);
    await superuser.query(`
      SET search_path = shop;
      CREATE FOREIGN DATA WRAPPER elsewhere;
      CREATE SERVER far_away FOREIGN DATA WRAPPER elsewhere;
      CREATE TABLE journal (id int, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
      CREATE TABLE journal_1 PARTITION OF journal FOR VALUES IN (1);
      GRANT ALL ON journal, journal_1 TO ${database.owner.role}`);
    await apply(owner, 'tv_journal', 'SELECT id, part FROM journal', { key: ['id', 'part'] });
    await superuser.query(
      'CREATE FOREIGN TABLE heirless (id int NOT NULL, part int NOT NULL) SERVER far_away',
    );
    // No unique index goes with a foreign table: without its key, then.
    await superuser.query(`
      ALTER TABLE journal DROP CONSTRAINT journal_pkey;
      ALTER TABLE journal ATTACH PARTITION heirless FOR VALUES IN (2);
      GRANT ALL ON heirless TO ${database.owner.role}`);
    await init(executorOf(owner));
    expect((await found()).blindTables).toEqual([
      { schema: 'shop', name: 'heirless', events: ['delete', 'insert', 'truncate', 'update'] },
    ]);
  });

  test('CREATE OR REPLACE of an unchanged definition follows as init does', async () => {
    await app.query(`
      CREATE TABLE sale_full (LIKE sale INCLUDING ALL);
      INSERT INTO sale_full VALUES (10, 3, 1, 'came along');
      GRANT ALL ON sale_full TO ${database.owner.role};
      ALTER TABLE sale ATTACH PARTITION sale_full FOR VALUES IN (3)`);
    const { action } = await apply(owner, 'tv_sale', tview, { key: ['id', 'region'], ifExists: 'replace' });
    expect(action).toBe('unchanged');
    expect(await found()).toEqual(nothing);
    await repairPending(executorOf(owner));
    await expectExact();
  });

  test('a proxy mends without being asked, once init has run', async () => {
    const proxy = await testProxy(database);
    await proxy.ready();
    await app.query('ALTER TABLE sale DETACH PARTITION sale_1');
    await init(executorOf(owner));
    for (let i = 0; i < 200 && (await divergence(owner, 'shop.tv_sale')).surplus > 0; i++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    await expectExact();
  });

  test('the trigger of a detached partition is in nobody’s way once init has run', async () => {
    await makeOwnerOfTables();
    await app.query('ALTER TABLE sale DETACH PARTITION sale_1');
    await mend();
    await app.query('ALTER TABLE sale_1 DROP COLUMN note, DROP COLUMN customer; UPDATE sale_1 SET id = 5');
    await expectExact();
  });
});

test('nothing is left of the capture of a family, on a detached partition neither', async () => {
  await app.query(`${newOnes}; ALTER TABLE sale DETACH PARTITION sale_1`);
  await makeOwnerOfTables();
  await uninstall(executorOf(owner), { cascade: true });
  const { rows } = await owner.query(`SELECT tgname FROM pg_trigger WHERE tgname LIKE 'tviews%'`);
  expect(rows).toEqual([]);
  await app.query(`INSERT INTO sale_new VALUES (10, 3, 1, 'x'); INSERT INTO sale_1 VALUES (11, 1, 1, 'x')`);
});

test('the function for new partitions does nothing on a table that is none of the source', async () => {
  // Its owner could give a column a cast of his own, which would run with our rights.
  await app.query(`
    CREATE TYPE trap AS ENUM ('x');
    CREATE FUNCTION spring(trap) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE 'sprung as %', current_user; END $$;
    CREATE CAST (trap AS json) WITH FUNCTION spring(trap);
    CREATE TABLE mine (id trap, region trap, customer trap, note text)`);
  const { rows } = await owner.query<{ name: string }>(
    `SELECT proname AS name FROM pg_proc WHERE proname ~ '^capture_\\d+_row$'`,
  );
  expect(rows).toHaveLength(1);
  await app.query(
    `CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION tviews.${rows[0]!.name}()`,
  );
  await app.query(`INSERT INTO mine VALUES ('x', 'x', 'x', 'x')`);
  await expect(app.query(`SELECT jsonb_build_object('x', id) FROM mine`)).rejects.toThrow('sprung as');
});

describe('a table that was alone when its tview was made', () => {
  beforeEach(async () => {
    await makeOwnerOfTables();
    await app.query(
      `CREATE TABLE person (id int PRIMARY KEY, name text); INSERT INTO person VALUES (1, 'x')`,
    );
    await owner.query(`SET search_path = shop`);
    await apply(owner, 'tv_person', persons, { key: ['id'] });
  });
  const persons =
    'SELECT p.id, jsonb_agg(p.name ORDER BY p.name) AS names, count(*) AS n FROM person p GROUP BY p.id';
  const expectPersons = async () => expect(await divergence(owner, 'shop.tv_person')).toEqual(inStep);

  test('has got heirs: told of, and compiled anew by init, whatever its key said', async () => {
    await app.query(`CREATE TABLE heir () INHERITS (person)`);
    expect(await changedFamilies(executorOf(owner))).toEqual([
      {
        schema: 'shop',
        name: 'person',
        come: ['shop.heir'],
        gone: [],
        isPartitioned: false,
        isFirst: false,
        source: expect.any(Number),
        comeOids: expect.any(Array),
      },
    ]);
    expect((await init(executorOf(owner))).followed).toMatchObject([{ outcome: 'changed' }]);
    expect(await changedFamilies(executorOf(owner))).toEqual([]);
    // A key that another row has and keeps (test/integration/refresh/families.test.ts).
    const writes = [
      `INSERT INTO heir VALUES (2, 'x')`,
      `UPDATE person SET id = 2 WHERE name = 'x'`,
      `DELETE FROM ONLY person`,
    ];
    for (const write of writes) {
      await app.query(write);
      await expectPersons();
    }
    const again = await apply(owner, 'tv_person', persons, { key: ['id'], ifExists: 'replace' });
    expect(again.action).toBe('unchanged');
    await app.query(`INSERT INTO person VALUES (1, 'x')`);
    await app.query(`UPDATE person SET id = 2 WHERE name = 'x'`);
    await expectPersons();
  });

  test('was made a partition: told of, and compiled anew by init', async () => {
    await app.query(`
      CREATE TABLE everybody (id int NOT NULL, name text) PARTITION BY LIST (name);
      CREATE TABLE others PARTITION OF everybody DEFAULT;
      ALTER TABLE everybody ATTACH PARTITION person FOR VALUES IN ('x', 'y')`);
    expect(await changedFamilies(executorOf(owner))).toEqual([
      {
        schema: 'shop',
        name: 'person',
        come: ['shop.everybody'],
        gone: [],
        isPartitioned: false,
        isFirst: false,
        source: expect.any(Number),
        comeOids: expect.any(Array),
      },
    ]);
    await init(executorOf(owner));
    for (const write of [
      `INSERT INTO everybody VALUES (2, 'y'), (3, 'z')`,
      `UPDATE everybody SET name = CASE name WHEN 'y' THEN 'z' ELSE 'y' END`,
    ]) {
      await app.query(write);
      await expectPersons();
    }
    const again = await apply(owner, 'tv_person', persons, { key: ['id'], ifExists: 'replace' });
    expect(again.action).toBe('unchanged');
    await app.query(`UPDATE everybody SET name = 'y', id = id + 10`);
    await expectPersons();
  });
});

test('what is there from before families were known of is as it should be after init', async () => {
  await makeOwnerOfTables();
  await apply(owner, 'tv_customer', 'SELECT c.id FROM customer c', { key: ['id'] });
  await owner.query('BEGIN');
  const { dropTview } = await import('../../../src/database/apply.ts');
  for (const name of ['tv_sale', 'tv_sum'])
    await dropTview(executorOf(owner), { kind: 'drop', schema: null, name, ifExists: false });
  await owner.query('COMMIT');
  await owner.query(`
    ALTER TABLE tviews.source DROP COLUMN members;
    DELETE FROM tviews.migration WHERE number = 6;
    UPDATE tviews.tview SET plan = jsonb_set(plan, '{sources}', jsonb_build_array((plan->'sources'->0) - 'form'))`);
  expect(await status(executorOf(owner))).toMatchObject({ pendingMigrations: [6], changedFamilies: [] });
  expect(await init(executorOf(owner))).toMatchObject({ applied: [6] });
  expect(await status(executorOf(owner))).toMatchObject({
    pendingMigrations: [],
    blindTables: [],
    changedFamilies: [],
    toRepair: 0,
  });
  expect((await owner.query('SELECT FROM tviews.repair')).rows).toEqual([]);
  const { action } = await apply(owner, 'tv_customer', 'SELECT c.id FROM customer c', {
    key: ['id'],
    ifExists: 'replace',
  });
  expect(action).toBe('unchanged');
});

describe('a tview over a partition is made while somebody writes it', () => {
  test.for(['sale', 'sale_2', 'sale_20'])('through %s', async (written) => {
    await app.query('BEGIN');
    await app.query(`INSERT INTO ${written} VALUES (50, 20, 1, 'not committed yet')`);
    const applied = apply(owner, 'tv_middle', 'SELECT s.id, s.note FROM sale_2 s', { key: ['id'] });
    await untilWaiting(owner, await database.client(database.superuser));
    await app.query('COMMIT');
    expect((await applied).rows).toBe(3);
    expect(await divergence(owner, 'shop.tv_middle')).toEqual(inStep);
  });
});

test('two tviews, one over a table and one over its partition, come and go by themselves', async () => {
  const one = `CREATE TVIEW tv_one WITH (key = 'id') AS SELECT s.id, s.note FROM sale_1 s`;
  await makeOwnerOfTables();
  await owner.query('SET search_path = shop');
  await applyText(owner, one);
  await owner.query('BEGIN');
  const { dropTview } = await import('../../../src/database/apply.ts');
  for (const name of ['tv_sale', 'tv_sum'])
    await dropTview(executorOf(owner), { kind: 'drop', schema: null, name, ifExists: false });
  await owner.query('COMMIT');
  await app.query(
    `UPDATE sale SET note = 'through the parent' WHERE id = 1; INSERT INTO sale_1 VALUES (5, 1, 1, 'x')`,
  );
  expect(await divergence(owner, 'shop.tv_one')).toEqual(inStep);
  await apply(owner, 'tv_sale', tview, { key: ['id', 'region'] });
  await app.query(`UPDATE sale_1 SET note = 'straight'; INSERT INTO sale VALUES (6, 1, 1, 'y')`);
  expect(await divergence(owner, 'shop.tv_one')).toEqual(inStep);
  expect(await divergence(owner, 'shop.tv_sale')).toEqual(inStep);
});
