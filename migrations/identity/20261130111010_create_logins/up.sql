CREATE TABLE identity.logins (
    user_id         text COLLATE "C" NOT NULL,
    id              uuid NOT NULL,
    refresh_digest  bytea NOT NULL CONSTRAINT logins_refresh_digest_length CHECK (octet_length(refresh_digest) = 32),
    previous_digest bytea CONSTRAINT logins_previous_digest_length CHECK (octet_length(previous_digest) = 32),
    created_at      timestamptz NOT NULL,
    rotated_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    CONSTRAINT logins_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT logins_times_in_order CHECK (created_at <= rotated_at AND created_at <= ended_at AND created_at < expires_at)
);
CREATE INDEX logins_id ON identity.logins (id);
CREATE INDEX logins_expiry ON identity.logins (expires_at);

COMMENT ON TABLE identity.logins IS 'One row for each login with tokens of this service';
COMMENT ON COLUMN identity.logins.id IS 'The claim sid of its access tokens';
COMMENT ON COLUMN identity.logins.refresh_digest IS 'SHA-256 of the present refresh token';
COMMENT ON COLUMN identity.logins.previous_digest IS 'SHA-256 of the refresh token before; null until the first rotation';
COMMENT ON COLUMN identity.logins.rotated_at IS 'When the present refresh token was made';
COMMENT ON COLUMN identity.logins.ended_at IS 'When the login ended before its time; its access tokens are refused from then on';
