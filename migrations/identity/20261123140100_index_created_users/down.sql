DROP INDEX identity.users_created;
