-- The former rule allows an address once: the holder keeps it, without a holder the first user who came with it.
UPDATE identity.users SET email = NULL, email_folded = NULL, email_vouched = false
 WHERE EXISTS (SELECT FROM identity.users AS other
                WHERE other.email_folded = users.email_folded
                  AND (other.email_vouched, -other.id) > (users.email_vouched, -users.id));
CREATE UNIQUE INDEX users_email_folded_key ON identity.users (email_folded);

COMMENT ON COLUMN identity.users.email_folded IS 'The address in lower case, as the service folds it: unique, and what addresses are compared by';
