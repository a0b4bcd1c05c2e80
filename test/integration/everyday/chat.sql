-- A chat: channels, who is in them and has read how far, messages that answer messages.

CREATE TABLE account (
  id int PRIMARY KEY,
  nick text NOT NULL,
  status jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE channel (
  id int PRIMARY KEY,
  topic text,
  is_direct boolean NOT NULL DEFAULT false
);

CREATE TABLE message (
  id bigint PRIMARY KEY,
  channel_id int NOT NULL REFERENCES channel ON DELETE CASCADE,
  account_id int REFERENCES account ON DELETE SET NULL,
  reply_to bigint REFERENCES message ON DELETE SET NULL,
  body text NOT NULL,
  mentions int[] NOT NULL DEFAULT '{}',
  deleted_at timestamptz
);

CREATE INDEX ON message (channel_id, id);

CREATE TABLE participant (
  channel_id int REFERENCES channel ON DELETE CASCADE,
  account_id int REFERENCES account ON DELETE CASCADE,
  last_read bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (channel_id, account_id)
);

CREATE TABLE reaction (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  message_id bigint NOT NULL REFERENCES message ON DELETE CASCADE,
  account_id int NOT NULL REFERENCES account ON DELETE CASCADE,
  emoji varchar(16) NOT NULL,
  UNIQUE (message_id, account_id, emoji)
);

INSERT INTO account VALUES (1, 'root', '{"away": false}'), (2, 'kim', '{}'), (3, 'lee', '{"away": true, "until": "noon"}');

INSERT INTO channel VALUES (1, 'general', false), (2, NULL, true);

INSERT INTO message
VALUES (1, 1, 1, NULL, 'welcome', '{}', NULL), (2, 1, 2, 1, 'thanks @root', '{1}', NULL), (3, 2, 3, NULL, 'psst', '{}', NULL);

INSERT INTO participant VALUES (1, 1, 2), (1, 2, 2), (1, 3, 1), (2, 2, 0), (2, 3, 3);

INSERT INTO reaction (message_id, account_id, emoji) VALUES (1, 2, 'wave'), (1, 3, 'wave'), (2, 1, 'ok');

-- The list of channels: last message, people.
CREATE TVIEW tv_channel AS
SELECT
  c.id,
  CASE WHEN c.is_direct THEN (
    SELECT string_agg(a.nick, ', ' ORDER BY a.nick)
    FROM participant p JOIN account a ON a.id = p.account_id
    WHERE p.channel_id = c.id
  ) ELSE '#' || c.topic END AS title,
  last.body AS last_body,
  last.nick AS last_by,
  (SELECT count(*) FROM participant p WHERE p.channel_id = c.id) AS people
FROM channel c
LEFT JOIN LATERAL (
  SELECT m.body, a.nick
  FROM message m
  LEFT JOIN account a ON a.id = m.account_id
  WHERE m.channel_id = c.id AND m.deleted_at IS NULL
  ORDER BY m.id DESC
  LIMIT 1
) last ON true;

-- How many messages one has not read, and whether one is named in them.
CREATE TVIEW tv_unread WITH (key = 'channel_id, account_id') AS
SELECT
  p.channel_id,
  p.account_id,
  count(m.id) AS unread,
  COALESCE(bool_or(p.account_id = ANY (m.mentions)), false) AS is_mentioned
FROM participant p
LEFT JOIN message m ON m.channel_id = p.channel_id AND m.id > p.last_read AND m.deleted_at IS NULL
GROUP BY p.channel_id, p.account_id;

-- A message with its quotation and reactions.
CREATE TVIEW tv_message AS
SELECT
  m.id,
  m.channel_id,
  jsonb_build_object(
    'by', a.nick,
    'away', (a.status ->> 'away')::boolean,
    'body', m.body,
    'quotes', CASE WHEN q.deleted_at IS NULL THEN left(q.body, 40) ELSE 'gone' END,
    'reactions', (
      SELECT jsonb_agg(jsonb_build_object('emoji', r.emoji, 'count', r.n) ORDER BY r.n DESC, r.emoji)
      FROM (SELECT emoji, count(*) AS n FROM reaction WHERE message_id = m.id GROUP BY emoji) r
    )
  ) AS data
FROM message m
LEFT JOIN account a ON a.id = m.account_id
LEFT JOIN message q ON q.id = m.reply_to
WHERE m.deleted_at IS NULL;

-- Who is named in a message: an array of keys.
CREATE TVIEW tv_mention AS
SELECT m.id, (SELECT string_agg(a.nick, ', ' ORDER BY a.nick) FROM account a WHERE a.id = ANY (m.mentions)) AS named
FROM message m
WHERE m.mentions <> '{}';

-- The other way round: in what messages somebody is named.
CREATE TVIEW tv_mentioned AS
SELECT a.id, a.nick, (SELECT jsonb_agg(m.id ORDER BY m.id) FROM message m WHERE m.mentions @> ARRAY[a.id]) AS messages
FROM account a;

-- Who is not named in a message: what is equal to no element is linked by nothing.
-- refused: table app.account (a) is not linked to the key
-- way out: by an equality of columns
CREATE TVIEW tv_unmentioned AS
SELECT m.id, (SELECT string_agg(a.nick, ', ' ORDER BY a.nick) FROM account a WHERE a.id <> ALL (m.mentions)) AS others
FROM message m
WHERE m.mentions <> '{}';

-- People come and go seldom: then every message may be computed.
CREATE TVIEW tv_unmentioned WITH (full_refresh = 'account') AS
SELECT m.id, (SELECT string_agg(a.nick, ', ' ORDER BY a.nick) FROM account a WHERE a.id <> ALL (m.mentions)) AS others
FROM message m
WHERE m.mentions <> '{}';

-- What people are like: from everything they have said, counted by their own windows.
CREATE TVIEW tv_talker WITH (key = 'account_id') AS
SELECT x.account_id, a.nick, x.messages, x.share, x.longest
FROM (
  SELECT DISTINCT
    m.account_id,
    count(*) OVER w AS messages,
    count(*) FILTER (WHERE m.reply_to IS NOT NULL) OVER w AS share,
    max(length(m.body)) OVER w AS longest
  FROM message m
  WHERE m.account_id IS NOT NULL AND m.deleted_at IS NULL
  WINDOW w AS (PARTITION BY m.account_id)
) x
JOIN account a ON a.id = x.account_id;

-- People talk.
BEGIN;
INSERT INTO message VALUES (4, 1, 3, 2, 'hi @kim and @root', '{2,1}');
UPDATE participant SET last_read = 4 WHERE channel_id = 1 AND account_id = 3;
COMMIT;
INSERT INTO message VALUES (5, 2, 2, 3, 'what is it?');
UPDATE message SET body = 'what was it?', mentions = '{3}' WHERE id = 5;
UPDATE message SET deleted_at = '2024-06-01' WHERE id = 2;
UPDATE message SET deleted_at = NULL WHERE id = 2;
UPDATE message SET channel_id = 1 WHERE id = 3;
UPDATE message SET account_id = 1 WHERE id = 5;
UPDATE message SET reply_to = 2 WHERE id = 5;
UPDATE message SET mentions = '{}' WHERE id = 4;
INSERT INTO reaction (message_id, account_id, emoji) VALUES (4, 1, 'wave'), (4, 2, 'ok') ON CONFLICT DO NOTHING;
UPDATE reaction SET emoji = 'smile' WHERE message_id = 1 AND account_id = 3;
UPDATE reaction SET message_id = 5 WHERE message_id = 2;
DELETE FROM reaction WHERE emoji = 'ok';
INSERT INTO participant VALUES (1, 1, 4), (2, 1, 0) ON CONFLICT (channel_id, account_id) DO UPDATE SET last_read = EXCLUDED.last_read;
UPDATE participant SET last_read = 0;
DELETE FROM participant WHERE channel_id = 2 AND account_id = 3;
UPDATE account SET nick = 'kimmy' WHERE id = 2;
UPDATE account SET nick = 'superuser', status = '{"away": true}' WHERE id = 1;
UPDATE account SET nick = 'leo' WHERE id = 3;
INSERT INTO channel VALUES (3, 'random');
UPDATE channel SET topic = 'all', is_direct = false WHERE id IN (1, 2);
BEGIN;
INSERT INTO account VALUES (4, 'new');
SAVEPOINT s;
INSERT INTO participant SELECT id, 4, 0 FROM channel;
ROLLBACK TO SAVEPOINT s;
INSERT INTO participant VALUES (3, 4, 0);
INSERT INTO message VALUES (6, 3, 4, NULL, 'first!');
COMMIT;
DELETE FROM message WHERE id = 1;
DELETE FROM account WHERE id = 1;
DELETE FROM account WHERE id = 3;
DELETE FROM channel WHERE id = 2;
TRUNCATE reaction;
