DROP INDEX IF EXISTS credits.answers_key;
DROP SCHEMA idempotency;
