DROP INDEX usage.records_unrated;
