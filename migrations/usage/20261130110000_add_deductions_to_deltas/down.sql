ALTER TABLE usage.rollup_deltas DROP COLUMN credits_deducted;
