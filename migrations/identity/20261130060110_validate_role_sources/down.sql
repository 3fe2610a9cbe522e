ALTER TABLE identity.users DROP CONSTRAINT users_role_source_known;
ALTER TABLE identity.users
    ADD CONSTRAINT users_role_source_known CHECK (role_source IN ('configuration', 'promotion')) NOT VALID;
