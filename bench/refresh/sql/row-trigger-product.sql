-- The trigger most people write first: FOR EACH ROW, it computes the one row anew. Wrong as soon as two transactions meet
-- (it locks nothing), and as often as the statement has rows. WHEN spares it the updates that change nothing.

CREATE FUNCTION shop.refresh_product(changed integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO shop.tv_product (pk_product, id, fk_category, data)
  SELECT pk_product, id, fk_category, data FROM shop.v_product WHERE pk_product = changed
  ON CONFLICT (pk_product) DO UPDATE SET id = EXCLUDED.id, fk_category = EXCLUDED.fk_category, data = EXCLUDED.data;
  IF NOT FOUND THEN
    DELETE FROM shop.tv_product WHERE pk_product = changed;
  END IF;
END
$$;

CREATE FUNCTION shop.product_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    PERFORM shop.refresh_product(OLD.pk_product);
  ELSE
    PERFORM shop.refresh_product(NEW.pk_product);
  END IF;
  RETURN NULL;
END
$$;

CREATE FUNCTION shop.product_part_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    PERFORM shop.refresh_product(OLD.fk_product);
  END IF;
  IF TG_OP <> 'DELETE' AND (TG_OP = 'INSERT' OR NEW.fk_product <> OLD.fk_product) THEN
    PERFORM shop.refresh_product(NEW.fk_product);
  END IF;
  RETURN NULL;
END
$$;

CREATE FUNCTION shop.category_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO shop.tv_product (pk_product, id, fk_category, data)
  SELECT pk_product, id, fk_category, data FROM shop.v_product WHERE fk_category = NEW.pk_category
  ON CONFLICT (pk_product) DO UPDATE SET id = EXCLUDED.id, fk_category = EXCLUDED.fk_category, data = EXCLUDED.data;
  RETURN NULL;
END
$$;

CREATE TRIGGER product_made AFTER INSERT OR DELETE ON shop.tb_product
FOR EACH ROW EXECUTE FUNCTION shop.product_changed();
CREATE TRIGGER product_changed AFTER UPDATE ON shop.tb_product
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION shop.product_changed();

CREATE TRIGGER review_made AFTER INSERT OR DELETE ON shop.tb_review
FOR EACH ROW EXECUTE FUNCTION shop.product_part_changed();
CREATE TRIGGER review_changed AFTER UPDATE ON shop.tb_review
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION shop.product_part_changed();

CREATE TRIGGER inventory_made AFTER INSERT OR DELETE ON shop.tb_inventory
FOR EACH ROW EXECUTE FUNCTION shop.product_part_changed();
CREATE TRIGGER inventory_changed AFTER UPDATE ON shop.tb_inventory
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION shop.product_part_changed();

CREATE TRIGGER category_changed AFTER UPDATE ON shop.tb_category
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION shop.category_changed();
