ALTER TABLE usage.rollups_all ADD COLUMN credits_deducted bigint NOT NULL DEFAULT 0;
ALTER TABLE usage.rollups_all ALTER COLUMN credits_deducted DROP DEFAULT;
COMMENT ON COLUMN usage.rollups_all.credits_deducted IS 'Micro-credits that were taken from balances for these records; a correction takes back what was taken for its record';
