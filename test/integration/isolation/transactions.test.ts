/** Transactions that flush early, twice, or end otherwise than by COMMIT; and those that take their locks in another order. */
import { blog, commentWithUser, postWithUser, userWithComments, userWithPosts } from './blog.ts';
import { checkShapes } from './check.ts';
import { calling, claimed, flush, flushBeforeRead, type Shape, session, writer } from './shape.ts';

const rename = `UPDATE tb_user SET name = 'renamed' WHERE id = 1`;
const newPost = `INSERT INTO tb_post VALUES (9, 1, 'new')`;
/** The server's transactions have one space of names. */
const gid = `isolation ${process.pid}`;

const posts = {
  tables: blog,
  tviews: { tv_post: postWithUser },
  guards: [['near'], ['far']],
} satisfies Partial<Shape>;

checkShapes([
  {
    ...posts,
    name: 'a flush before a read, then a rename',
    sessions: [session([newPost, flushBeforeRead, 'SELECT FROM tv_post', 'COMMIT']), writer(rename)],
  },
  {
    ...posts,
    name: 'a rename that is flushed before a read, then a new row',
    sessions: [session([rename, flushBeforeRead, 'COMMIT']), writer(newPost)],
  },
  {
    ...posts,
    name: 'a flush before a read, and more of the same afterwards',
    sessions: [
      session([
        newPost,
        flushBeforeRead,
        `UPDATE tb_post SET title = 'edited' WHERE id = 9`,
        flush,
        'COMMIT',
      ]),
      writer(rename),
    ],
  },
  {
    ...posts,
    name: 'a flush that is called, before a read and more of the same afterwards',
    sessions: [
      calling(
        session([
          newPost,
          flushBeforeRead,
          `UPDATE tb_post SET title = 'edited' WHERE id = 9`,
          flush,
          'COMMIT',
        ]),
      ),
      writer(rename),
    ],
  },
  {
    ...posts,
    name: 'claimed, a flush before a read and more of the same afterwards',
    sessions: [
      claimed(
        session([
          newPost,
          flushBeforeRead,
          `UPDATE tb_post SET title = 'edited' WHERE id = 9`,
          flush,
          'COMMIT',
        ]),
      ),
      claimed(writer(rename)),
    ],
  },
  {
    ...posts,
    name: 'claimed beside not claimed',
    sessions: [claimed(writer(newPost)), writer(rename)],
  },
  {
    ...posts,
    name: 'not claimed beside claimed',
    sessions: [writer(newPost), claimed(writer(rename))],
  },
  {
    name: 'claimed, a middle row moves while a leaf comes',
    tables: blog,
    tviews: { tv_user: userWithComments },
    sessions: [
      claimed(writer('UPDATE tb_post SET user_id = 2 WHERE id = 1')),
      claimed(writer(`INSERT INTO tb_comment VALUES (9, 1, 'new')`)),
    ],
    guards: [['near'], ['far']],
  },
  {
    ...posts,
    name: 'a flush that is undone by ROLLBACK TO',
    sessions: [
      session([`${newPost}; SAVEPOINT s`, flushBeforeRead, 'ROLLBACK TO s', flush, 'COMMIT']),
      writer(rename),
    ],
  },
  {
    ...posts,
    name: 'a write that is undone by ROLLBACK TO after its flush',
    sessions: [
      session([`SAVEPOINT s; ${rename}`, flushBeforeRead, 'ROLLBACK TO s', flush, 'COMMIT']),
      writer(newPost),
    ],
    // Nothing is renamed in the end.
    guards: [],
  },
  {
    ...posts,
    name: 'a flushed rename that is rolled back',
    sessions: [session([rename, flush, 'ROLLBACK']), writer(newPost)],
    guards: [],
  },
  {
    ...posts,
    name: 'prepared on one connection and committed on another',
    sessions: [
      session([newPost, `PREPARE TRANSACTION '${gid}'`, { elsewhere: `COMMIT PREPARED '${gid}'` }]),
      writer(rename),
    ],
  },
  {
    ...posts,
    name: 'a rename prepared on one connection and committed on another',
    sessions: [
      session([rename, `PREPARE TRANSACTION '${gid}'`, { elsewhere: `COMMIT PREPARED '${gid}'` }]),
      writer(newPost),
    ],
  },
  {
    ...posts,
    name: 'prepared and rolled back',
    sessions: [
      session([rename, `PREPARE TRANSACTION '${gid}'`, { elsewhere: `ROLLBACK PREPARED '${gid}'` }]),
      writer(newPost),
    ],
    guards: [],
  },
  {
    name: 'children of two parents in opposite order',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (11, 1, 'new')`, `INSERT INTO tb_post VALUES (12, 2, 'new')`),
      writer(`INSERT INTO tb_post VALUES (22, 2, 'new')`, `INSERT INTO tb_post VALUES (21, 1, 'new')`),
    ],
    guards: [['key']],
  },
  {
    name: 'each renames what the other refers to anew',
    tables: blog,
    tviews: { tv_post: postWithUser },
    sessions: [
      writer(rename, `INSERT INTO tb_post VALUES (11, 2, 'new')`),
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 2`, `INSERT INTO tb_post VALUES (12, 1, 'new')`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'each moves what the other puts a leaf under',
    tables: blog,
    tviews: { tv_user: userWithComments },
    sessions: [
      writer('UPDATE tb_post SET user_id = 3 WHERE id = 1', `INSERT INTO tb_comment VALUES (11, 2, 'new')`),
      writer(
        `INSERT INTO tb_comment VALUES (12, 1, 'new')`,
        'UPDATE tb_post SET user_id = NULL WHERE id = 2',
      ),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'two tviews are reached in opposite order',
    tables: blog,
    tviews: { tv_comment: commentWithUser, tv_user: userWithComments },
    sessions: [
      writer(`UPDATE tb_comment SET body = 'edited' WHERE id = 1`, rename),
      writer(
        `UPDATE tb_post SET title = 'edited' WHERE id = 1`,
        `UPDATE tb_comment SET body = 'edited' WHERE id = 2`,
      ),
    ],
    // A value in one tview, a key in both.
    guards: [['far', 'key']],
  },
  {
    name: 'one flushes, and then writes what the other has written',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    sessions: [
      session([
        `INSERT INTO tb_post VALUES (9, 1, 'new')`,
        flushBeforeRead,
        `UPDATE tb_post SET title = 'edited' WHERE id = 1`,
        flush,
        'COMMIT',
      ]),
      writer(`UPDATE tb_post SET title = 'changed' WHERE id = 1`),
    ],
    // Row locks put them in order: who writes the row second flushes it second. Or none goes first: one holds what the
    // other's flush waits for, and waits for the other's row.
    guards: [],
    errors: ['40P01'],
  },
  {
    name: 'both flush, and then flush what the other has flushed',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    sessions: [
      session([
        `INSERT INTO tb_post VALUES (11, 1, 'new')`,
        flushBeforeRead,
        `INSERT INTO tb_post VALUES (12, 2, 'new')`,
        flush,
        'COMMIT',
      ]),
      session([
        `INSERT INTO tb_post VALUES (22, 2, 'new')`,
        flushBeforeRead,
        `INSERT INTO tb_post VALUES (21, 1, 'new')`,
        flush,
        'COMMIT',
      ]),
    ],
    guards: [['key']],
    errors: ['40P01'],
  },
  {
    ...posts,
    name: 'a flush before a read, a rename and a re-pointing, by three sessions',
    sessions: [
      session([newPost, flushBeforeRead, 'COMMIT']),
      writer(rename),
      writer('UPDATE tb_post SET user_id = 1 WHERE id = 2'),
    ],
  },
]);
