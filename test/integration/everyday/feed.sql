-- A social network: what happens is of several kinds, and stands in one list.

CREATE TABLE member (
  id int PRIMARY KEY,
  name text NOT NULL,
  avatar text
);

CREATE TABLE follow (
  follower_id int REFERENCES member ON DELETE CASCADE,
  followee_id int REFERENCES member ON DELETE CASCADE,
  muted boolean NOT NULL DEFAULT false,
  PRIMARY KEY (follower_id, followee_id)
);

CREATE INDEX ON follow (followee_id);

CREATE TABLE post (
  id int PRIMARY KEY,
  member_id int NOT NULL REFERENCES member ON DELETE CASCADE,
  body text NOT NULL,
  at timestamptz NOT NULL
);

CREATE TABLE photo (
  id int PRIMARY KEY,
  member_id int NOT NULL REFERENCES member ON DELETE CASCADE,
  url text NOT NULL,
  caption text,
  at timestamptz NOT NULL
);

CREATE TABLE repost (
  id int PRIMARY KEY,
  member_id int NOT NULL REFERENCES member ON DELETE CASCADE,
  post_id int NOT NULL REFERENCES post ON DELETE CASCADE,
  at timestamptz NOT NULL
);

CREATE TABLE reaction (
  post_id int REFERENCES post ON DELETE CASCADE,
  member_id int REFERENCES member ON DELETE CASCADE,
  emoji text NOT NULL,
  PRIMARY KEY (post_id, member_id)
);

INSERT INTO member VALUES (1, 'amy', 'a.png'), (2, 'ben', NULL), (3, 'cat', 'c.png');

INSERT INTO follow VALUES (1, 2), (2, 1), (3, 1);

INSERT INTO post VALUES (1, 1, 'hi all', '2024-05-01 08:00+00'), (2, 2, 'lunch', '2024-05-01 12:00+00'), (3, 1, 'bye', '2024-05-02 20:00+00');

INSERT INTO photo VALUES (1, 2, '/1.jpg', 'my cat', '2024-05-01 13:00+00');

INSERT INTO repost VALUES (1, 3, 1, '2024-05-01 09:00+00');

INSERT INTO reaction VALUES (1, 2, 'heart'), (1, 3, 'heart'), (2, 1, 'laugh');

CREATE VIEW activity AS
SELECT 'post' AS kind, id, member_id, body AS text, at FROM post
UNION ALL
SELECT 'photo', id, member_id, COALESCE(caption, url), at FROM photo;

-- Everything that happens, each with who did it.
CREATE TVIEW tv_item WITH (key = 'kind, id') AS
SELECT i.kind, i.id, jsonb_build_object('by', m.name, 'avatar', COALESCE(m.avatar, 'none.png'), 'text', i.text, 'at', i.at) AS data
FROM (
  SELECT a.kind, a.id, a.member_id, a.text, a.at FROM activity a
  UNION ALL
  SELECT 'repost', r.id, r.member_id, format('%s: %s', w.name, p.body), r.at
  FROM repost r
  JOIN post p ON p.id = r.post_id
  JOIN member w ON w.id = p.member_id
) i
JOIN member m ON m.id = i.member_id;

-- What somebody sees: the newest three of those followed.
CREATE TVIEW tv_home AS
SELECT
  m.id,
  (
    SELECT jsonb_agg(jsonb_build_object('kind', n.kind, 'text', n.text) ORDER BY n.at DESC, n.kind, n.id)
    FROM (
      SELECT a.kind, a.id, a.text, a.at
      FROM follow f
      JOIN activity a ON a.member_id = f.followee_id
      WHERE f.follower_id = m.id AND NOT f.muted
      ORDER BY a.at DESC, a.kind, a.id
      LIMIT 3
    ) n
  ) AS items
FROM member m;

-- A profile with its counts; friends follow each other.
CREATE TVIEW tv_profile AS
SELECT
  m.id,
  m.name,
  (SELECT count(*) FROM follow f WHERE f.followee_id = m.id) AS followers,
  (SELECT count(*) FROM follow f WHERE f.follower_id = m.id) AS follows,
  ARRAY(
    SELECT o.name
    FROM follow f
    JOIN follow back ON back.follower_id = f.followee_id AND back.followee_id = f.follower_id
    JOIN member o ON o.id = f.followee_id
    WHERE f.follower_id = m.id
    ORDER BY o.name
  ) AS friends,
  (SELECT count(*) FROM activity a WHERE a.member_id = m.id) AS items
