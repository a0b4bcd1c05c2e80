-- A tview that has got columns and is not filled yet may be replaced before it is: then there are two of one name, and one of
-- them is built beside.
ALTER TABLE tviews.construction DROP CONSTRAINT construction_schema_name_key;
CREATE UNIQUE INDEX construction_beside_idx ON tviews.construction (schema, name) WHERE action <> 'altered';
