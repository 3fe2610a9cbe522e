-- The columns go with the migrations before. What is left of the deltas are zeros.
UPDATE usage.rollup_deltas SET credits_deducted = 0;
UPDATE usage.rollups_all_hours SET credits_deducted = 0 WHERE credits_deducted <> 0;
UPDATE usage.rollups_all SET credits_deducted = 0 WHERE credits_deducted <> 0;
UPDATE usage.rollups_15m SET credits_deducted = 0 WHERE credits_deducted <> 0;
