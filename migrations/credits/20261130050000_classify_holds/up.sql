-- The class of the caller (a user, or a service or administrator) who made or ended a hold. Nothing is rewritten, scanned or
-- indexed: columns are added as null, constraints hold for new rows. The cost is an exclusive lock of an instant.
ALTER TABLE credits.holds
    ADD COLUMN made_by text,
    ADD COLUMN ended_by text;
ALTER TABLE credits.holds
    ADD CONSTRAINT holds_made_by CHECK (made_by IN ('user', 'service')) NOT VALID,
    ADD CONSTRAINT holds_ended_by CHECK (ended_by IN ('user', 'service')) NOT VALID,
    ADD CONSTRAINT holds_of_services CHECK (made_by <> 'service' OR ended_by <> 'user') NOT VALID;

COMMENT ON COLUMN credits.holds.made_by IS 'Class of the caller who made the hold: user or service; null: as the actor of its entry says';
COMMENT ON COLUMN credits.holds.ended_by IS 'Class of the caller who captured or released it; null while it is open, when it expired, and in rows older than this column';
