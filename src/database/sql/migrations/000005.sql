-- Since when writes of its sources are nothing to a tview (tviews suspend); null where it is kept in step.
ALTER TABLE tviews.tview ADD COLUMN suspended_at timestamptz;
