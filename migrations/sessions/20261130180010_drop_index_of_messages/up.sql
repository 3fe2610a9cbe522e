-- Ids are generated, so they stay unique; whoever asks for one knows its user. An exclusive lock of an instant.
ALTER TABLE sessions.messages DROP CONSTRAINT messages_id_key;
