-- The demo shop of pg_tviews' benchmark, as far as definitions need it.
CREATE TABLE category (
  pk_category serial PRIMARY KEY,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  name text NOT NULL,
  slug text NOT NULL UNIQUE,
  fk_parent_category integer REFERENCES category
);
CREATE TABLE supplier (
  pk_supplier serial PRIMARY KEY,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  name text NOT NULL,
  contact_email text,
  country text
);
CREATE TABLE product (
  pk_product serial PRIMARY KEY,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  fk_category integer NOT NULL REFERENCES category,
  fk_supplier integer REFERENCES supplier,
  sku text NOT NULL UNIQUE,
  name text NOT NULL,
  base_price numeric(10, 2) NOT NULL,
  current_price numeric(10, 2) NOT NULL,
  currency varchar(3) NOT NULL DEFAULT 'USD',
  status text NOT NULL DEFAULT 'active',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz
);
CREATE INDEX ON product (fk_category);
CREATE TABLE review (
  pk_review serial PRIMARY KEY,
  fk_product integer NOT NULL REFERENCES product,
  user_number integer NOT NULL,
  rating integer NOT NULL,
  title text,
  verified boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON review (fk_product);
CREATE TABLE inventory (
  pk_inventory serial PRIMARY KEY,
  fk_product integer NOT NULL UNIQUE REFERENCES product,
  quantity integer NOT NULL,
  reserved integer NOT NULL,
  warehouse text
);
