ALTER TABLE credits.accounts DROP CONSTRAINT accounts_head, DROP COLUMN head_grant_id, DROP COLUMN head_remaining;
