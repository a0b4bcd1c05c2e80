/** Four tables, each of which refers to the one before, and definitions that read them in both directions. */

const references = (table: string, keyed: boolean): string => (keyed ? ` REFERENCES ${table}` : '');

const blogTables = (keyed: boolean): string => `
  CREATE TABLE tb_country (id int PRIMARY KEY, name text NOT NULL);
  CREATE TABLE tb_user (id int PRIMARY KEY, country_id int${references('tb_country', keyed)}, name text NOT NULL);
  CREATE TABLE tb_post (id int PRIMARY KEY, user_id int${references('tb_user', keyed)}, title text NOT NULL);
  CREATE TABLE tb_comment (id int PRIMARY KEY, post_id int${references('tb_post', keyed)}, body text NOT NULL);
  CREATE INDEX ON tb_user (country_id);
  CREATE INDEX ON tb_post (user_id);
  CREATE INDEX ON tb_comment (post_id);
  INSERT INTO tb_country VALUES (1, 'one'), (2, 'two');
  INSERT INTO tb_user VALUES (1, 1, 'ann'), (2, 2, 'bob'), (3, NULL, 'cat');
  INSERT INTO tb_post VALUES (1, 1, 'first'), (2, 2, 'second'), (3, NULL, 'stray');
  INSERT INTO tb_comment VALUES (1, 1, 'yes'), (2, 2, 'no'), (3, 3, 'well');
`;

/** With foreign keys. */
export const blog = blogTables(true);
/** Without: parents come and go as they like. */
export const looseBlog = blogTables(false);

/** Down: a row looks up the one it refers to. */
export const postWithUser = `
  SELECT p.id, jsonb_build_object('title', p.title, 'user', u.name) AS data
  FROM tb_post p JOIN tb_user u ON u.id = p.user_id`;

export const postWithUserIfAny = `
  SELECT p.id, jsonb_build_object('title', p.title, 'user', u.name) AS data
  FROM tb_post p LEFT JOIN tb_user u ON u.id = p.user_id`;

/** The same over two links. */
export const commentWithUser = `
  SELECT c.id, jsonb_build_object('body', c.body, 'title', p.title, 'user', u.name) AS data
  FROM tb_comment c JOIN tb_post p ON p.id = c.post_id JOIN tb_user u ON u.id = p.user_id`;

/** Up: a row gathers those that refer to it. */
export const userWithPosts = `
  SELECT u.id, jsonb_build_object('name', u.name, 'posts', (
    SELECT jsonb_agg(p.title ORDER BY p.id) FROM tb_post p WHERE p.user_id = u.id
  )) AS data
  FROM tb_user u`;

/** The same over two links. */
export const userWithComments = `
  SELECT u.id, jsonb_build_object('name', u.name, 'posts', (
    SELECT jsonb_agg(jsonb_build_object('title', p.title, 'comments', (
      SELECT jsonb_agg(c.body ORDER BY c.id) FROM tb_comment c WHERE c.post_id = p.id
    )) ORDER BY p.id)
    FROM tb_post p WHERE p.user_id = u.id
  )) AS data
  FROM tb_user u`;

/** And over three. */
export const countryWithComments = `
  SELECT k.id, jsonb_build_object('name', k.name, 'comments', (
    SELECT jsonb_agg(c.body ORDER BY c.id)
    FROM tb_user u JOIN tb_post p ON p.user_id = u.id JOIN tb_comment c ON c.post_id = p.id
    WHERE u.country_id = k.id
  )) AS data
  FROM tb_country k`;

/** A row for each user who has a post, and for no other. */
export const postsOfUser = `
  SELECT p.user_id, count(*) AS posts, jsonb_agg(p.title ORDER BY p.id) AS data
  FROM tb_post p WHERE p.user_id IS NOT NULL GROUP BY p.user_id`;
