ALTER TABLE credits.accounts DROP CONSTRAINT accounts_head;
ALTER TABLE credits.accounts
    ADD CONSTRAINT accounts_head CHECK (CASE WHEN head_grant_id IS NULL THEN head_remaining IS NULL
        ELSE coalesce(head_remaining BETWEEN 1 AND posted, false) END) NOT VALID;
