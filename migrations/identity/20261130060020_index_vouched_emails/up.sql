-- Sign-ups wait while this reads the table once; reads go on. No address is vouched for yet, so nothing is sorted.
CREATE UNIQUE INDEX users_vouched_email_key ON identity.users (email_folded) WHERE email_vouched;
