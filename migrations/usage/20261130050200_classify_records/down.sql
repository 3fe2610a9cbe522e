ALTER TABLE usage.records DROP COLUMN recorded_by;
