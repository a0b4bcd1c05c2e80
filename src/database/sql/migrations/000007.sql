-- Tviews that "tviews apply" is filling (decision 010): each is registered like any other, so that whoever writes keeps in step
-- what is there of it. One that is built beside another, or for a name that is free, is called tviews.tv_building_<id>
-- meanwhile; one that has got columns has its own name.
CREATE TABLE tviews.construction (
  tview integer PRIMARY KEY REFERENCES tviews.tview ON DELETE CASCADE,
  -- What it is called when it is done.
  schema text NOT NULL,
  name text NOT NULL,
  action text NOT NULL CHECK (action IN ('created', 'altered', 'replaced', 'rebuilt')),
  -- The keys to compute, in the table tviews.fill_<id>; null until they are listed. The first of them have been.
  keys bigint,
  filled bigint NOT NULL DEFAULT 0,
  begun_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (schema, name)
);
