-- The class of the caller (a user, or a service or administrator) whose word a record is. Nothing is rewritten, scanned or
-- indexed: the column is added as null, the constraint holds for new rows. The cost is an exclusive lock of an instant on the
-- table and its partitions.
ALTER TABLE usage.records ADD COLUMN recorded_by text COLLATE "C";
ALTER TABLE usage.records
    ADD CONSTRAINT records_recorded_by CHECK (recorded_by IN ('user', 'service')) NOT VALID;
COMMENT ON COLUMN usage.records.recorded_by IS 'Class of the caller whose word the record is: user or service; null in records older than this column. A correction has that of its record';
