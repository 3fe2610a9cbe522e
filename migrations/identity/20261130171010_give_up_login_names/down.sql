-- A name by which nobody can log in: no address is a user id with a bar.
UPDATE identity.credentials SET login_email_folded = user_id WHERE login_email_folded IS NULL;
ALTER TABLE identity.credentials ALTER COLUMN login_email_folded SET NOT NULL;
COMMENT ON COLUMN identity.credentials.login_email_folded IS 'The address in lower case, as the service folds it';
