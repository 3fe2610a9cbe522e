DROP TABLE credits.idempotency;
