-- What was deducted for the records that are still kept; a record and its correction add up to nothing. Months that were dropped
-- before stay at 0. The sums across users get it from the deltas, as they get everything. Nothing else writes sums at that time: the
-- version before cannot since the migrations before this one. Corrections are found by the primary key, because a session of the
-- service neither hashes nor merges.
WITH deducted AS (
    SELECT user_id, date_bin('15 minutes', occurred_at, '2000-01-01 00:00:00+00') AS bucket, event_type,
           coalesce(model_name, '') AS model, coalesce(provider, '') AS provider, coalesce(tool_name, '') AS tool,
           CASE WHEN greatest(tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd) > 100000000000
                THEN 1 + (id >> 12) ELSE 0 END AS part,
           sum(credits_charged - credits_uncollected) AS credits
    FROM usage.records AS record
    WHERE charge_seq IS NOT NULL AND NOT EXISTS (
        SELECT FROM usage.records AS taking WHERE taking.user_id = record.user_id AND taking.occurred_at = record.occurred_at
            AND taking.correction_of = record.id)
    GROUP BY 1, 2, 3, 4, 5, 6, 7
), added AS (
    UPDATE usage.rollups_15m AS sums SET credits_deducted = deducted.credits
    FROM deducted
    WHERE sums.user_id = deducted.user_id AND sums.bucket = deducted.bucket AND sums.event_type = deducted.event_type
      AND sums.model = deducted.model AND sums.provider = deducted.provider AND sums.tool = deducted.tool
      AND sums.part = deducted.part
    RETURNING sums.*
)
INSERT INTO usage.rollup_deltas (bucket, event_type, model, provider, tool, part, records, tokens_used, prompt_tokens,
                                 completion_tokens, credits_charged, credits_deducted, cost_usd)
SELECT bucket, event_type, model, provider, tool, part, 0, 0, 0, 0, 0, sum(credits_deducted), 0
FROM added GROUP BY bucket, event_type, model, provider, tool, part;
