DROP INDEX identity.logins_ended;
