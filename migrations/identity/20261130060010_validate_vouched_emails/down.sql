ALTER TABLE identity.users DROP CONSTRAINT users_vouched_has_email;
ALTER TABLE identity.users
    ADD CONSTRAINT users_vouched_has_email CHECK (email IS NOT NULL OR NOT email_vouched) NOT VALID;
