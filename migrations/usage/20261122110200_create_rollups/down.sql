DROP TABLE usage.rollup_deltas, usage.rollups_all, usage.rollups_15m;
