-- The tables that carried a source's capture when it was generated last: itself, its partitions or children, what it is a
-- partition of. A member that comes, goes, or comes back with rows, or takes some away, fires no trigger. As regclass, which
-- a dump writes by name.
ALTER TABLE tviews.source ADD COLUMN members regclass[];
