ALTER TABLE sessions.messages DROP COLUMN size_bytes;
ALTER TABLE sessions.sessions DROP COLUMN size_bytes;
