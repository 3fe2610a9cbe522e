-- New transaction ids begin with the place of their entry and are found by the primary key. This index is for the others: those of
-- earlier versions (UUID version 4), and those of due items. The build takes a SHARE lock: reads go on, writes of entries wait until
-- it is done. Where that is too long, build it before (deploy/README.md).
DO $$
BEGIN
    -- What a build that was cancelled leaves behind.
    IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('credits.entries_unplaced') AND NOT indisvalid) THEN
        DROP INDEX credits.entries_unplaced;
    END IF;
END
$$;
CREATE INDEX IF NOT EXISTS entries_unplaced ON credits.entries (user_id, transaction_id)
    WHERE actor = 'system' OR get_byte(uuid_send(transaction_id), 6) >> 4 <> 8;

COMMENT ON INDEX credits.entries_unplaced IS 'Finds transactions whose ids do not begin with their place';
COMMENT ON COLUMN credits.entries.transaction_id IS 'One per command, which may write two entries. UUID version 8 that begins with the seq of the first one, in 48 bits; of other versions in older entries, and a digest in those of due items';
