-- For the start of a process, which looks for administrators who left the list. Sign-ups wait while this reads the table
-- once; reads go on.
CREATE INDEX users_admins ON identity.users (user_id) WHERE role = 'admin';
