ALTER TABLE usage.dedupe DROP COLUMN caller;
DROP TABLE usage.dedupe_shared;
