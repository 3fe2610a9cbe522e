DROP INDEX identity.users_name_pairs, identity.users_id_folded, identity.users_email_folded;
DROP FUNCTION identity.name_pairs;
