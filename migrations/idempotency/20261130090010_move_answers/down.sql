DO $$
BEGIN
    IF to_regclass('credits.idempotency') IS NULL THEN
        DROP TABLE idempotency.answers;
    ELSE
        DROP VIEW credits.idempotency;
        ALTER INDEX idempotency.answers_prunable RENAME TO idempotency_prunable;
        ALTER TABLE idempotency.answers RENAME CONSTRAINT answers_caller TO idempotency_caller;
        ALTER TABLE idempotency.answers RENAME CONSTRAINT answers_refusals TO idempotency_refusals;
        ALTER TABLE idempotency.answers RENAME CONSTRAINT answers_fingerprint_check TO idempotency_fingerprint_check;
        ALTER TABLE idempotency.answers RENAME COLUMN answer TO outcome;
        ALTER TABLE idempotency.answers RENAME TO idempotency;
        ALTER TABLE idempotency.idempotency SET SCHEMA credits;
        ALTER TABLE credits.idempotency ADD CONSTRAINT idempotency_pkey PRIMARY KEY (user_id, key);
        COMMENT ON TABLE credits.idempotency IS 'First outcomes of requests that carried a key; written with their effect';
        COMMENT ON COLUMN credits.idempotency.fingerprint IS 'SHA-256 of what was asked';
        COMMENT ON COLUMN credits.idempotency.transaction_id IS 'What the request did; null for a refusal';
        COMMENT ON COLUMN credits.idempotency.outcome IS 'Rendered again on replay; null once pruned, then the entries tell';
        COMMENT ON COLUMN credits.idempotency.usage_record_id IS 'The usage record that was written with the effect';
        COMMENT ON COLUMN credits.idempotency.caller IS 'Class of the caller: user or service. Null: stored without a class, counts for a caller of any class who repeats the same request';
    END IF;
END $$;
