DROP TABLE sessions.messages;
DROP TABLE sessions.sessions;
DROP SCHEMA sessions;
