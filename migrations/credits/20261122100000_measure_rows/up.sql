-- What a row costs whoever reads it is counted once, when it is written: a list adds these up before it opens any value,
-- however well that was compressed. A change of amounts does not count again.
ALTER TABLE credits.entries ADD COLUMN size_bytes integer NOT NULL GENERATED ALWAYS AS (
    coalesce(octet_length(reference_id), 0) + coalesce(octet_length(description), 0)
    + coalesce(octet_length(metadata::text), 0)
) STORED;
ALTER TABLE credits.grants ADD COLUMN size_bytes integer NOT NULL GENERATED ALWAYS AS (
    coalesce(octet_length(reference_id), 0) + coalesce(octet_length(description), 0)
    + coalesce(octet_length(metadata::text), 0)
) STORED;
ALTER TABLE credits.holds ADD COLUMN size_bytes integer NOT NULL GENERATED ALWAYS AS (
    coalesce(octet_length(description), 0) + coalesce(octet_length(metadata::text), 0)
) STORED;

COMMENT ON COLUMN credits.entries.size_bytes IS 'Bytes of the texts and of the text of the JSON; a page of a list ends before it holds too many';
COMMENT ON COLUMN credits.grants.size_bytes IS 'Bytes of the texts and of the text of the JSON; a page of a list ends before it holds too many';
COMMENT ON COLUMN credits.holds.size_bytes IS 'Bytes of the texts and of the text of the JSON; a page of a list ends before it holds too many';
