CREATE TABLE usage.anomalies (
    user_id text COLLATE "C" NOT NULL,
    hour timestamptz NOT NULL,
    PRIMARY KEY (user_id, hour),
    noted_at timestamptz NOT NULL,
    CONSTRAINT anomalies_hour CHECK (date_bin('1 hour', hour, '2000-01-01 00:00:00+00') = hour)
);
-- For the purge alone.
CREATE INDEX anomalies_time ON usage.anomalies USING brin (hour timestamptz_minmax_multi_ops) WITH (autosummarize = on);

COMMENT ON TABLE usage.anomalies IS 'Hours for which a user''s spending was noted as odd: each is claimed once, in the commit of its event; old ones are forgotten';
COMMENT ON COLUMN usage.anomalies.hour IS 'Beginning of the hour (UTC)';
COMMENT ON COLUMN usage.anomalies.noted_at IS 'When it was noticed';
