ALTER TABLE credits.idempotency DROP COLUMN caller;
DROP TABLE credits.idempotency_shared;
