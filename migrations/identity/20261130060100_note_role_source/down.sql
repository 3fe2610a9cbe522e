DROP INDEX identity.users_admins;
ALTER TABLE identity.users DROP COLUMN role_source;
