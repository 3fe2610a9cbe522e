-- Which issuer a user id belongs to. Users from before have no row: they count as made by a service, until a token brings
-- their id.
CREATE TABLE identity.identities (
    id         text COLLATE "C" CONSTRAINT identities_pkey PRIMARY KEY
               CONSTRAINT identities_id_form CHECK (id ~ '^[A-Za-z0-9._@+:|~-]{1,255}$'),
    user_id    text COLLATE "C" NOT NULL,
    issuer     text COLLATE "C" NOT NULL CONSTRAINT identities_issuer_length CHECK (char_length(issuer) BETWEEN 1 AND 2048),
    created_at timestamptz NOT NULL
);
CREATE INDEX identities_user ON identity.identities (user_id);

COMMENT ON TABLE identity.identities IS 'One row for each way in which a user logs in: the issuer that first brought an id owns it';
COMMENT ON COLUMN identity.identities.id IS 'The user id that stands for the issuer and subject of a token';
COMMENT ON COLUMN identity.identities.user_id IS 'The user; differs from id where two identities were linked to one user';
COMMENT ON COLUMN identity.identities.issuer IS 'The issuer whose tokens may name this id; tokens of others are refused';
