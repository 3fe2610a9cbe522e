DROP INDEX credits.entries_hold;
DROP TABLE credits.holds;
