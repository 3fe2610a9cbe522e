-- Several users may give the same address as a contact.
DROP INDEX identity.users_email_folded_key;

COMMENT ON COLUMN identity.users.email_folded IS 'The address in lower case, as the service folds it: what addresses are compared by; unique among those vouched for';
