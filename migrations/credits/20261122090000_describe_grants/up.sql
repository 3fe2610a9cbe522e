-- What a caller said about a grant is shown with it. Nullable: a grant made before has what its entry has.
ALTER TABLE credits.grants
    ADD COLUMN transaction_id uuid,
    ADD COLUMN description text,
    ADD COLUMN metadata jsonb;

UPDATE credits.grants AS g
SET transaction_id = e.transaction_id, description = e.description, metadata = e.metadata
FROM credits.entries AS e
WHERE e.user_id = g.user_id AND e.seq = g.booked_seq;

COMMENT ON COLUMN credits.grants.transaction_id IS 'Transaction that books the grant; for a scheduled grant the one that will';
COMMENT ON COLUMN credits.grants.description IS 'What the caller said about it; never changes';
COMMENT ON COLUMN credits.grants.metadata IS 'What the caller attached, null for the empty object; never changes';
