-- Why a change of the schema could not be followed: {"state", "message", "detail", "hint"}, where state says of what (follow.ts). Null
-- where there is nothing to say.
ALTER TABLE tviews.tview ADD COLUMN problem jsonb;
