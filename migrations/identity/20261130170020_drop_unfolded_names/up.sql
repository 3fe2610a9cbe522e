-- Replaced by the indexes of folded texts. An exclusive lock of an instant; nothing is read.
DROP INDEX identity.users_name_pairs, identity.users_email_folded;
