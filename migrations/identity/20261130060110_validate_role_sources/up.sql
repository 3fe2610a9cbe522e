-- Reads the table while others read and write it.
ALTER TABLE identity.users VALIDATE CONSTRAINT users_role_source_known;
