ALTER TABLE usage.records DROP COLUMN size_bytes;
