DROP TABLE usage.rollups_all_hours;
