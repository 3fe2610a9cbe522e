ALTER TABLE credits.holds DROP COLUMN made_by, DROP COLUMN ended_by;
