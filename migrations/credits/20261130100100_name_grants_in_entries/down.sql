ALTER TABLE credits.entries DROP COLUMN grant_id;
