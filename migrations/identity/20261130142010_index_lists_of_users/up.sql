-- The list of users, newest first, and its filters that are rare. Sign-ups wait while these read the table once; reads go on.
CREATE INDEX users_listed ON identity.users (created_at, id);
CREATE INDEX users_listed_by_plan ON identity.users (plan, created_at, id);
CREATE INDEX users_listed_admins ON identity.users (created_at, id) WHERE role = 'admin';
CREATE INDEX users_listed_inactive ON identity.users (created_at, id) WHERE NOT is_active;
