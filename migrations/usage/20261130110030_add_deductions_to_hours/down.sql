ALTER TABLE usage.rollups_all_hours DROP COLUMN credits_deducted;
