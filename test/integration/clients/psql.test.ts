/** psql, typed into as people do: tviews are made and dropped through the proxy like anything else. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { init } from '../../../src/database/migrate.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { type Blog, blogSchema, blogTviews } from '../../kit/blog.ts';
import { type FreshDatabase, freshDatabase } from '../../kit/database.ts';
import { divergence, inStep } from '../../kit/oracle.ts';
import { hasProgram, runProgram } from '../../kit/programs.ts';
import { type TestProxy, testProxy } from '../../kit/proxy.ts';

const schema: string = blogSchema;
const definitions: string = blogTviews;
type Owner = Blog['owner'];

describe.skipIf(!hasProgram('psql'))('psql', () => {
  let database: FreshDatabase;
  let owner: Owner;
  beforeEach(async () => {
    database = await freshDatabase({ sql: schema });
    owner = await database.client();
    await init(executorOf(owner));
    await owner.query(`INSERT INTO tb_author VALUES (1, 'Ann'); INSERT INTO tb_post VALUES (1, 1, 'first')`);
  });
  afterEach(() => database.drop());

  /** As if typed at the prompt: one statement after the other, errors do not end it. */
  const psql = (proxy: TestProxy, input: string, ...argv: string[]) =>
    runProgram('psql', ['-X', '-A', '-t', '-q', ...argv], proxy.url(database.owner), input);

  const relations = async (): Promise<string[]> =>
    (
      await owner.query<{ name: string }>(
        `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname ~ '^(tv|v)_' AND relkind IN ('r', 'v') ORDER BY 1`,
      )
    ).rows.map(({ name }) => name);

  const registered = async (): Promise<number> =>
    (await owner.query<{ n: number }>('SELECT count(*)::int AS n FROM tviews.tview')).rows[0]!.n;

  for (const poolMode of ['transaction', 'session'] as const) {
    describe(`in ${poolMode} mode`, () => {
      test('CREATE TVIEW, \\d, a write and DROP TVIEW', async () => {
        const proxy = await testProxy(database, { poolMode });
        const made = await psql(proxy, definitions, '-v', 'ON_ERROR_STOP=1');
        expect(made.exitCode, made.stderr).toBe(0);
        // tv_feed reads tv_post by its author: advice, where psql shows it.
        expect(made.stderr).toMatch(
          /^WARNING: {2}table public\.tv_post has no index on \(fk_author\).*\nHINT: {2}CREATE INDEX .*\n$/,
        );
        expect(await relations()).toEqual([
          'tv_author',
          'tv_feed',
          'tv_post',
          'v_author',
          'v_feed',
          'v_post',
        ]);

        const used = await psql(
          proxy,
          `\\d tv_post
           BEGIN;
           UPDATE tb_post SET title = 'typed' WHERE pk_post = 1;
           SELECT data->>'title' FROM tv_post;
           COMMIT;
           INSERT INTO tb_comment (fk_post, body) VALUES (1, 'autocommit');
           SELECT data->'comments' FROM tv_post;`,
          '-v',
          'ON_ERROR_STOP=1',
        );
        expect(used).toMatchObject({ exitCode: 0, stderr: '' });
        expect(used.stdout).toContain('data|jsonb|');
        expect(used.stdout).toContain('typed\n["autocommit"]\n');
        expect(await divergence(owner, 'public.tv_post')).toEqual(inStep);

        const dropped = await psql(
          proxy,
          'DROP TVIEW tv_feed;\nDROP TVIEW tv_author;',
          '-v',
          'ON_ERROR_STOP=1',
        );
        expect(dropped).toMatchObject({ exitCode: 0, stderr: '' });
        expect(await relations()).toEqual(['tv_post', 'v_post']);
      });

      test('prints the tags of a database', async () => {
        const proxy = await testProxy(database, { poolMode });
        const { stdout } = await runProgram(
          'psql',
          [
            '-X',
            '-c',
            'CREATE TVIEW tv_author AS SELECT pk_author, name AS data FROM tb_author',
            '-c',
            'DROP TVIEW tv_author',
          ],
          proxy.url(database.owner),
        );
        expect(stdout).toBe('CREATE TVIEW\nDROP TVIEW\n');
      });

      test("pg_tviews' forms: CREATE TABLE tv_… AS SELECT and SELECT pg_tviews_create(…)", async () => {
        const proxy = await testProxy(database, { poolMode });
        const made = await psql(
          proxy,
          `CREATE TABLE tv_author AS SELECT pk_author, jsonb_build_object('name', name) AS data FROM tb_author;
           SELECT pg_tviews_create('tv_post', $$SELECT pk_post, jsonb_build_object('title', title) AS data FROM tb_post$$);
           UPDATE tb_author SET name = 'Bea';
           UPDATE tb_post SET title = 'second';
           SELECT data FROM tv_author UNION ALL SELECT data FROM tv_post;`,
          '-v',
          'ON_ERROR_STOP=1',
        );
        expect(made.stderr).toBe('');
        expect(made.stdout).toContain('{"name": "Bea"}\n{"title": "second"}\n');
        expect(await relations()).toEqual(['tv_author', 'tv_post', 'v_author', 'v_post']);
      });

      test('a mistake is shown where it is, and nothing is left of the statement', async () => {
        const proxy = await testProxy(database, { poolMode });
        const text = 'CREATE TVIEW tv_author AS SELECT pk_author, nme AS data FROM tb_author;';
        const { stderr } = await psql(proxy, `${text}\nSELECT 'goes on';\n`);
        const [message, line, caret] = stderr.trimEnd().split('\n');
        expect(message).toMatch(/ERROR: {2}column "nme" does not exist$/);
        expect(line).toMatch(/^LINE 1: .*nme/);
        expect(line!.slice(caret!.indexOf('^')).startsWith('nme')).toBe(true);
        expect((await psql(proxy, `${text}\nSELECT 'goes on';\n`)).stdout).toBe('goes on\n');
        expect(await relations()).toEqual([]);
        expect(await registered()).toBe(0);
      });

      test('in a transaction block that is rolled back, nothing stays; in one that commits, all does', async () => {
        const proxy = await testProxy(database, { poolMode });
        const inside = (end: string) => `
          BEGIN;
          UPDATE tb_author SET name = 'before it';
          CREATE TVIEW tv_author AS SELECT pk_author, jsonb_build_object('name', name) AS data FROM tb_author;
          SELECT data->>'name' FROM tv_author;
          UPDATE tb_author SET name = 'behind it';
          SELECT data->>'name' FROM tv_author;
          ${end};`;
        const undone = await psql(proxy, inside('ROLLBACK'), '-v', 'ON_ERROR_STOP=1');
        expect(undone).toMatchObject({ exitCode: 0, stderr: '', stdout: 'before it\nbehind it\n' });
        expect(await relations()).toEqual([]);
        expect(await registered()).toBe(0);
        expect((await owner.query("SELECT FROM tb_author WHERE name = 'Ann'")).rowCount).toBe(1);
        await psql(proxy, "UPDATE tb_author SET name = 'nobody listens';", '-v', 'ON_ERROR_STOP=1');

        const done = await psql(proxy, inside('COMMIT'), '-v', 'ON_ERROR_STOP=1');
        expect(done).toMatchObject({ exitCode: 0, stderr: '', stdout: 'before it\nbehind it\n' });
        expect(await divergence(owner, 'public.tv_author')).toEqual(inStep);
        await psql(proxy, "BEGIN; UPDATE tb_author SET name = 'later'; COMMIT;\n");
        expect(await divergence(owner, 'public.tv_author')).toEqual(inStep);
      });

      test('a definition whose description is longer than any packet', async () => {
        const proxy = await testProxy(database, { poolMode });
        const parts = Array.from(
          { length: 300 },
          (_, index) => `jsonb_build_object('key ${index}', upper(title || $$${index}$$))`,
        );
        const made = await psql(
          proxy,
          `CREATE TVIEW tv_post AS SELECT pk_post, ${parts.join(' || ')} AS data FROM tb_post;`,
          '-v',
          'ON_ERROR_STOP=1',
        );
        expect(made).toMatchObject({ exitCode: 0, stderr: '' });
        expect((await owner.query("SELECT data->>'key 299' AS last FROM tv_post")).rows).toEqual([
          { last: 'FIRST299' },
        ]);
      });

      test('a failed CREATE TVIEW fails its transaction block as any statement does', async () => {
        const proxy = await testProxy(database, { poolMode });
        const { stdout, stderr } = await psql(
          proxy,
          `BEGIN;
           UPDATE tb_author SET name = 'gone';
           CREATE TVIEW tv_author AS SELECT pk_author, random() AS data FROM tb_author;
           SELECT 'not run';
           COMMIT;
           SELECT name FROM tb_author;`,
        );
        expect(stdout).toBe('Ann\n');
        expect(stderr).toContain('current transaction is aborted');
        expect(await relations()).toEqual([]);
      });

      test('DROP TVIEW rolled back leaves the tview in step', async () => {
        const proxy = await testProxy(database, { poolMode });
        await psql(proxy, definitions, '-v', 'ON_ERROR_STOP=1');
        const { stderr } = await psql(
          proxy,
          `BEGIN;
           UPDATE tb_post SET title = 'pending';
           DROP TVIEW tv_feed;
           ROLLBACK;
           BEGIN;
           UPDATE tb_post SET title = 'in step';
           COMMIT;`,
        );
        expect(stderr).toBe('');
        for (const name of ['tv_post', 'tv_author', 'tv_feed']) {
          expect(await divergence(owner, `public.${name}`)).toEqual(inStep);
        }
        expect((await owner.query("SELECT data->>'title' AS title FROM tv_post")).rows).toEqual([
          { title: 'in step' },
        ]);
      });
    });
  }
});
