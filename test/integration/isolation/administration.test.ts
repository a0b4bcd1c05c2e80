/** What our own programs do while others write. */
import type pg from 'pg';
import { applyTview } from '../../../src/database/apply.ts';
import { dropTview } from '../../../src/database/drop.ts';
import { executorOf } from '../../../src/database/node-postgres.ts';
import { inTransaction } from '../../../src/database/session.ts';
import { resumeTview, suspendTview } from '../../../src/database/suspend.ts';
import { rebuild } from '../../../src/database/verify.ts';
import { apply, create } from '../database/support.ts';
import { blog, postWithUser, postWithUserIfAny, userWithPosts } from './blog.ts';
import { checkShapes } from './check.ts';
import { type Session, type Step, session, writer } from './shape.ts';

/** The owner's, READ COMMITTED as the `tviews` command's are. */
const administration = (...steps: readonly Step[]): Session =>
  session([...steps, 'COMMIT'], { role: 'owner', level: 'READ COMMITTED' });

const applying = (name: string, definition: string, ifExists: 'error' | 'replace' = 'error'): Step => ({
  what: `apply ${name}`,
  run: (client) => applyTview(executorOf(client), create(name, definition, { ifExists })),
});
/** What `verify --repair` does with the few rows it has found to differ. It finds them in transactions of their own before. */
const repairing = (name: string, id: number): Step => ({
  what: `repair ${id} of ${name}`,
  run: (client) =>
    client.query(
      `SELECT tviews.flush(jsonb_build_array(jsonb_build_object('tview', t.id, 'r', jsonb_build_array(jsonb_build_object('id', $2::integer)))), false)
       FROM tviews.tview AS t WHERE t.name = $1`,
      [name, id],
    ),
});
const rebuilding = (name: string): Step => ({
  what: `rebuild ${name}`,
  run: (client) => rebuild(executorOf(client), name),
});
const resuming = (name: string): Step => ({
  what: `resume ${name}`,
  run: (client) => resumeTview(executorOf(client), name),
});

const suspended = (name: string) => async (owner: pg.Client) => {
  await inTransaction(executorOf(owner), () => suspendTview(executorOf(owner), name));
};
const dropped = (name: string) => async (owner: pg.Client) => {
  await inTransaction(executorOf(owner), () =>
    dropTview(executorOf(owner), { kind: 'drop', schema: null, name, ifExists: true }),
  );
};

const countryOfUsers = `
  SELECT k.id, jsonb_build_object('name', k.name, 'users', (
    SELECT jsonb_agg(t.data ORDER BY t.id) FROM tb_user u JOIN tv_user t ON t.id = u.id WHERE u.country_id = k.id
  )) AS data
  FROM tb_country k`;

checkShapes([
  {
    name: 'a tview is created while a row comes',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    sessions: [
      administration(applying('tv_post', postWithUser)),
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
    ],
    // Locks of the tables, not ours.
    guards: [],
    restore: dropped('tv_post'),
    bound: 12,
  },
  {
    name: 'the first tview of its tables is created while a row comes and another is renamed',
    tables: blog,
    tviews: {},
    sessions: [
      administration(applying('tv_post', postWithUser)),
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [],
    restore: dropped('tv_post'),
    bound: 12,
  },
  {
    name: 'a tview is replaced while a row that it reads changes',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      administration(applying('tv_post', postWithUserIfAny, 'replace')),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [],
    // Of the other's repair, which reads the tables and writes the tview.
    errors: ['40P01'],
    restore: async (owner) => {
      await apply(owner, 'tv_post', postWithUser, { ifExists: 'replace' });
    },
    bound: 12,
  },
  {
    name: 'a suspended tview is resumed while a new row refers to one that is renamed',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      administration(resuming('tv_post')),
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
    ],
    // Of the one who resumes, by the locks of the tables; of the writers among each other, as ever.
    guards: [],
    restore: suspended('tv_post'),
    bound: 12,
  },
  {
    name: 'a suspended tview is resumed while one below it changes',
    tables: blog,
    tviews: { tv_user: userWithPosts, tv_country: countryOfUsers },
    sessions: [
      administration(resuming('tv_country')),
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
      writer(`UPDATE tb_country SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [],
    restore: suspended('tv_country'),
    bound: 12,
  },
  {
    name: 'a tview is built anew while a new row refers to one that is renamed',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      administration(rebuilding('tv_post')),
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [['near'], ['far']],
    bound: 40,
  },
  {
    name: 'a wrong row is repaired while it changes',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    damage: `UPDATE iso.tv_user SET data = '{}' WHERE id = 1`,
    sessions: [administration(repairing('tv_user', 1)), writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`)],
    guards: [['key']],
  },
  {
    name: 'a missing row is repaired while it changes',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    damage: 'DELETE FROM iso.tv_user WHERE id = 1',
    sessions: [administration(rebuilding('tv_user')), writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`)],
    guards: [['tview']],
  },
  {
    name: 'a row too many is repaired while it comes into being',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    damage: `INSERT INTO iso.tv_user VALUES (9, '{}')`,
    sessions: [administration(repairing('tv_user', 9)), writer(`INSERT INTO tb_user VALUES (9, 1, 'new')`)],
    guards: [['key']],
  },
  {
    name: 'a wrong row below another tview is repaired while a row above is renamed',
    tables: blog,
    tviews: { tv_user: userWithPosts, tv_country: countryOfUsers },
    damage: `UPDATE iso.tv_user SET data = '{}' WHERE id = 1; UPDATE iso.tv_country SET data = '{"name": "one", "users": [{}]}' WHERE id = 1`,
    sessions: [
      administration(repairing('tv_user', 1)),
      writer(`UPDATE tb_country SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [['key']],
  },
  {
    name: 'two repair, and one writes',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    damage: `UPDATE iso.tv_user SET data = '{}' WHERE id = 1`,
    sessions: [
      administration(repairing('tv_user', 1)),
      administration(rebuilding('tv_user')),
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
    ],
    guards: [['tview']],
  },
]);
