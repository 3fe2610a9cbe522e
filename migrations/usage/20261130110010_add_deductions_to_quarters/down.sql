ALTER TABLE usage.rollups_15m DROP COLUMN credits_deducted;
