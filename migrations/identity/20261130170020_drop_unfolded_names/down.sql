CREATE INDEX users_name_pairs ON identity.users USING gin (identity.name_pairs(name));
CREATE INDEX users_email_folded ON identity.users (email_folded);
