-- Who decides the role of a user. Every role so far came from the configuration; so does every role of a new user. Nothing is
-- rewritten or scanned: the default is a constant, and another migration validates the constraint.
ALTER TABLE identity.users
    ADD COLUMN role_source text NOT NULL DEFAULT 'configuration';
ALTER TABLE identity.users
    ADD CONSTRAINT users_role_source_known CHECK (role_source IN ('configuration', 'promotion')) NOT VALID;

COMMENT ON COLUMN identity.users.role_source IS 'configuration: ADMIN_USER_IDS decides the role at each start; promotion: a decision about this user alone, which a start leaves as it is';
