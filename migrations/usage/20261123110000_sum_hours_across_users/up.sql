-- A month across users is nearly three thousand quarters of an hour, times as many rows as there are combinations of
-- dimensions. Longer spans are kept beside them, so that only the ends of what is asked are read in quarters. Days of UTC
-- alone would not do: the days of most people begin at another hour, and then consist of whole hours only.
--
-- The sum of a quarter fits into 64 bits however fast one can record. Of a day that is not certain: a sum that has come half
-- of the way is left as it is, and another one begun.
--
-- What the version before folds from now on would be missing here: do not run it beside this one.
LOCK TABLE usage.rollups_all IN SHARE MODE;

CREATE TABLE usage.rollups_all_hours (
    hours smallint NOT NULL,
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
    PRIMARY KEY (hours, bucket, event_type, model, provider, tool, part),
    CONSTRAINT rollups_all_hours_spans CHECK (hours IN (1, 4, 24)),
    CONSTRAINT rollups_all_hours_bucket CHECK (date_bin(make_interval(hours => hours), bucket, '2000-01-01 00:00:00+00') = bucket)
) WITH (fillfactor = 70);

INSERT INTO usage.rollups_all_hours
      (hours, bucket, event_type, model, provider, tool, part, records, tokens_used, prompt_tokens, completion_tokens,
       cache_read_tokens, cache_write_tokens, reasoning_tokens, credits_charged, credits_uncollected, cost_usd)
SELECT span.hours, date_bin(make_interval(hours => span.hours), bucket, '2000-01-01 00:00:00+00') AS begins, event_type,
       model, provider, tool, part, sum(records), sum(tokens_used), sum(prompt_tokens), sum(completion_tokens),
       sum(cache_read_tokens), sum(cache_write_tokens), sum(reasoning_tokens), sum(credits_charged),
       sum(credits_uncollected), sum(cost_usd)
FROM usage.rollups_all CROSS JOIN unnest(ARRAY[1, 4, 24]) AS span (hours)
GROUP BY span.hours, begins, event_type, model, provider, tool, part
ORDER BY span.hours, begins, event_type, model, provider, tool, part;

COMMENT ON TABLE usage.rollups_all_hours IS 'usage.rollups_all by spans of 1, 4 and 24 hours, kept in the commit that adds to it';
COMMENT ON COLUMN usage.rollups_all_hours.hours IS 'Length of the span';
COMMENT ON COLUMN usage.rollups_all_hours.bucket IS 'Beginning of the span: a whole multiple of its length since midnight, UTC';
COMMENT ON COLUMN usage.rollups_all_hours.part IS 'As in usage.rollups_all; below 0 what came after a sum had filled half of 64 bits';