FROM member m;

-- A post with how often each reaction came.
CREATE TVIEW tv_post AS
SELECT
  p.id,
  p.body,
  COALESCE(r.reactions, '{}') AS reactions,
  COALESCE(r.total, 0) AS total,
  (SELECT string_agg(m.name, ', ' ORDER BY m.name) FROM repost x JOIN member m ON m.id = x.member_id WHERE x.post_id = p.id) AS reposted_by
FROM post p
LEFT JOIN LATERAL (
  SELECT jsonb_object_agg(e.emoji, e.times ORDER BY e.emoji) AS reactions, sum(e.times) AS total
  FROM (SELECT emoji, count(*) AS times FROM reaction WHERE post_id = p.id GROUP BY emoji) e
) r ON true;

-- Notices: who has reacted or reposted, told to whom it concerns.
CREATE TVIEW tv_notice WITH (key = 'kind, post_id, who') AS
SELECT 'reaction' AS kind, r.post_id, r.member_id AS who, p.member_id AS whom, r.emoji AS what
FROM reaction r
JOIN post p ON p.id = r.post_id
WHERE p.member_id <> r.member_id
UNION
SELECT 'repost', x.post_id, x.member_id, p.member_id, 'reposted'
FROM repost x
JOIN post p ON p.id = x.post_id;

-- Whom one follows without being followed.
CREATE TVIEW tv_unrequited WITH (key = 'follower_id, followee_id') AS
SELECT f.follower_id, f.followee_id, m.name FROM follow f JOIN member m ON m.id = f.followee_id WHERE NOT f.muted
EXCEPT
SELECT b.followee_id, b.follower_id, m.name FROM follow b JOIN member m ON m.id = b.follower_id;

-- What happens.
INSERT INTO post VALUES (4, 3, 'hello', '2024-05-03 10:00+00');
UPDATE post SET body = 'hi everybody' WHERE id = 1;
UPDATE post SET at = '2024-04-01' WHERE id = 2;
UPDATE post SET member_id = 3 WHERE id = 3;
INSERT INTO photo VALUES (2, 1, '/2.jpg', NULL, '2024-05-03 11:00+00');
UPDATE photo SET caption = 'beach' WHERE id = 2;
UPDATE photo SET member_id = 3, id = 7 WHERE id = 1;
BEGIN;
INSERT INTO repost VALUES (2, 2, 3, '2024-05-04'), (3, 2, 4, '2024-05-04');
UPDATE post SET body = 'bye, bye' WHERE id = 3;
SAVEPOINT s;
DELETE FROM photo;
ROLLBACK TO SAVEPOINT s;
COMMIT;
UPDATE repost SET post_id = 1 WHERE id = 2;
UPDATE repost SET at = '2024-05-05', member_id = 1 WHERE id = 3;
DELETE FROM repost WHERE id = 2;
INSERT INTO reaction VALUES (1, 2, 'laugh'), (4, 2, 'heart') ON CONFLICT (post_id, member_id) DO UPDATE SET emoji = EXCLUDED.emoji;
UPDATE reaction SET post_id = 3 WHERE member_id = 1;
UPDATE post SET member_id = 2 WHERE id = 3;
DELETE FROM reaction WHERE emoji = 'laugh' AND member_id = 2;
INSERT INTO follow VALUES (1, 3), (2, 3);
UPDATE follow SET muted = true WHERE follower_id = 1 AND followee_id = 2;
UPDATE follow SET follower_id = 3, followee_id = 2 WHERE follower_id = 2 AND followee_id = 1;
DELETE FROM follow WHERE follower_id = 3;
INSERT INTO follow VALUES (3, 1);
UPDATE follow SET muted = false;
UPDATE member SET name = 'benny', avatar = 'b.png' WHERE id = 2;
UPDATE member SET name = upper(name);
INSERT INTO member VALUES (4, 'dan');
BEGIN;
DELETE FROM member WHERE id = 3;
ROLLBACK;
DELETE FROM post WHERE id = 1;
DELETE FROM member WHERE id = 3;
TRUNCATE photo;
