ALTER TABLE usage.rollups_15m ADD COLUMN credits_deducted bigint NOT NULL DEFAULT 0;
ALTER TABLE usage.rollups_15m ALTER COLUMN credits_deducted DROP DEFAULT;
COMMENT ON COLUMN usage.rollups_15m.credits_deducted IS 'Micro-credits that were taken from balances for these records; a correction takes back what was taken for its record';
