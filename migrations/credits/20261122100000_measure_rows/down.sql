ALTER TABLE credits.holds DROP COLUMN size_bytes;
ALTER TABLE credits.grants DROP COLUMN size_bytes;
ALTER TABLE credits.entries DROP COLUMN size_bytes;
