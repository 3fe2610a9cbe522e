DROP TABLE credits.idempotency_shared;
ALTER TABLE credits.idempotency DROP COLUMN caller;
ALTER TABLE credits.holds DROP COLUMN made_by, DROP COLUMN ended_by;
