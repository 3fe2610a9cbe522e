-- One row of a key stays, that without a class if there is one; the others go back.
DO $$
BEGIN
    IF to_regclass('credits.idempotency_shared') IS NOT NULL THEN
        DROP VIEW credits.idempotency_shared;
        CREATE TABLE credits.idempotency_shared (
            user_id text COLLATE "C" NOT NULL,
            key text COLLATE "C" NOT NULL,
            caller text NOT NULL CONSTRAINT idempotency_shared_caller CHECK (caller IN ('user', 'service')),
            PRIMARY KEY (user_id, key, caller),
            fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
            created_at timestamptz NOT NULL,
            transaction_id uuid,
            usage_record_id bigint,
            outcome jsonb,
            CONSTRAINT idempotency_shared_refusals CHECK (transaction_id IS NOT NULL OR outcome IS NOT NULL)
        );
        CREATE INDEX idempotency_shared_prunable ON credits.idempotency_shared (created_at) WHERE outcome IS NOT NULL;
        COMMENT ON TABLE credits.idempotency_shared IS 'As credits.idempotency, for keys that a caller of another class, or of an unknown class with another request, used before. A table of its own, so that the unique key of the large table need not be replaced';
        COMMENT ON COLUMN credits.idempotency_shared.caller IS 'Class of the caller: user or service';
        COMMENT ON COLUMN credits.idempotency_shared.fingerprint IS 'SHA-256 of what was asked';
        COMMENT ON COLUMN credits.idempotency_shared.transaction_id IS 'What the request did; null for a refusal';
        COMMENT ON COLUMN credits.idempotency_shared.usage_record_id IS 'The usage record that was written with the effect';
        COMMENT ON COLUMN credits.idempotency_shared.outcome IS 'Rendered again on replay; null once pruned, then the entries tell';
        WITH ranked AS (
            SELECT user_id, key, caller, row_number() OVER (PARTITION BY user_id, key ORDER BY caller NULLS FIRST) AS nth
            FROM idempotency.answers
        ), others AS (
            DELETE FROM idempotency.answers AS a USING ranked
            WHERE ranked.nth > 1 AND a.user_id = ranked.user_id AND a.key = ranked.key AND a.caller = ranked.caller
            RETURNING a.*
        )
        INSERT INTO credits.idempotency_shared
            (user_id, key, caller, fingerprint, created_at, transaction_id, usage_record_id, outcome)
            SELECT user_id, key, caller, fingerprint, created_at, transaction_id, usage_record_id, answer FROM others;
    END IF;
END $$;
