-- The class of the caller (a user, or a service or administrator) who used an idempotency key. Nothing is rewritten, scanned
-- or indexed: the column is added as null, the constraint holds for new rows. The cost is an exclusive lock of an instant.
-- Versions that know nothing of classes go on: their unique key of (user_id, key) stays.
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

ALTER TABLE credits.idempotency ADD COLUMN caller text;
ALTER TABLE credits.idempotency
    ADD CONSTRAINT idempotency_caller CHECK (caller IN ('user', 'service')) NOT VALID;

COMMENT ON COLUMN credits.idempotency.caller IS 'Class of the caller: user or service. Null: stored without a class, counts for a caller of any class who repeats the same request';
