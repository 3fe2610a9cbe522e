DROP INDEX sessions.messages_of_user;
