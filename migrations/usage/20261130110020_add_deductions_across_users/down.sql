ALTER TABLE usage.rollups_all DROP COLUMN credits_deducted;
