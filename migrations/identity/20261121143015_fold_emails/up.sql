-- Addresses are folded by the service, which knows all letters and does it alike on every server. SQL's lower() folds what
-- the locale of the server knows: nothing beyond A to Z under "C", and I to a dotless i in Turkish.
ALTER TABLE identity.users ADD COLUMN email_folded text COLLATE "C";

-- The fold that the index until now kept unique, so that this cannot fail; for addresses of ASCII it is the new one too.
UPDATE identity.users SET email_folded = lower(email COLLATE "C") WHERE email IS NOT NULL;

ALTER TABLE identity.users
    ADD CONSTRAINT users_email_is_folded CHECK ((email IS NULL) = (email_folded IS NULL));
DROP INDEX identity.users_email_key;
CREATE UNIQUE INDEX users_email_folded_key ON identity.users (email_folded);

COMMENT ON COLUMN identity.users.email IS 'As it was given; null for users without one';
COMMENT ON COLUMN identity.users.email_folded IS 'The address in lower case, as the service folds it: unique, and what addresses are compared by';
