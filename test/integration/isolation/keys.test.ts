/** Sessions that have a key in common, whether it has a row or not. */
import { blog, looseBlog, postsOfUser, userWithPosts } from './blog.ts';
import { checkShapes } from './check.ts';
import { writer } from './shape.ts';

/** One document that three paths lead to. */
const documents = `
  CREATE TABLE tb_person (id int PRIMARY KEY, name text NOT NULL);
  CREATE TABLE tb_document (
    id int PRIMARY KEY,
    author_id int NOT NULL REFERENCES tb_person,
    editor_id int REFERENCES tb_person
  );
  CREATE TABLE tb_page (id int PRIMARY KEY, document_id int NOT NULL REFERENCES tb_document, text text NOT NULL);
  CREATE INDEX ON tb_document (author_id);
  CREATE INDEX ON tb_document (editor_id);
  CREATE INDEX ON tb_page (document_id);
  INSERT INTO tb_person VALUES (1, 'ann'), (2, 'bob'), (3, 'cat');
  INSERT INTO tb_document VALUES (1, 1, 2), (2, 2, NULL);
  INSERT INTO tb_page VALUES (1, 1, 'page'), (2, 2, 'page');
`;
const documentWithAll = `
  SELECT d.id, jsonb_build_object('author', a.name, 'editor', e.name, 'pages', (
    SELECT jsonb_agg(p.text ORDER BY p.id) FROM tb_page p WHERE p.document_id = d.id
  )) AS data
  FROM tb_document d JOIN tb_person a ON a.id = d.author_id LEFT JOIN tb_person e ON e.id = d.editor_id`;

/** In a tview only while it has two of what refers to it: whoever adds one sees none, both together make a row. */
const pairs = `
  SELECT u.id, count(*) AS posts
  FROM tb_user u JOIN tb_post p ON p.user_id = u.id
  GROUP BY u.id HAVING count(*) > 2`;

checkShapes([
  {
    name: 'two children of one parent that has a row',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (8, 1, 'new')`),
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
    ],
    guards: [['key']],
  },
  {
    name: 'two children of one parent that has no row yet',
    tables: blog,
    tviews: {
      tv_user: `
        SELECT u.id, jsonb_agg(p.title ORDER BY p.id) AS data
        FROM tb_user u JOIN tb_post p ON p.user_id = u.id GROUP BY u.id`,
    },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (8, 3, 'new')`),
      writer(`INSERT INTO tb_post VALUES (9, 3, 'new')`),
    ],
    guards: [['key']],
  },
  {
    name: 'two children that only together make a row',
    tables: blog,
    tviews: { tv_user: pairs },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (8, 1, 'new')`),
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
    ],
    guards: [['key']],
  },
  {
    name: 'two first rows of one group',
    tables: looseBlog,
    tviews: { tv_total: postsOfUser },
    sessions: [
      writer(`INSERT INTO tb_post VALUES (8, 9, 'new')`),
      writer(`INSERT INTO tb_post VALUES (9, 9, 'new')`),
    ],
    guards: [['key']],
  },
  {
    name: 'the last row of a group goes while another comes',
    tables: looseBlog,
    tviews: { tv_total: postsOfUser },
    sessions: [
      writer('DELETE FROM tb_post WHERE id = 1'),
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
    ],
    guards: [['key']],
  },
  {
    name: 'two rows change places between two groups',
    tables: looseBlog,
    tviews: { tv_total: postsOfUser },
    sessions: [
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer('UPDATE tb_post SET user_id = 1 WHERE id = 2'),
    ],
    guards: [['key']],
  },
  {
    name: 'a parent comes while its child does, without a foreign key',
    tables: looseBlog,
    tviews: { tv_user: userWithPosts },
    sessions: [
      writer(`INSERT INTO tb_user VALUES (7, 1, 'new')`),
      writer(`INSERT INTO tb_post VALUES (9, 7, 'new')`),
    ],
    guards: [['key']],
  },
  {
    name: 'a parent is renamed while a child comes',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    sessions: [
      writer(`UPDATE tb_user SET name = 'renamed' WHERE id = 1`),
      writer(`INSERT INTO tb_post VALUES (9, 1, 'new')`),
    ],
    guards: [['key']],
  },
  {
    name: 'a parent goes while its last child leaves it, with a foreign key',
    tables: blog,
    tviews: { tv_user: userWithPosts },
    sessions: [
      writer('UPDATE tb_post SET user_id = 2 WHERE id = 1'),
      writer('DELETE FROM tb_user WHERE id = 1'),
    ],
    // The foreign key refuses to let it go before the child is known to have left.
    guards: [],
    errors: ['23503'],
  },
  {
    name: 'two paths to one key, by a look-up and by what it gathers',
    tables: documents,
    tviews: { tv_document: documentWithAll },
    sessions: [
      writer(`UPDATE tb_person SET name = 'renamed' WHERE id = 1`),
      writer(`INSERT INTO tb_page VALUES (9, 1, 'new')`),
    ],
    guards: [['key']],
  },
  {
    name: 'two paths to one key, by two look-ups in one table',
    tables: documents,
    tviews: { tv_document: documentWithAll },
    sessions: [
      writer(`UPDATE tb_person SET name = 'author' WHERE id = 1`),
      writer(`UPDATE tb_person SET name = 'editor' WHERE id = 2`),
    ],
    guards: [['key']],
  },
  {
    name: 'three paths to one key',
    tables: documents,
    tviews: { tv_document: documentWithAll },
    sessions: [
      writer(`UPDATE tb_person SET name = 'renamed' WHERE id = 1`),
      writer(`INSERT INTO tb_page VALUES (9, 1, 'new')`),
      writer('UPDATE tb_document SET editor_id = 3 WHERE id = 1'),
    ],
    guards: [['key']],
  },
  {
    name: 'an editor comes to a document by a path that another session does not take',
    tables: documents,
    tviews: { tv_document: documentWithAll },
    sessions: [
      writer('UPDATE tb_document SET editor_id = 3 WHERE id = 1'),
      writer(`UPDATE tb_person SET name = 'renamed' WHERE id = 3`),
    ],
    guards: [['near'], ['far']],
  },
  {
    name: 'a key is given to another row while it gets a child, without a foreign key',
    tables: looseBlog,
    tviews: { tv_user: userWithPosts },
    sessions: [
      writer('UPDATE tb_user SET id = 7 WHERE id = 1'),
      writer(`INSERT INTO tb_post VALUES (9, 7, 'new')`),
    ],
    guards: [['key']],
  },
]);
