-- The messages of a user in the order of their integer ids, for the search. Takes the place of messages_id_key, which the next
-- migration drops, so that a message is written into as many indexes as before. Messages wait while it is built; reads go on.
CREATE UNIQUE INDEX IF NOT EXISTS messages_of_user ON sessions.messages (user_id, id);

COMMENT ON INDEX sessions.messages_of_user IS 'The messages of a user by integer id';
