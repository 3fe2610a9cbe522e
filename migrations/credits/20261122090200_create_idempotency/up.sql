CREATE TABLE credits.idempotency (
    user_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, key),
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    created_at timestamptz NOT NULL,
    transaction_id uuid,
    outcome jsonb,
    CONSTRAINT idempotency_refusals CHECK (transaction_id IS NOT NULL OR outcome IS NOT NULL)
);

-- Only what can still be pruned: keys of successes stay for good, and pruning must not read past them every time.
CREATE INDEX idempotency_prunable ON credits.idempotency (created_at) WHERE outcome IS NOT NULL;

COMMENT ON TABLE credits.idempotency IS 'First outcomes of requests that carried a key; written with their effect';
COMMENT ON COLUMN credits.idempotency.fingerprint IS 'SHA-256 of what was asked';
COMMENT ON COLUMN credits.idempotency.transaction_id IS 'What the request did; null for a refusal';
COMMENT ON COLUMN credits.idempotency.outcome IS 'Rendered again on replay; null once pruned, then the entries tell';
