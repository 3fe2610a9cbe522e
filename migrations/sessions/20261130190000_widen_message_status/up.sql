-- Replies of a model may end before they are whole. The rows that exist keep the narrower rule, so none is looked at here: an
-- exclusive lock of an instant. Another migration validates the constraint.
ALTER TABLE sessions.messages DROP CONSTRAINT messages_status_check;
ALTER TABLE sessions.messages ADD CONSTRAINT messages_status_check
    CHECK (status IN ('completed', 'failed', 'in_progress', 'incomplete', 'cancelled')) NOT VALID;
