-- The column has a new name, so that versions that do not know of heads fail instead of reading an old figure: stop them before
-- this version starts. The cost is an exclusive lock of an instant.
ALTER TABLE credits.grants RENAME COLUMN remaining TO stored_remaining;

CREATE VIEW credits.current_grants AS
    SELECT a.user_id, g.id, g.kind, g.paid, g.priority, g.amount,
           CASE WHEN g.id = a.head_grant_id THEN a.head_remaining ELSE g.stored_remaining END AS remaining,
           g.held, g.effective_at, g.expires_at, g.booked_seq, g.reference_id, g.created_at, g.live, g.transaction_id,
           g.description, g.metadata, g.size_bytes
    FROM credits.accounts a JOIN credits.grants g ON g.user_id = a.user_id;

COMMENT ON COLUMN credits.grants.stored_remaining IS 'Not yet spent, held or not, when the row was last written; the account has the present figure of its head';
COMMENT ON VIEW credits.current_grants IS 'Grants with what remains of them now';
