-- Who decides the role of a user. Every role so far came from the configuration; so does every role of a new user.
ALTER TABLE identity.users
    ADD COLUMN role_source text NOT NULL DEFAULT 'configuration'
        CONSTRAINT users_role_source_known CHECK (role_source IN ('configuration', 'promotion'));
-- For the start of a process, which looks for administrators who left the list.
CREATE INDEX users_admins ON identity.users (user_id) WHERE role = 'admin';

COMMENT ON COLUMN identity.users.role_source IS 'configuration: ADMIN_USER_IDS decides the role at each start; promotion: a decision about this user alone, which a start leaves as it is';
