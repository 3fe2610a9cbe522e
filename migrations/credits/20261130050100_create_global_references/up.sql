-- References that are unique among all users. The unique constraint without user_id is the purpose of the table. It has no
-- foreign key, which would lock credits.accounts here: rows are written under the lock of the account, and the audit L21
-- asks for the grant of each.
CREATE TABLE credits.global_references (
    user_id text COLLATE "C" NOT NULL,
    reference_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, reference_id),
    CONSTRAINT global_references_reference UNIQUE (reference_id),
    created_at timestamptz NOT NULL
);

COMMENT ON TABLE credits.global_references IS 'References of payments and gifts that may credit one user only, of all users; written with the grant';
COMMENT ON COLUMN credits.global_references.user_id IS 'The user whose grant has the reference';
COMMENT ON COLUMN credits.global_references.created_at IS 'When a caller first named it with the scope of all users';
