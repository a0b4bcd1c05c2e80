/**
 * What a transaction that keeps its snapshot may write although it is wrong by then: rows that another session has looked at
 * and found as they were, so that there is no newer version to fail on.
 */
import { blog, userWithComments } from './blog.ts';
import { checkShapes } from './check.ts';
import { type Shape, writer } from './shape.ts';

const namesakes = `${blog} INSERT INTO tb_user VALUES (4, 1, 'ann');`;
const postWithUser = `
  SELECT p.id, jsonb_build_object('title', p.title, 'user', u.name) AS data
  FROM tb_post p JOIN tb_user u ON u.id = p.user_id`;
/** Has a row for posts of users in some country. */
const postOfSettledUser = `${postWithUser} WHERE u.country_id IS NOT NULL`;

checkShapes(
  (
    [
      {
        name: 'a row is re-pointed to a namesake of one that is renamed',
        tables: namesakes,
        tviews: { tv_post: postWithUser },
        sessions: [
          writer('UPDATE tb_post SET user_id = 4 WHERE id = 1'),
          writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
        ],
        guards: [
          ['near', 'key'],
          ['far', 'key'],
        ],
      },
      {
        name: 'a row that has no place in a tview is re-pointed from one that would give it one',
        tables: `${blog} INSERT INTO tb_user VALUES (4, NULL, 'dan'); UPDATE tb_post SET user_id = 3 WHERE id = 3;`,
        tviews: { tv_post: postOfSettledUser },
        sessions: [
          writer('UPDATE tb_post SET user_id = 4 WHERE id = 3'),
          writer('UPDATE tb_user SET country_id = 1 WHERE id = 3'),
        ],
        guards: [
          ['near', 'key'],
          ['far', 'key'],
        ],
      },
      {
        name: 'a row that has no place in a tview goes while one would give it one',
        tables: `${blog} UPDATE tb_post SET user_id = 3 WHERE id = 3; DELETE FROM tb_comment WHERE post_id = 3;`,
        tviews: { tv_post: postOfSettledUser },
        sessions: [
          writer('DELETE FROM tb_post WHERE id = 3'),
          writer('UPDATE tb_user SET country_id = 1 WHERE id = 3'),
        ],
        guards: [
          ['near', 'key'],
          ['far', 'key'],
        ],
      },
      {
        name: 'a middle row without leaves moves while a leaf comes under it',
        tables: `${blog} INSERT INTO tb_user VALUES (4, 1, 'dan'); INSERT INTO tb_post VALUES (4, 1, 'bare');`,
        // Of posts without comments nothing is shown.
        tviews: {
          tv_user: `
        SELECT u.id, jsonb_build_object('comments', (
          SELECT jsonb_agg(c.body ORDER BY c.id)
          FROM tb_post p JOIN tb_comment c ON c.post_id = p.id WHERE p.user_id = u.id
        )) AS data
        FROM tb_user u`,
        },
        sessions: [
          writer('UPDATE tb_post SET user_id = 4 WHERE id = 4'),
          writer(`INSERT INTO tb_comment VALUES (9, 4, 'new')`),
        ],
        guards: [['near'], ['far']],
      },
      {
        name: 'a middle row moves to and fro while a leaf comes under it',
        tables: blog,
        tviews: { tv_user: userWithComments },
        sessions: [
          writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
          writer('UPDATE tb_post SET user_id = 1 WHERE id = 2'),
          writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`),
        ],
        guards: [['near'], ['far']],
      },
    ] satisfies Shape[]
  ).map((shape) => ({ ...shape, isAboutSnapshots: true })),
);
