DROP TABLE credits.entry_grants;
DROP TABLE credits.entries;
DROP FUNCTION credits.refuse_change();
