DROP INDEX credits.entries_unplaced;
COMMENT ON COLUMN credits.entries.transaction_id IS 'One per command, which may write several entries';
