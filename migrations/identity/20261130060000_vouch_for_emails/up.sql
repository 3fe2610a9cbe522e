-- An address counts as a user's own only if somebody trustworthy vouched for it. Addresses stored so far may have been
-- claimed by anybody, so they start as contacts; the next token that vouches for one makes it held.
ALTER TABLE identity.users
    ADD COLUMN email_vouched boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT users_vouched_has_email CHECK (email IS NOT NULL OR NOT email_vouched);
CREATE UNIQUE INDEX users_vouched_email_key ON identity.users (email_folded) WHERE email_vouched;
DROP INDEX identity.users_email_folded_key;

COMMENT ON COLUMN identity.users.email_vouched IS 'True: the user holds the address, alone; false: it is a contact that anybody may have given';
COMMENT ON COLUMN identity.users.email_folded IS 'The address in lower case, as the service folds it: what addresses are compared by; unique among those vouched for';
