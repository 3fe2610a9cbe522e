DROP TABLE files.files;
DROP TABLE files.quotas;
DROP TABLE files.removals;
DROP TABLE files.store;
DROP FUNCTION files.note_removals();
DROP SCHEMA files;
