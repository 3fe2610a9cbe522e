-- Logins that ended before their time, for the job that deletes them.
CREATE INDEX logins_ended ON identity.logins (ended_at) WHERE ended_at IS NOT NULL;
