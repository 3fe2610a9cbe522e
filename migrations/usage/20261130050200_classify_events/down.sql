DROP TABLE usage.dedupe_shared;
ALTER TABLE usage.dedupe DROP COLUMN caller;
ALTER TABLE usage.records DROP COLUMN recorded_by;
