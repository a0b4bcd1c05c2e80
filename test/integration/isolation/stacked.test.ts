/** Tviews that read tviews, and changes of which only the table is known. */
import { blog, commentWithUser, looseBlog, postWithUser, userWithComments, userWithPosts } from './blog.ts';
import { checkShapes } from './check.ts';
import { writer } from './shape.ts';

const userOfPosts = `
  SELECT u.id, jsonb_build_object('name', u.name, 'posts', (
    SELECT jsonb_agg(t.data ORDER BY t.id) FROM tv_post t WHERE t.user_id = u.id
  )) AS data
  FROM tb_user u`;

/** Its link is a column of the tview below. */
const linkedPost = postWithUser.replace('SELECT p.id,', 'SELECT p.id, p.user_id,');

const cardOfPost = `
  SELECT p.id, jsonb_build_object('title', p.title, 'user', t.data) AS data
  FROM tb_post p JOIN tv_user t ON t.id = p.user_id`;

const countryOfUsers = `
  SELECT k.id, jsonb_build_object('name', k.name, 'users', (
    SELECT jsonb_agg(t.data ORDER BY t.id) FROM tb_user u JOIN tv_user t ON t.id = u.id WHERE u.country_id = k.id
  )) AS data
  FROM tb_country k`;

checkShapes([
  {
    name: 'two rows of a tview that one row of another gathers',
    tables: blog,
    tviews: { tv_post: linkedPost, tv_user: userOfPosts },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (8, 1, 'new')`),
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
    ],
    guards: [['key']],
  },
  {
    name: 'a row of a tview moves while what gathers it is renamed',
    tables: blog,
    tviews: { tv_post: linkedPost, tv_user: userOfPosts },
    sessions: [
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 2`),
    ],
    // In both tviews they have something in common: a value in one, a key in the other.
    guards: [
      ['near', 'key'],
      ['far', 'key'],
    ],
  },
  {
    name: 'a new row looks up a row of a tview that changes',
    tables: blog,
    tviews: { tv_user: userWithPosts, tv_card: cardOfPost },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (9, 2, 'new')`),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 2`),
    ],
    // The new post is a change of the user's row, too: both sessions write that.
    guards: [['near', 'far', 'key']],
  },
  {
    name: 'a row is re-pointed to a row of a tview that changes below',
    isAboutSnapshots: true,
    tables: looseBlog
      .replace('user_id int,', 'user_id int, writer_id int,')
      .replaceAll(
        /INSERT INTO tb_post VALUES [^;]+/g,
        `INSERT INTO tb_post VALUES (1, 1, 2, 'first'), (2, 2, 1, 'second')`,
      ),
    tviews: {
      tv_user: userWithPosts,
      tv_card: `
        SELECT c.id, jsonb_build_object('body', c.body, 'user', t.data) AS data
        FROM tb_comment c JOIN tv_user t ON t.id = c.post_id`,
    },
    sessions: [
      writer('UPDATE tb_comment SET post_id = 2 WHERE id = 1'),
      writer(`UPDATE tb_post SET title = 'edited' WHERE id = 2`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a user moves to another country while a tview of users changes',
    tables: blog,
    tviews: { tv_user: userWithComments, tv_country: countryOfUsers },
    sessions: [
      writer('UPDATE tb_user SET country_id = 2 WHERE id = 1'),
      writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'changes at each of two levels, by three sessions',
    tables: blog,
    tviews: { tv_user: userWithComments, tv_country: countryOfUsers },
    sessions: [
      writer('UPDATE tb_user SET country_id = 1 WHERE id = 2'),
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'one change reaches two tviews of which another session reaches one',
    tables: blog,
    tviews: { tv_comment: commentWithUser, tv_user: userWithComments },
    sessions: [
      writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`),
      writer(`UPDATE tb_post SET title = 'edited' WHERE id = 1`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a table is emptied while a row comes into it',
    tables: blog,
    tviews: { tv_user: userWithComments },
    sessions: [writer('TRUNCATE tb_comment'), writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`)],
    // Whoever truncates has the table to himself until he commits, and the other's flush needs to read it.
    guards: [],
    errors: ['40P01'],
  },
  {
    name: 'a table is emptied while the row above its rows is renamed',
    tables: blog,
    tviews: { tv_user: userWithComments },
    sessions: [writer('TRUNCATE tb_comment'), writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`)],
    guards: [],
    errors: ['40P01'],
  },
  {
    name: 'a table below a tview is emptied while a row above that tview is renamed',
    tables: blog,
    tviews: { tv_user: userWithComments, tv_country: countryOfUsers },
    sessions: [writer('TRUNCATE tb_comment'), writer(`UPDATE tb_country SET name = 'renamed' WHERE id = 1`)],
    guards: [['key']],
  },
  {
    name: 'a table below a tview is emptied while a row comes to look that tview up',
    isAboutSnapshots: true,
    tables: looseBlog,
    tviews: {
      tv_user: `
        SELECT u.id, jsonb_build_object('countries', (
          SELECT jsonb_agg(k.name) FROM tb_country k WHERE k.id = u.country_id
        )) AS data
        FROM tb_user u`,
      tv_card: cardOfPost,
    },
    sessions: [writer('TRUNCATE tb_country'), writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`)],
    guards: [['near'], ['far']],
  },
]);
