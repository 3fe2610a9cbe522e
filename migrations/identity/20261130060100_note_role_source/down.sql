ALTER TABLE identity.users DROP COLUMN role_source;
