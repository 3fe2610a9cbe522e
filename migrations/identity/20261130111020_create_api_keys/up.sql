CREATE TABLE identity.api_keys (
    key_id                uuid CONSTRAINT api_keys_pkey PRIMARY KEY,
    name                  text NOT NULL,
    prefix                text NOT NULL,
    secret_digest         bytea NOT NULL CONSTRAINT api_keys_secret_digest_length CHECK (octet_length(secret_digest) = 32),
    scopes                text[] NOT NULL
                          CONSTRAINT api_keys_scopes_known CHECK (scopes <@ ARRAY['read', 'service', 'admin'] AND cardinality(scopes) > 0),
    rate_limit_per_second integer CONSTRAINT api_keys_rate_limit_positive CHECK (rate_limit_per_second > 0),
    created_at            timestamptz NOT NULL,
    created_by            text NOT NULL,
    expires_at            timestamptz,
    last_used_at          timestamptz,
    revoked_at            timestamptz
);
CREATE INDEX api_keys_created ON identity.api_keys (created_at, key_id);

COMMENT ON TABLE identity.api_keys IS 'Keys of services and administrators';
COMMENT ON COLUMN identity.api_keys.prefix IS 'Beginning of the key, to recognise it by';
COMMENT ON COLUMN identity.api_keys.secret_digest IS 'SHA-256 of the secret part, which has 256 random bits';
COMMENT ON COLUMN identity.api_keys.created_by IS 'The maker, as the audit log names them';
COMMENT ON COLUMN identity.api_keys.last_used_at IS 'To the hour';
