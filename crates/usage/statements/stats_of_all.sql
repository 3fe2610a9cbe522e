WITH quarters AS (
    SELECT CASE WHEN $8::text IS NOT NULL OR $9::text IS NOT NULL THEN 'infinity' WHEN $2::timestamptz IS NULL THEN '-infinity'
                WHEN $2 < dropped_before THEN date_bin('15 minutes', $2, '2000-01-01 00:00:00+00')
                ELSE date_bin('15 minutes', $2 + interval '899.999999 seconds', '2000-01-01 00:00:00+00')
           END AS bucket_from,
           CASE WHEN $8::text IS NOT NULL OR $9::text IS NOT NULL THEN '-infinity' WHEN $3::timestamptz IS NULL THEN 'infinity'
                WHEN $3 > dropped_before THEN date_bin('15 minutes', $3, '2000-01-01 00:00:00+00')
                ELSE date_bin('15 minutes', $3 + interval '899.999999 seconds', '2000-01-01 00:00:00+00')
           END AS bucket_until,
           coalesce($2, '-infinity') AS first, coalesce($3, 'infinity') AS last, dropped_before
    FROM usage.retention WHERE one
), span AS MATERIALIZED (
    SELECT bucket_from, bucket_until, first, last,
           CASE WHEN bucket_from < bucket_until THEN bucket_from ELSE last END AS low_until,
           CASE WHEN bucket_from < bucket_until THEN bucket_until ELSE last END AS high_from,
           CASE WHEN $8::text IS NULL AND $9::text IS NULL THEN CASE WHEN bucket_from < first OR bucket_until > last THEN 1 ELSE 0 END
                WHEN first < dropped_before THEN 2 ELSE 0 END AS coverage
    FROM quarters
), edges AS MATERIALIZED (
    SELECT occurred_at AS at, user_id, event_type, coalesce(model_name, '') AS model, coalesce(provider, '') AS provider,
           coalesce(tool_name, '') AS tool, sign::bigint AS records, tokens_used, prompt_tokens, completion_tokens, credits_charged,
           CASE WHEN charge_seq IS NOT NULL THEN credits_charged - credits_uncollected
                WHEN correction_of IS NULL THEN 0
                ELSE coalesce((
                    SELECT taken.credits_uncollected - taken.credits_charged FROM usage.records AS taken
                    WHERE taken.user_id = record.user_id AND taken.occurred_at = record.occurred_at
                      AND taken.id = record.correction_of AND taken.charge_seq IS NOT NULL), 0) END AS credits_deducted, cost_usd
    FROM usage.records AS record
    WHERE  occurred_at >= (SELECT first FROM span) AND occurred_at < (SELECT low_until FROM span)
      AND CASE WHEN ($4::text IS NULL OR event_type = $4) AND ($5::text IS NULL OR model_name = $5) AND ($6::text IS NULL OR provider = $6)
                AND ($7::text IS NULL OR tool_name = $7) AND ($8::text IS NULL OR session_id = $8)
                AND ($9::text IS NULL OR recorded_by = $9)
               THEN true ELSE false END UNION ALL
    SELECT occurred_at AS at, user_id, event_type, coalesce(model_name, '') AS model, coalesce(provider, '') AS provider,
           coalesce(tool_name, '') AS tool, sign::bigint AS records, tokens_used, prompt_tokens, completion_tokens, credits_charged,
           CASE WHEN charge_seq IS NOT NULL THEN credits_charged - credits_uncollected
                WHEN correction_of IS NULL THEN 0
                ELSE coalesce((
                    SELECT taken.credits_uncollected - taken.credits_charged FROM usage.records AS taken
                    WHERE taken.user_id = record.user_id AND taken.occurred_at = record.occurred_at
                      AND taken.id = record.correction_of AND taken.charge_seq IS NOT NULL), 0) END AS credits_deducted, cost_usd
    FROM usage.records AS record
    WHERE  occurred_at >= (SELECT high_from FROM span) AND occurred_at < (SELECT last FROM span)
      AND CASE WHEN ($4::text IS NULL OR event_type = $4) AND ($5::text IS NULL OR model_name = $5) AND ($6::text IS NULL OR provider = $6)
                AND ($7::text IS NULL OR tool_name = $7) AND ($8::text IS NULL OR session_id = $8)
                AND ($9::text IS NULL OR recorded_by = $9)
               THEN true ELSE false END), pieces AS MATERIALIZED (
    SELECT hours, piece.low, piece.high
    FROM (SELECT bucket_from AS low, bucket_until AS high FROM span) AS bucket,
    LATERAL (SELECT date_bin('1 hour', low + interval '3599.999999 seconds', '2000-01-01 00:00:00+00') AS low1,
                    date_bin('1 hour', high, '2000-01-01 00:00:00+00') AS high1) AS span1,
    LATERAL (SELECT CASE WHEN low1 < high1 THEN low1 ELSE high END AS from1,
                    CASE WHEN low1 < high1 THEN high1 ELSE high END AS until1) AS fit1,
    LATERAL (SELECT date_bin('4 hours', low + interval '14399.999999 seconds', '2000-01-01 00:00:00+00') AS low4,
                    date_bin('4 hours', high, '2000-01-01 00:00:00+00') AS high4) AS span4,
    LATERAL (SELECT CASE WHEN low4 < high4 THEN low4 ELSE until1 END AS from4,
                    CASE WHEN low4 < high4 THEN high4 ELSE until1 END AS until4) AS fit4,
    LATERAL (SELECT date_bin('1 day', low + interval '86399.999999 seconds', '2000-01-01 00:00:00+00') AS low24,
                    date_bin('1 day', high, '2000-01-01 00:00:00+00') AS high24) AS span24,
    LATERAL (SELECT CASE WHEN low24 < high24 THEN low24 ELSE until4 END AS from24,
                    CASE WHEN low24 < high24 THEN high24 ELSE until4 END AS until24) AS fit24,
    LATERAL (VALUES (0, low, from1), (1, from1, from4), (4, from4, from24), (24, from24, until24),
                    (4, until24, until4), (1, until4, until1), (0, until1, high)) AS piece (hours, low, high)
    WHERE piece.low < piece.high
), parts AS (
    SELECT bucket AS at, '' AS user_id, event_type, model, provider, tool, records, tokens_used, prompt_tokens,
           completion_tokens, credits_charged, credits_deducted, cost_usd
    FROM pieces JOIN usage.rollups_all_hours AS sums ON sums.hours = pieces.hours AND bucket >= low AND bucket < high
    WHERE pieces.hours > 0 AND CASE WHEN ($4::text IS NULL OR event_type = $4) AND ($5::text IS NULL OR (model = $5 AND model <> ''))
                AND ($6::text IS NULL OR (provider = $6 AND provider <> '')) AND ($7::text IS NULL OR (tool = $7 AND tool <> ''))
               THEN true ELSE false END UNION ALL
    SELECT bucket AS at, '' AS user_id, event_type, model, provider, tool, records, tokens_used, prompt_tokens,
           completion_tokens, credits_charged, credits_deducted, cost_usd
    FROM pieces JOIN usage.rollups_all AS sums ON bucket >= low AND bucket < high
    WHERE pieces.hours = 0 AND CASE WHEN ($4::text IS NULL OR event_type = $4) AND ($5::text IS NULL OR (model = $5 AND model <> ''))
                AND ($6::text IS NULL OR (provider = $6 AND provider <> '')) AND ($7::text IS NULL OR (tool = $7 AND tool <> ''))
               THEN true ELSE false END UNION ALL
    SELECT bucket AS at, '' AS user_id, event_type, model, provider, tool, records, tokens_used, prompt_tokens, completion_tokens,
           credits_charged, credits_deducted, cost_usd
    FROM usage.rollup_deltas WHERE id > 0 AND bucket >= (SELECT bucket_from FROM span) AND bucket < (SELECT bucket_until FROM span)
      AND CASE WHEN ($4::text IS NULL OR event_type = $4) AND ($5::text IS NULL OR (model = $5 AND model <> ''))
                AND ($6::text IS NULL OR (provider = $6 AND provider <> '')) AND ($7::text IS NULL OR (tool = $7 AND tool <> ''))
               THEN true ELSE false END UNION ALL SELECT * FROM edges)
SELECT grouping(event_type, model, provider)::bigint AS axis,
       coalesce(event_type, model, provider) AS value,
       (SELECT coverage FROM span) AS coverage,
       coalesce(sum(records), 0)::bigint AS records,
       coalesce(sum(credits_charged), 0)::text AS credits_charged,
       coalesce(sum(credits_deducted), 0)::text AS credits_deducted,
       coalesce(sum(cost_usd), 0)::text AS cost_usd,
       coalesce(sum(tokens_used), 0)::text AS tokens_used
FROM parts GROUP BY GROUPING SETS ((), (event_type), (model), (provider))
