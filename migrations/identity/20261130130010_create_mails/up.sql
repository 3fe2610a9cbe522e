-- Mails to be sent, and the links in those that were. A mail says what it is for and to whom, sealed; the link is made when it is
-- sent, and only its digest is kept.
CREATE TABLE identity.mails (
    id         uuid CONSTRAINT mails_pkey PRIMARY KEY,
    sealed     bytea NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    attempt_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX mails_due ON identity.mails (attempt_at);
REVOKE ALL ON identity.mails FROM PUBLIC;

COMMENT ON TABLE identity.mails IS 'The outbox of mails; a row is gone when its mail was sent or given up';
COMMENT ON COLUMN identity.mails.sealed IS 'Purpose, recipient and language, sealed with SECRETS_KEY';
COMMENT ON COLUMN identity.mails.attempt_at IS 'When it may be tried next; later while a process is sending it';

CREATE TABLE identity.mail_links (
    user_id      text COLLATE "C" NOT NULL,
    mail_id      uuid NOT NULL,
    digest       bytea NOT NULL CONSTRAINT mail_links_digest_is_sha256 CHECK (octet_length(digest) = 32),
    purpose      text NOT NULL CONSTRAINT mail_links_purpose_known CHECK (purpose IN ('confirm', 'reset')),
    email_folded text COLLATE "C" NOT NULL,
    expires_at   timestamptz NOT NULL,
    CONSTRAINT mail_links_pkey PRIMARY KEY (user_id, mail_id)
);
CREATE INDEX mail_links_digest ON identity.mail_links (digest);
CREATE INDEX mail_links_expired ON identity.mail_links (expires_at);
REVOKE ALL ON identity.mail_links FROM PUBLIC;

COMMENT ON TABLE identity.mail_links IS 'Links that were mailed to a user and are not used yet; each works once';
COMMENT ON COLUMN identity.mail_links.mail_id IS 'The mail that has the link; a repeated attempt to send it replaces the link';
COMMENT ON COLUMN identity.mail_links.digest IS 'SHA-256 of the token in the link';
COMMENT ON COLUMN identity.mail_links.email_folded IS 'The address to which it was sent, which its use proves';
