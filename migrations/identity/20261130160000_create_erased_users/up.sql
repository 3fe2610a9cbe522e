-- What is left of users who were erased (HTTP contract 3.4): the opaque id, so that it stays with its issuer, and a digest of each
-- address, so that it brings no second initial grant. The digests name no user.
CREATE TABLE identity.erased_users (
    user_id     text COLLATE "C" CONSTRAINT erased_users_pkey PRIMARY KEY
                CONSTRAINT erased_users_user_id_form CHECK (user_id ~ '^[A-Za-z0-9._@+:|~-]{1,255}$'),
    issuer      text COLLATE "C",
    erased_at   timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX erased_users_unfinished ON identity.erased_users (erased_at) WHERE finished_at IS NULL;

COMMENT ON TABLE identity.erased_users IS 'Ids of users who were erased, and of identities that were linked to them';
COMMENT ON COLUMN identity.erased_users.user_id IS 'The id, which may have been made again since';
COMMENT ON COLUMN identity.erased_users.issuer IS 'The issuer whose tokens may name this id; null for a user whom a service made';
COMMENT ON COLUMN identity.erased_users.erased_at IS 'From here on there is no such user';
COMMENT ON COLUMN identity.erased_users.finished_at IS 'From here on nothing of the user is left; null while it is being removed';

CREATE TABLE identity.erased_addresses (
    digest  bytea CONSTRAINT erased_addresses_pkey PRIMARY KEY
            CONSTRAINT erased_addresses_digest_length CHECK (octet_length(digest) = 32),
    vouched boolean NOT NULL
);

COMMENT ON TABLE identity.erased_addresses IS 'Addresses of users who were erased: a user who signs up with one gets no initial grant';
COMMENT ON COLUMN identity.erased_addresses.digest IS 'HMAC-SHA-256 of the folded address, with a key that follows from SECRETS_KEY';
COMMENT ON COLUMN identity.erased_addresses.vouched IS 'False: the user did not hold the address, so it counts only against others who do not hold it';
