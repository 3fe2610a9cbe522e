DROP TABLE sessions.replies;
