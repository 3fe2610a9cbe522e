DROP INDEX identity.users_email_folded_key;
ALTER TABLE identity.users DROP COLUMN email_folded;
CREATE UNIQUE INDEX users_email_key ON identity.users (lower(email COLLATE "C"));
COMMENT ON COLUMN identity.users.email IS 'As it was given; unique without regard to the case of A to Z; null for users without one';
