DROP INDEX identity.users_admins;
