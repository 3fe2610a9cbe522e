-- For the search of users. A part of a name is found by its pairs of letters, which PostgreSQL can index without an extension:
-- a name contains every pair of what is looked for. Names of two letters are common in Chinese, so three would be too many.
CREATE FUNCTION identity.name_pairs(name text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT substr(folded, place, 2)), '{}')
    FROM (SELECT lower(name COLLATE "C") AS folded) AS folding
    CROSS JOIN LATERAL generate_series(1, char_length(folded) - 1) AS place
$$;
COMMENT ON FUNCTION identity.name_pairs IS 'The different pairs of neighbouring letters of a name, A to Z in lower case';

-- Sign-ups wait while these read the table once; reads go on.
CREATE INDEX users_name_pairs ON identity.users USING gin (identity.name_pairs(name));
CREATE INDEX users_id_folded ON identity.users (lower(user_id));
CREATE INDEX users_email_folded ON identity.users (email_folded);
