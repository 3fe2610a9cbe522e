ALTER TABLE identity.users DROP COLUMN email_vouched;
