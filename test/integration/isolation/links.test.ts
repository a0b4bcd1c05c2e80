/** A link changes at one end while the row at its other end does. */
import {
  blog,
  commentWithUser,
  countryWithComments,
  looseBlog,
  postWithUser,
  postWithUserIfAny,
  userWithComments,
} from './blog.ts';
import { checkShapes } from './check.ts';
import { writer } from './shape.ts';

checkShapes([
  {
    name: 'a new row refers to a row that is renamed',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a new row refers over two links to a row that is renamed',
    tables: blog,
    tviews: { tv_comment: commentWithUser },
    sessions: [
      writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [['near'], ['path']],
  },
  {
    name: 'two new rows refer, one to the other, to a row that is renamed',
    tables: blog,
    tviews: { tv_comment: commentWithUser },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`, `INSERT INTO tb_comment VALUES (9, 9, 'new')`),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a row is re-pointed to one that is renamed',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 2`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a row is re-pointed from one that is renamed',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
    ],
    // Both find the post's key, so either lock is enough.
    guards: [
      ['near', 'key'],
      ['far', 'key'],
    ],
  },
  {
    name: 'a middle row is re-pointed to one that is renamed',
    tables: blog,
    tviews: { tv_comment: commentWithUser },
    sessions: [
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 2`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a middle row is re-pointed while a row refers to it anew',
    tables: blog,
    tviews: { tv_comment: commentWithUser },
    sessions: [
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a middle row moves while a leaf comes under it',
    tables: blog,
    tviews: { tv_user: userWithComments },
    sessions: [
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a middle row moves while a leaf under it changes',
    tables: blog,
    tviews: { tv_user: userWithComments },
    sessions: [
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer(`UPDATE tb_comment SET body = 'edited' WHERE id = 1`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a middle row moves while a leaf leaves it',
    tables: blog,
    tviews: { tv_user: userWithComments },
    sessions: [
      writer('UPDATE tb_post SET user_id = 3 WHERE id = 1'),
      writer('UPDATE tb_comment SET post_id = 2 WHERE id = 1'),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a row two links up moves while a leaf comes',
    tables: blog,
    tviews: { tv_country: countryWithComments },
    sessions: [
      writer('UPDATE tb_user SET country_id = 2 WHERE id = 1'),
      writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`),
    ],
    guards: [['near'], ['path']],
  },
  {
    name: 'both links above a leaf move in one transaction',
    tables: blog,
    tviews: { tv_country: countryWithComments },
    sessions: [
      writer('UPDATE tb_post SET user_id = 3 WHERE id = 1', 'UPDATE tb_user SET country_id = 2 WHERE id = 3'),
      writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'one session moves the upper link above a leaf, another the lower one',
    tables: blog,
    tviews: { tv_country: countryWithComments },
    sessions: [
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer('UPDATE tb_user SET country_id = 1 WHERE id = 2'),
    ],
    // Country 1 is an old image of one and a new one of the other.
    guards: [
      ['near', 'key'],
      ['far', 'key'],
    ],
  },
  {
    name: 'a row moves twice in one transaction while a leaf comes under it',
    tables: blog,
    tviews: { tv_user: userWithComments },
    sessions: [
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1', 'UPDATE tb_post SET user_id = 3 WHERE id = 1'),
      writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a leaf comes under an unlinked row that is linked',
    tables: blog,
    tviews: { tv_user: userWithComments },
    sessions: [
      writer(`INSERT INTO tb_comment VALUES (9, 3, 'new')`),
      writer('UPDATE tb_post SET user_id = 1 WHERE id = 3'),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'an unlinked row is linked to one that is renamed',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      writer('UPDATE tb_post SET user_id = 1 WHERE id = 3'),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a child comes while its parent does, without a foreign key',
    tables: looseBlog,
    tviews: { tv_post: postWithUserIfAny },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (9, 7, 'new')`),
      writer(`INSERT INTO tb_user VALUES (7, 1, 'new')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a leaf comes while the row above it does, without a foreign key',
    tables: looseBlog,
    tviews: { tv_user: userWithComments },
    sessions: [
      writer(`INSERT INTO tb_comment VALUES (9, 7, 'new')`),
      writer(`INSERT INTO tb_post VALUES (7, 1, 'new')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a child comes while its parent goes, without a foreign key',
    tables: looseBlog,
    tviews: { tv_post: postWithUser },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
      writer('DELETE FROM tb_user WHERE id = 1'),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a child comes while its parent changes its key, without a foreign key',
    tables: looseBlog,
    tviews: { tv_post: postWithUserIfAny },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (9, 7, 'new')`),
      writer('UPDATE tb_user SET id = 7 WHERE id = 1'),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'many rows are renamed while a new one refers to one of them',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      writer(`UPDATE tb_user SET name = name || '!'`),
      writer(`INSERT INTO tb_post VALUES (9, 2, 'new')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'more new rows than are refreshed by key refer to one that is renamed',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      writer(`INSERT INTO tb_post SELECT 100 + i, 1, 'new' FROM generate_series(1, 1100) AS i`),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
    ],
    // So many that the tview is locked, and none of their values.
    guards: [['tview']],
    bound: 8,
  },
  {
    name: 'more new rows than are refreshed by key come beside one that changes',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      writer(`INSERT INTO tb_post SELECT 100 + i, 1, 'new' FROM generate_series(1, 1100) AS i`),
      writer(`UPDATE tb_post SET title = 'edited' WHERE id = 2`),
    ],
    // The whole view is compared, and of rows nobody has flushed nothing differs.
    guards: [],
    bound: 8,
  },
  {
    name: 'a row comes, is re-pointed, and what it is pointed to renamed, by three sessions',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (9, 2, 'new')`),
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 2`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a leaf comes, its row moves, and the row above is linked, by three sessions',
    tables: blog,
    tviews: { tv_country: countryWithComments },
    sessions: [
      writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`),
      writer('UPDATE tb_post SET user_id = 3 WHERE id = 1'),
      writer('UPDATE tb_user SET country_id = 2 WHERE id = 3'),
    ],
    guards: [['near'], ['far']],
  },
]);
