DROP INDEX identity.users_listed, identity.users_listed_by_plan, identity.users_listed_admins, identity.users_listed_inactive;
