ALTER TABLE sessions.messages DROP CONSTRAINT messages_status_check;
ALTER TABLE sessions.messages ADD CONSTRAINT messages_status_check
    CHECK (status IN ('completed', 'failed', 'in_progress', 'incomplete', 'cancelled')) NOT VALID;
