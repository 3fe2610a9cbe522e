-- The table moves, with its rows. Nothing is rewritten or read: the cost is an exclusive lock of an instant.
--
-- Versions that know the old name go on through a view: they find all keys, also those of later versions, and add theirs. What they
-- prune by (user_id, key) alone could be the answer of another class, so the view refuses that; they warn and go on.
DO $$
BEGIN
    IF to_regclass('credits.idempotency') IS NULL THEN
        CREATE TABLE idempotency.answers (
            user_id text COLLATE "C" NOT NULL,
            key text COLLATE "C" NOT NULL,
            fingerprint bytea NOT NULL CONSTRAINT answers_fingerprint_check CHECK (length(fingerprint) = 32),
            created_at timestamptz NOT NULL,
            transaction_id uuid,
            answer jsonb,
            usage_record_id bigint,
            caller text CONSTRAINT answers_caller CHECK (caller IN ('user', 'service')),
            CONSTRAINT answers_refusals CHECK (transaction_id IS NOT NULL OR answer IS NOT NULL)
        );
        CREATE UNIQUE INDEX answers_key ON idempotency.answers (user_id, key, caller) NULLS NOT DISTINCT;
        CREATE INDEX answers_prunable ON idempotency.answers (created_at) WHERE answer IS NOT NULL;
    ELSE
        ALTER TABLE credits.idempotency DROP CONSTRAINT idempotency_pkey;
        ALTER TABLE credits.idempotency SET SCHEMA idempotency;
        ALTER TABLE idempotency.idempotency RENAME TO answers;
        ALTER TABLE idempotency.answers RENAME COLUMN outcome TO answer;
        ALTER TABLE idempotency.answers RENAME CONSTRAINT idempotency_fingerprint_check TO answers_fingerprint_check;
        ALTER TABLE idempotency.answers RENAME CONSTRAINT idempotency_refusals TO answers_refusals;
        ALTER TABLE idempotency.answers RENAME CONSTRAINT idempotency_caller TO answers_caller;
        ALTER INDEX idempotency.idempotency_prunable RENAME TO answers_prunable;
        CREATE VIEW credits.idempotency AS
            SELECT user_id, key, fingerprint, created_at, transaction_id, answer AS outcome, usage_record_id, caller
            FROM idempotency.answers;
        CREATE RULE answers_are_not_changed AS ON UPDATE TO credits.idempotency DO INSTEAD NOTHING;
        CREATE RULE answers_are_not_removed AS ON DELETE TO credits.idempotency DO INSTEAD NOTHING;
        COMMENT ON VIEW credits.idempotency IS 'The answers under their old name, for versions that know no other; goes with the next release';
    END IF;
END $$;

COMMENT ON TABLE idempotency.answers IS 'First answers to requests that carried a key; written with their effect';
COMMENT ON COLUMN idempotency.answers.fingerprint IS 'SHA-256 of the request';
COMMENT ON COLUMN idempotency.answers.transaction_id IS 'What the request did, kept for ever; null for a refusal';
COMMENT ON COLUMN idempotency.answers.answer IS 'Versioned JSON, rendered again for a repeat; null once pruned, then the books tell';
COMMENT ON COLUMN idempotency.answers.usage_record_id IS 'The usage record that was written with the effect, kept for ever';
COMMENT ON COLUMN idempotency.answers.caller IS 'Class of the caller: user or service. Null: stored without a class, counts for a caller of any class who repeats the same request';
