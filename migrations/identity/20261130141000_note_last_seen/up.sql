-- Null for all users so far. Nothing is rewritten or scanned.
ALTER TABLE identity.users ADD COLUMN last_seen_at timestamptz;

COMMENT ON COLUMN identity.users.last_seen_at IS 'The hour of the last request of the user that succeeded; null if there was none yet';
