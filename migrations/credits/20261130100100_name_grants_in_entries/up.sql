-- An entry that changes one grant by what its type and amount say names the grant itself. Nothing is rewritten or scanned: rows
-- that exist keep their lines. The cost is an exclusive lock of an instant.
ALTER TABLE credits.entries ADD COLUMN grant_id bigint;
COMMENT ON COLUMN credits.entries.grant_id IS 'The one grant that the entry changes, by the amount; null: the grants are in credits.entry_lines';
