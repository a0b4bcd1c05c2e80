-- Rooms and the nights they are taken; rates that hold for a time.

CREATE TABLE hotel (
  id int PRIMARY KEY,
  name text NOT NULL,
  stars smallint
);

CREATE TABLE room (
  hotel_id int REFERENCES hotel ON DELETE CASCADE,
  number text,
  beds int NOT NULL DEFAULT 2,
  PRIMARY KEY (hotel_id, number)
);

CREATE TABLE guest (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  phone text
);

CREATE TABLE booking (
  id int PRIMARY KEY,
  hotel_id int NOT NULL,
  room text NOT NULL,
  guest_id uuid REFERENCES guest ON DELETE SET NULL,
  nights daterange NOT NULL,
  cancelled boolean NOT NULL DEFAULT false,
  FOREIGN KEY (hotel_id, room) REFERENCES room ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE rate (
  id int PRIMARY KEY,
  hotel_id int NOT NULL REFERENCES hotel ON DELETE CASCADE,
  season daterange NOT NULL,
  per_night numeric(8, 2) NOT NULL
);

INSERT INTO hotel VALUES (1, 'Seaview', 3), (2, 'Central', NULL);

INSERT INTO room VALUES (1, '101', 2), (1, '102', 1), (2, 'A', 4);

INSERT INTO guest
VALUES ('11111111-1111-1111-1111-111111111111', 'Fay', '123'), ('22222222-2222-2222-2222-222222222222', 'Gus', NULL);

INSERT INTO booking
VALUES (1, 1, '101', '11111111-1111-1111-1111-111111111111', '[2024-07-01,2024-07-04)', false),
       (2, 1, '101', '22222222-2222-2222-2222-222222222222', '[2024-07-04,2024-07-05)', false),
       (3, 2, 'A', '11111111-1111-1111-1111-111111111111', '[2024-08-01,2024-08-11)', false);

INSERT INTO rate VALUES (1, 1, '[2024-01-01,2024-07-03)', 80), (2, 1, '[2024-07-03,2024-12-31)', 120), (3, 2, '[2024-01-01,)', 60);

-- When a room is taken, in pieces that touch joined.
CREATE TVIEW tv_room AS
SELECT
  r.hotel_id,
  r.number,
  r.beds,
  (SELECT range_agg(b.nights) FROM booking b WHERE b.hotel_id = r.hotel_id AND b.room = r.number AND NOT b.cancelled)::text AS taken,
  jsonb_build_object(
    'bookings', (
      SELECT jsonb_agg(jsonb_build_object('from', lower(b.nights), 'to', upper(b.nights), 'guest', g.name) ORDER BY b.nights, b.id)
      FROM booking b
      LEFT JOIN guest g ON g.id = b.guest_id
      WHERE b.hotel_id = r.hotel_id AND b.room = r.number AND NOT b.cancelled
    )
  ) AS calendar
FROM room r;

-- What a stay costs: each night at the rate of its season.
CREATE TVIEW tv_booking AS
SELECT
  b.id,
  h.name AS hotel,
  b.room,
  upper(b.nights) - lower(b.nights) AS nights,
  price.total,
  price.unpriced
FROM booking b
JOIN hotel h ON h.id = b.hotel_id
CROSS JOIN LATERAL (
  SELECT sum(r.per_night) AS total, count(*) FILTER (WHERE r.id IS NULL) AS unpriced
  FROM generate_series(lower(b.nights)::timestamp, upper(b.nights) - interval '1 day', interval '1 day') AS night (at)
  LEFT JOIN rate r ON r.hotel_id = b.hotel_id AND r.season @> night.at::date
) price
WHERE NOT b.cancelled;

-- Guests, with the hotels they have been in.
CREATE TVIEW tv_guest AS
SELECT
  g.id,
  g.name,
  count(b.id) AS stays,
  COALESCE(sum(upper(b.nights) - lower(b.nights)), 0) AS nights,
  array_agg(DISTINCT h.name ORDER BY h.name) FILTER (WHERE h.id IS NOT NULL) AS hotels
FROM guest g
LEFT JOIN booking b ON b.guest_id = g.id AND NOT b.cancelled
LEFT JOIN hotel h ON h.id = b.hotel_id
GROUP BY g.id, g.name;

-- Two bookings of one room that overlap: a table with itself. Such a pair is no row of a table, and has no key.
-- refused: the key (one, other) is spread over app.booking (a) and app.booking (b)
-- way out: Choose a key one table has
CREATE TVIEW tv_clash WITH (key = 'one, other') AS
SELECT a.id AS one, b.id AS other
FROM booking a
JOIN booking b ON b.hotel_id = a.hotel_id AND b.room = a.room AND b.nights && a.nights AND b.id > a.id
WHERE NOT a.cancelled AND NOT b.cancelled;

CREATE TVIEW tv_clash AS
SELECT a.id, array_agg(b.id ORDER BY b.id) AS others
FROM booking a
JOIN booking b ON b.hotel_id = a.hotel_id AND b.room = a.room AND b.nights && a.nights AND b.id <> a.id
WHERE NOT a.cancelled AND NOT b.cancelled
GROUP BY a.id;

-- Hotels: rooms, how many were ever booked, from-price.
CREATE TVIEW tv_hotel AS
SELECT
  h.id,
  jsonb_build_object(
    'name', repeat('*', COALESCE(h.stars, 0)) || h.name,
    'rooms', (SELECT count(*) FROM room r WHERE r.hotel_id = h.id),
    'beds', (SELECT sum(r.beds) FROM room r WHERE r.hotel_id = h.id),
    'booked', (
      SELECT count(*)
      FROM room r
      WHERE r.hotel_id = h.id AND (r.hotel_id, r.number) IN (SELECT b.hotel_id, b.room FROM booking b WHERE NOT b.cancelled)
    ),
    'from', (SELECT min(per_night) FROM rate WHERE hotel_id = h.id)
  ) AS data
FROM hotel h;

-- The desk at work.
INSERT INTO booking VALUES (4, 1, '102', '22222222-2222-2222-2222-222222222222', '[2024-07-02,2024-07-06)');
UPDATE booking SET nights = '[2024-07-03,2024-07-05)' WHERE id = 2;
UPDATE booking SET room = '101' WHERE id = 4;
UPDATE booking SET cancelled = true WHERE id = 1;
UPDATE booking SET guest_id = '11111111-1111-1111-1111-111111111111' WHERE id = 2;
UPDATE booking SET hotel_id = 2, room = 'A' WHERE id = 4;
BEGIN;
INSERT INTO guest VALUES ('33333333-3333-3333-3333-333333333333', 'Hal', '9000');
INSERT INTO booking VALUES (5, 2, 'A', '33333333-3333-3333-3333-333333333333', '[2024-07-05,2024-07-07)');
SAVEPOINT s;
UPDATE booking SET cancelled = true;
ROLLBACK TO SAVEPOINT s;
UPDATE rate SET per_night = 65 WHERE id = 3;
COMMIT;
UPDATE rate SET season = '[2024-01-01,2024-08-05)' WHERE id = 3;
INSERT INTO rate VALUES (4, 2, '[2024-08-05,)', 55.50);
UPDATE rate SET hotel_id = 1 WHERE id = 4;
DELETE FROM rate WHERE id = 2;
UPDATE guest SET name = 'Faye' WHERE phone = '123';
INSERT INTO room VALUES (1, '103', 3), (2, 'B', 1);
UPDATE room SET number = '201' WHERE number = '101';
UPDATE room SET beds = 1 WHERE number = 'A';
UPDATE hotel SET name = 'Sea View', stars = 4 WHERE id = 1;
INSERT INTO hotel VALUES (3, 'New', 5);
DELETE FROM room WHERE number = 'A';
DELETE FROM guest WHERE phone = '123';
DELETE FROM booking WHERE id = 1;
DELETE FROM hotel WHERE id = 1;
