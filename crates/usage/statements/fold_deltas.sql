WITH taken AS MATERIALIZED (
    SELECT ctid AS place FROM usage.rollup_deltas ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM usage.rollup_deltas WHERE ctid = ANY (ARRAY(SELECT place FROM taken)) RETURNING *
), added AS (
    INSERT INTO usage.rollups_all AS sums
          (bucket, event_type, model, provider, tool, part,
           records, tokens_used, prompt_tokens, completion_tokens, credits_charged, credits_deducted, cost_usd)
    SELECT bucket, event_type, model, provider, tool, part, sum(records), sum(tokens_used), sum(prompt_tokens),
           sum(completion_tokens), sum(credits_charged), sum(credits_deducted), sum(cost_usd)
    FROM gone GROUP BY bucket, event_type, model, provider, tool, part
    ORDER BY bucket, event_type, model, provider, tool, part
    ON CONFLICT (bucket, event_type, model, provider, tool, part) DO UPDATE SET
        records = sums.records + excluded.records, tokens_used = sums.tokens_used + excluded.tokens_used,
        prompt_tokens = sums.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = sums.completion_tokens + excluded.completion_tokens,
        credits_charged = sums.credits_charged + excluded.credits_charged,
        credits_deducted = sums.credits_deducted + excluded.credits_deducted, cost_usd = sums.cost_usd + excluded.cost_usd
), spans AS (
    SELECT span.hours, date_bin(make_interval(hours => span.hours), bucket, '2000-01-01 00:00:00+00') AS begins, event_type,
           model, provider, tool, part, sum(records) AS records, sum(tokens_used) AS tokens_used,
           sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
           sum(credits_charged) AS credits_charged, sum(credits_deducted) AS credits_deducted, sum(cost_usd) AS cost_usd
    FROM gone CROSS JOIN unnest('{1,4,24}'::int[]) AS span (hours)
    GROUP BY span.hours, begins, event_type, model, provider, tool, part
), added_to_spans AS (
    INSERT INTO usage.rollups_all_hours AS sums
          (hours, bucket, event_type, model, provider, tool, part,
           records, tokens_used, prompt_tokens, completion_tokens, credits_charged, credits_deducted, cost_usd)
    SELECT hours, begins, event_type, model, provider, tool, coalesce(newest.part, spans.part) AS into_part,
           records, tokens_used, prompt_tokens, completion_tokens, credits_charged, credits_deducted, cost_usd
    FROM spans LEFT JOIN LATERAL (
        SELECT CASE WHEN greatest(abs(kept.tokens_used), abs(kept.prompt_tokens), abs(kept.completion_tokens),
                                  abs(kept.credits_charged), abs(kept.cost_usd)) < 4611686018427387904
                    THEN kept.part ELSE kept.part - 1 END AS part
        FROM usage.rollups_all_hours AS kept
        WHERE spans.part = 0 AND kept.hours = spans.hours AND kept.bucket = begins AND kept.event_type = spans.event_type
          AND kept.model = spans.model AND kept.provider = spans.provider AND kept.tool = spans.tool AND kept.part <= 0
        ORDER BY kept.part LIMIT 1) AS newest ON true
    ORDER BY hours, begins, event_type, model, provider, tool, into_part
    ON CONFLICT (hours, bucket, event_type, model, provider, tool, part) DO UPDATE SET
        records = sums.records + excluded.records, tokens_used = sums.tokens_used + excluded.tokens_used,
        prompt_tokens = sums.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = sums.completion_tokens + excluded.completion_tokens,
        credits_charged = sums.credits_charged + excluded.credits_charged,
        credits_deducted = sums.credits_deducted + excluded.credits_deducted, cost_usd = sums.cost_usd + excluded.cost_usd
)
SELECT count(*) AS deltas FROM gone
