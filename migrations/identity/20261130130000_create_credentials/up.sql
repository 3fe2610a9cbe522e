-- Passwords of own accounts. The login name is the address given at registration: no two accounts have the same one, whether it
-- was confirmed or not, because a login names nothing else. It is not the address that a user holds, which is in identity.users.
CREATE TABLE identity.credentials (
    user_id            text COLLATE "C" CONSTRAINT credentials_pkey PRIMARY KEY,
    login_email_folded text COLLATE "C" NOT NULL CONSTRAINT credentials_login_email_key UNIQUE,
    password_hash      text NOT NULL CONSTRAINT credentials_password_is_hashed CHECK (password_hash LIKE '$argon2id$%'),
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    CONSTRAINT credentials_updated_after_created CHECK (updated_at >= created_at)
);
REVOKE ALL ON identity.credentials FROM PUBLIC;

COMMENT ON TABLE identity.credentials IS 'The login name and the password of each own account';
COMMENT ON COLUMN identity.credentials.login_email_folded IS 'The address in lower case, as the service folds it';
COMMENT ON COLUMN identity.credentials.password_hash IS 'Argon2id, as a PHC string';
COMMENT ON COLUMN identity.credentials.updated_at IS 'When the password was last set';
