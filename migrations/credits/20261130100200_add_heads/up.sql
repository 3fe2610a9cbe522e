-- The head of an account is the grant that is spent next. What remains of it is kept in the account, so that a charge changes one
-- row; the row of the grant is written when it stops being the head. A null head means that all grants have their own figures, so
-- no row is rewritten or scanned. The cost is an exclusive lock of an instant.
ALTER TABLE credits.accounts
    ADD COLUMN head_grant_id bigint,
    ADD COLUMN head_remaining bigint;
ALTER TABLE credits.accounts
    ADD CONSTRAINT accounts_head CHECK (CASE WHEN head_grant_id IS NULL THEN head_remaining IS NULL
        ELSE coalesce(head_remaining BETWEEN 1 AND posted, false) END) NOT VALID;

COMMENT ON COLUMN credits.accounts.head_grant_id IS 'The first grant in the order of spending that has free credit, if nothing of it is held; null: none, or not known';
COMMENT ON COLUMN credits.accounts.head_remaining IS 'Not yet spent of this grant; stands for the figure in its own row';
