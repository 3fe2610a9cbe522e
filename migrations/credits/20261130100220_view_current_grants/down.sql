UPDATE credits.grants AS g SET stored_remaining = a.head_remaining
    FROM credits.accounts a WHERE a.user_id = g.user_id AND a.head_grant_id = g.id;
UPDATE credits.accounts SET head_grant_id = NULL, head_remaining = NULL WHERE head_grant_id IS NOT NULL;
DROP VIEW credits.current_grants;
ALTER TABLE credits.grants RENAME COLUMN stored_remaining TO remaining;
COMMENT ON COLUMN credits.grants.remaining IS 'Not yet spent, held or not';
