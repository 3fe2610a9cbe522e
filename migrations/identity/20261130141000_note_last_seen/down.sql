ALTER TABLE identity.users DROP COLUMN last_seen_at;
