-- What was taken from balances for the records of a sum. Without a default, so that the version before fails where it would
-- write sums in which it is missing: stop its processes first. Old rows have 0 until the last of these migrations. The cost is an
-- exclusive lock of an instant.
ALTER TABLE usage.rollup_deltas ADD COLUMN credits_deducted bigint NOT NULL DEFAULT 0;
ALTER TABLE usage.rollup_deltas ALTER COLUMN credits_deducted DROP DEFAULT;
COMMENT ON COLUMN usage.rollup_deltas.credits_deducted IS 'Micro-credits that were taken from balances for these records; a correction takes back what was taken for its record';
