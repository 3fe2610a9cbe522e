DROP TABLE usage.records;
DROP SCHEMA usage;
