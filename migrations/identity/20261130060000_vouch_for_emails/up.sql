-- An address counts as a user's own only if somebody trustworthy vouched for it. Addresses stored so far may have been
-- claimed by anybody, so they start as contacts; the next token that vouches for one makes it held. Nothing is rewritten or
-- scanned: the default is a constant, and another migration validates the constraint.
ALTER TABLE identity.users
    ADD COLUMN email_vouched boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT users_vouched_has_email CHECK (email IS NOT NULL OR NOT email_vouched) NOT VALID;

COMMENT ON COLUMN identity.users.email_vouched IS 'True: the user holds the address, alone; false: it is a contact that anybody may have given';
