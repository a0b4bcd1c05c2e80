-- The least a row-level trigger can do: note which row changed, for somebody who refreshes later.

CREATE UNLOGGED TABLE shop.changed_product (
  pk_product integer NOT NULL
);

CREATE FUNCTION shop.record_row() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO shop.changed_product (pk_product) VALUES (NEW.pk_product);
  RETURN NULL;
END
$$;

CREATE TRIGGER record_row AFTER UPDATE ON shop.tb_product
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION shop.record_row();
