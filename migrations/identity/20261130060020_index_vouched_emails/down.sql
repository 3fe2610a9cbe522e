DROP INDEX identity.users_vouched_email_key;
