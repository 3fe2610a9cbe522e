-- Somebody may register with the address of another, who then confirms it by a click. Identities of the owner are linked to such an
-- account only when its password is theirs too.
ALTER TABLE identity.credentials ADD COLUMN password_proven boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN identity.credentials.password_proven IS 'True if a reader of the mailbox set a password, by a mailed link; the password may have been changed with it since';
