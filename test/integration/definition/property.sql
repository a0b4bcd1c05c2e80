-- Small tables of every shape definitions are made of, each with a log of row images that stands for the capture.
CREATE TABLE g (id int PRIMARY KEY, name text, tenant int, extra int);
CREATE TABLE a (id int PRIMARY KEY, g_id int REFERENCES g ON UPDATE CASCADE ON DELETE SET NULL, name text, flag boolean, extra int);
CREATE TABLE l (id int PRIMARY KEY, name text, kind int, extra int);
CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a ON UPDATE CASCADE ON DELETE CASCADE, l_id int, x int, flag boolean);
CREATE TABLE c (id int PRIMARY KEY, b_id int REFERENCES b ON UPDATE CASCADE ON DELETE CASCADE, x int, y bigint);
CREATE TABLE n (id int PRIMARY KEY, parent_id int REFERENCES n ON DELETE CASCADE, name text, extra int);
CREATE TABLE o (shop int, no int, note text, PRIMARY KEY (shop, no));
CREATE TABLE it (code varchar(3) PRIMARY KEY, name text);
CREATE TABLE li (shop int, no int, line int, item text, qty int, PRIMARY KEY (shop, no, line)) PARTITION BY LIST (shop);
CREATE TABLE li_1 PARTITION OF li FOR VALUES IN (1);
CREATE TABLE li_rest PARTITION OF li DEFAULT;
CREATE TABLE w (id int PRIMARY KEY, ids int[], extra int);
CREATE TABLE u (id uuid PRIMARY KEY, name text);
CREATE TABLE m (u1 uuid, u2 uuid, weight int, PRIMARY KEY (u1, u2));

-- In the log of the table that is its argument: a partition's trigger is that of the partitioned table.
CREATE FUNCTION log_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    EXECUTE format('INSERT INTO log_%I VALUES (%L, NULL, $1)', TG_ARGV[0], TG_OP) USING new;
  ELSIF TG_OP = 'DELETE' THEN
    EXECUTE format('INSERT INTO log_%I VALUES (%L, $1, NULL)', TG_ARGV[0], TG_OP) USING old;
  ELSE
    EXECUTE format('INSERT INTO log_%I VALUES (%L, $1, $2)', TG_ARGV[0], TG_OP) USING old, new;
  END IF;
  RETURN NULL;
END $$;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY '{g,a,l,b,c,n,o,it,li,w,u,m}'::text[] LOOP
    EXECUTE format('CREATE UNLOGGED TABLE log_%I (op text, o %1$I, n %1$I)', name);
    EXECUTE format('CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION log_row(%1$L)', name);
  END LOOP;
END $$;

-- Rows of the views before the change.
CREATE UNLOGGED TABLE before (definition int, key jsonb, content text);

-- Runs statements in order; one that violates a constraint leaves no trace, images included.
CREATE FUNCTION attempt(statements text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE statement text;
BEGIN
  FOREACH statement IN ARRAY statements LOOP
    BEGIN
      EXECUTE statement;
    EXCEPTION WHEN integrity_constraint_violation THEN
      CONTINUE;
    END;
  END LOOP;
END $$;
