ALTER TABLE identity.users DROP COLUMN avatar_url;
