-- In the order in which recording locks them.
ALTER TABLE usage.rollups_15m DROP COLUMN added_to;
DROP TABLE usage.presence_deltas;
DROP TABLE usage.presence;
DROP TABLE usage.user_numbers;
