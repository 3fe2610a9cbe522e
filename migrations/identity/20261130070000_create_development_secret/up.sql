-- The secret of development tokens, which was a file in the data folder of each process: processes on one database have to
-- accept each other's tokens. The version before does not look at this table. Only a process in the development environment
-- writes a row or reads it.
CREATE TABLE identity.development_secret (
    only_row   boolean DEFAULT true CONSTRAINT development_secret_pkey PRIMARY KEY
               CONSTRAINT development_secret_only_row CHECK (only_row),
    secret     text NOT NULL CONSTRAINT development_secret_form CHECK (secret ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL
);
REVOKE ALL ON identity.development_secret FROM PUBLIC;

COMMENT ON TABLE identity.development_secret IS 'At most one row: the HS256 secret of tokens from POST /auth/dev-token, never accepted outside development';
COMMENT ON COLUMN identity.development_secret.only_row IS 'Always true: keeps the table to one row';
COMMENT ON COLUMN identity.development_secret.secret IS '32 random bytes as hexadecimal digits, made by the server; delete the row for a new secret at the next start';
