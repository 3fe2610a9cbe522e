-- The class of the caller (a user, or a service or administrator) who sent an event id. Nothing is rewritten, scanned or
-- indexed: the column is added as null, the constraint holds for new rows. The cost is an exclusive lock of an instant.
-- Versions that know nothing of classes go on: their unique key of (user_id, event_id) stays.
CREATE TABLE usage.dedupe_shared (
    user_id text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    caller text NOT NULL CONSTRAINT dedupe_shared_caller CHECK (caller IN ('user', 'service')),
    PRIMARY KEY (user_id, event_id, caller),
    payload bytea NOT NULL CONSTRAINT dedupe_shared_payload CHECK (length(payload) = 32),
    record_id bigint NOT NULL,
    occurred_at timestamptz NOT NULL
);
CREATE INDEX dedupe_shared_time ON usage.dedupe_shared
    USING brin (occurred_at timestamptz_minmax_multi_ops) WITH (autosummarize = on);

COMMENT ON TABLE usage.dedupe_shared IS 'As usage.dedupe, for event ids that a caller of another class, or of an unknown class with another event, used before. A table of its own, so that the unique key of the large table need not be replaced';
COMMENT ON COLUMN usage.dedupe_shared.caller IS 'Class of the caller: user or service';
COMMENT ON COLUMN usage.dedupe_shared.payload IS 'SHA-256 of what the caller sent, without the defaults of the service';
COMMENT ON COLUMN usage.dedupe_shared.record_id IS 'With user_id and occurred_at the key of the record';

ALTER TABLE usage.dedupe ADD COLUMN caller text;
ALTER TABLE usage.dedupe
    ADD CONSTRAINT dedupe_caller CHECK (caller IN ('user', 'service')) NOT VALID;
COMMENT ON COLUMN usage.dedupe.caller IS 'Class of the caller: user or service. Null: stored without a class, counts for a caller of any class who repeats the same event; also null for corrections';
