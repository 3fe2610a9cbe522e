-- An account loses its login name, an address that was never confirmed, when an administrator gives the address to another account.
ALTER TABLE identity.credentials ALTER COLUMN login_email_folded DROP NOT NULL;

COMMENT ON COLUMN identity.credentials.login_email_folded IS 'The address in lower case, as the service folds it; null after another account took it';
