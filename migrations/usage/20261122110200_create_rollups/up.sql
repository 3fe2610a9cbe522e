-- '' stands for an absent dimension. One event may be as large as 10^15 micro-credits, and 64 bits hold 9,223 of those:
-- events of extraordinary size are summed apart, in blocks of 4,096 ids, and so no sum can ever overflow.
CREATE TABLE usage.rollups_15m (
    user_id text COLLATE "C" NOT NULL,
    bucket timestamptz NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    tool text COLLATE "C" NOT NULL,
    part bigint NOT NULL,
    records bigint NOT NULL,
    tokens_used bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cache_read_tokens bigint NOT NULL DEFAULT 0,
    cache_write_tokens bigint NOT NULL DEFAULT 0,
    reasoning_tokens bigint NOT NULL DEFAULT 0,
    credits_charged bigint NOT NULL,
    credits_uncollected bigint NOT NULL DEFAULT 0,
    cost_usd bigint NOT NULL,
    PRIMARY KEY (user_id, bucket, event_type, model, provider, tool, part),
    CONSTRAINT rollups_15m_bucket CHECK (date_bin('15 minutes', bucket, '2000-01-01 00:00:00+00') = bucket)
) PARTITION BY RANGE (bucket);
CREATE TABLE usage.rollups_15m_default PARTITION OF usage.rollups_15m DEFAULT WITH (fillfactor = 70);
-- For questions across users of a window: who was active, who used most.
CREATE INDEX rollups_15m_time ON usage.rollups_15m USING brin (bucket timestamptz_minmax_multi_ops)
    WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE usage.rollups_all (
    bucket timestamptz NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    tool text COLLATE "C" NOT NULL,
    part bigint NOT NULL,
    records bigint NOT NULL,
    tokens_used bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cache_read_tokens bigint NOT NULL DEFAULT 0,
    cache_write_tokens bigint NOT NULL DEFAULT 0,
    reasoning_tokens bigint NOT NULL DEFAULT 0,
    credits_charged bigint NOT NULL,
    credits_uncollected bigint NOT NULL DEFAULT 0,
    cost_usd bigint NOT NULL,
    PRIMARY KEY (bucket, event_type, model, provider, tool, part)
) WITH (fillfactor = 70);

CREATE TABLE usage.rollup_deltas (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket timestamptz NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    tool text COLLATE "C" NOT NULL,
    part bigint NOT NULL,
    records bigint NOT NULL,
    tokens_used bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cache_read_tokens bigint NOT NULL DEFAULT 0,
    cache_write_tokens bigint NOT NULL DEFAULT 0,
    reasoning_tokens bigint NOT NULL DEFAULT 0,
    credits_charged bigint NOT NULL,
    credits_uncollected bigint NOT NULL DEFAULT 0,
    cost_usd bigint NOT NULL
);

INSERT INTO usage.rollups_15m
      (user_id, bucket, event_type, model, provider, tool, part,
       records, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd)
SELECT user_id, date_bin('15 minutes', occurred_at, '2000-01-01 00:00:00+00'), event_type, coalesce(model_name, ''),
       coalesce(provider, ''), coalesce(tool_name, ''),
       CASE WHEN greatest(tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd) > 100000000000
            THEN 1 + (id >> 12) ELSE 0 END,
       count(*), sum(tokens_used), sum(prompt_tokens), sum(completion_tokens), sum(credits_charged), sum(cost_usd)
FROM usage.records GROUP BY 1, 2, 3, 4, 5, 6, 7;

INSERT INTO usage.rollups_all
      (bucket, event_type, model, provider, tool, part,
       records, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd)
SELECT bucket, event_type, model, provider, tool, part,
       sum(records), sum(tokens_used), sum(prompt_tokens), sum(completion_tokens), sum(credits_charged), sum(cost_usd)
FROM usage.rollups_15m GROUP BY 1, 2, 3, 4, 5, 6;

COMMENT ON TABLE usage.rollups_15m IS 'Sums of usage.records by user, quarter of an hour (UTC) and dimensions, kept in the commit of the records; partitioned by month';
COMMENT ON COLUMN usage.rollups_15m.bucket IS 'Beginning of the quarter of an hour. Every civil offset is a multiple of it, so local hours, days and months are sums of these';
COMMENT ON COLUMN usage.rollups_15m.model IS 'Empty where the records name none; likewise provider and tool';
COMMENT ON COLUMN usage.rollups_15m.part IS '0, or for events of extraordinary size 1 + id / 4096 of the record, so that no sum leaves 64 bits';
COMMENT ON COLUMN usage.rollups_15m.records IS 'Records less corrections';
COMMENT ON TABLE usage.rollups_15m_default IS 'Roll-ups of months that have no partition yet; what lies here is moved when its month is made';
COMMENT ON TABLE usage.rollups_all IS 'Sums across users; complete only together with usage.rollup_deltas';
COMMENT ON TABLE usage.rollup_deltas IS 'Sums of single transactions that are still to be added to usage.rollups_all, so that no transaction waits for a row that all users share';
