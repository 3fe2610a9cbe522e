-- A request that recorded usage is answered with its record again, also when nothing was charged and also after its outcome
-- was pruned.
ALTER TABLE credits.idempotency ADD COLUMN usage_record_id bigint;
COMMENT ON COLUMN credits.idempotency.usage_record_id IS 'The usage record that was written with the effect';
