-- The keys that sign tokens of this service. All processes read them here, so that a rotation takes effect everywhere. The version
-- before does not look at this table.
CREATE TABLE identity.signing_keys (
    number            bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT signing_keys_pkey PRIMARY KEY,
    kid               text COLLATE "C" NOT NULL CONSTRAINT signing_keys_kid_key UNIQUE
                      CONSTRAINT signing_keys_kid_form CHECK (kid ~ '^[A-Za-z0-9_-]{43}$'),
    public_key        bytea NOT NULL CONSTRAINT signing_keys_public_key_form CHECK (octet_length(public_key) = 32),
    sealed_key        bytea NOT NULL,
    created_at        timestamptz NOT NULL,
    signs_from        timestamptz NOT NULL,
    token_ttl_seconds bigint NOT NULL CONSTRAINT signing_keys_ttl_positive CHECK (token_ttl_seconds > 0),
    CONSTRAINT signing_keys_signs_after_creation CHECK (signs_from >= created_at)
);
REVOKE ALL ON identity.signing_keys FROM PUBLIC;

COMMENT ON TABLE identity.signing_keys IS 'Ed25519 keys of own tokens. The newest whose time has come signs; older ones are published until their last token has expired';
COMMENT ON COLUMN identity.signing_keys.kid IS 'Thumbprint of the public key (RFC 7638)';
COMMENT ON COLUMN identity.signing_keys.sealed_key IS 'The private key, sealed with SECRETS_KEY';
COMMENT ON COLUMN identity.signing_keys.signs_from IS 'When it begins to sign, by the clock of the database, unless a newer one signs by then';
COMMENT ON COLUMN identity.signing_keys.token_ttl_seconds IS 'Longest validity of a token that any process signs with it';
