-- The same for the other three tv_ tables of the demo, on top of row-trigger-product.sql.

CREATE FUNCTION shop.refresh_others(changed_category integer, changed_supplier integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO shop.tv_category (pk_category, id, slug, data)
  SELECT pk_category, id, slug, data FROM shop.v_category WHERE pk_category = changed_category
  ON CONFLICT (pk_category) DO UPDATE SET id = EXCLUDED.id, slug = EXCLUDED.slug, data = EXCLUDED.data;
  IF changed_supplier IS NOT NULL THEN
    INSERT INTO shop.tv_supplier (pk_supplier, id, country, data)
    SELECT pk_supplier, id, country, data FROM shop.v_supplier WHERE pk_supplier = changed_supplier
    ON CONFLICT (pk_supplier) DO UPDATE SET id = EXCLUDED.id, country = EXCLUDED.country, data = EXCLUDED.data;
    INSERT INTO shop.tv_supply (country, data)
    SELECT country, data FROM shop.v_supply
    WHERE country = (SELECT country FROM shop.tb_supplier WHERE pk_supplier = changed_supplier)
    ON CONFLICT (country) DO UPDATE SET data = EXCLUDED.data;
  END IF;
END
$$;

CREATE FUNCTION shop.product_changed_for_others() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM shop.refresh_others(NEW.fk_category, NEW.fk_supplier);
  ELSE
    PERFORM shop.refresh_others(OLD.fk_category, OLD.fk_supplier);
  END IF;
  IF TG_OP = 'UPDATE' THEN
    IF (NEW.fk_category, NEW.fk_supplier) IS DISTINCT FROM (OLD.fk_category, OLD.fk_supplier) THEN
      PERFORM shop.refresh_others(NEW.fk_category, NEW.fk_supplier);
    END IF;
  END IF;
  RETURN NULL;
END
$$;

CREATE FUNCTION shop.category_changed_for_others() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO shop.tv_category (pk_category, id, slug, data)
  SELECT pk_category, id, slug, data FROM shop.v_category
  WHERE pk_category = ANY (ARRAY(
    SELECT pk_category FROM shop.tb_category WHERE pk_category = NEW.pk_category OR fk_parent_category = NEW.pk_category
  ))
  ON CONFLICT (pk_category) DO UPDATE SET id = EXCLUDED.id, slug = EXCLUDED.slug, data = EXCLUDED.data;
  RETURN NULL;
END
$$;

CREATE TRIGGER others_made AFTER INSERT OR DELETE ON shop.tb_product
FOR EACH ROW EXECUTE FUNCTION shop.product_changed_for_others();
CREATE TRIGGER others_changed AFTER UPDATE ON shop.tb_product
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION shop.product_changed_for_others();
CREATE TRIGGER others_category_changed AFTER UPDATE ON shop.tb_category
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION shop.category_changed_for_others();
