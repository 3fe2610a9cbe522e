-- First answers by idempotency key get a schema of their own. Where the ledger kept them so far, they keep their table, which
-- moves here step by step, each step a transaction.
--
-- First the index that makes keys unique for each class of callers; an answer that was stored without a class has a null. It is
-- built where the table is. The build takes a SHARE lock for some seconds for each million keys: reads go on, and running versions
-- answer requests with a key 409 or 503 meanwhile. Where that is too long, build it before (deploy/README.md).
CREATE SCHEMA idempotency;
COMMENT ON SCHEMA idempotency IS 'First answers by idempotency key, for every route that takes one';
DO $$
BEGIN
    IF to_regclass('credits.idempotency') IS NOT NULL THEN
        CREATE UNIQUE INDEX IF NOT EXISTS answers_key ON credits.idempotency (user_id, key, caller) NULLS NOT DISTINCT;
    END IF;
END $$;
