CREATE TABLE usage.dedupe (
    user_id text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, event_id),
    payload bytea NOT NULL CONSTRAINT dedupe_payload CHECK (length(payload) = 32),
    record_id bigint NOT NULL,
    occurred_at timestamptz NOT NULL
);
-- For the purge alone; rows come nearly in the order of time.
CREATE INDEX dedupe_time ON usage.dedupe USING brin (occurred_at timestamptz_minmax_multi_ops) WITH (autosummarize = on);

COMMENT ON TABLE usage.dedupe IS 'Which event ids were recorded; purged together with the months of their records';
COMMENT ON COLUMN usage.dedupe.event_id IS 'The caller''s identity of an event; correction:<id> claims the one correction of a record';
COMMENT ON COLUMN usage.dedupe.payload IS 'SHA-256 of what the caller sent, without the defaults of the service';
COMMENT ON COLUMN usage.dedupe.record_id IS 'With user_id and occurred_at the key of the record';
