DROP INDEX identity.users_names_sought, identity.users_emails_sought;
DROP FUNCTION identity.fold;
