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
               THEN true ELSE false END), parts AS (
    SELECT bucket AS at, user_id AS user_id, event_type, model, provider, tool, records, tokens_used, prompt_tokens, completion_tokens,
           credits_charged, credits_deducted, cost_usd
    FROM usage.rollups_15m WHERE  bucket >= (SELECT bucket_from FROM span) AND bucket < (SELECT bucket_until FROM span)
      AND CASE WHEN ($4::text IS NULL OR event_type = $4) AND ($5::text IS NULL OR (model = $5 AND model <> ''))
                AND ($6::text IS NULL OR (provider = $6 AND provider <> '')) AND ($7::text IS NULL OR (tool = $7 AND tool <> ''))
               THEN true ELSE false END UNION ALL SELECT * FROM edges)
SELECT coverage, cell.* FROM span LEFT JOIN (
    SELECT greatest(width_bucket(at, $10), 1)::bigint AS place,
           CASE WHEN $11 THEN event_type END AS event_type, CASE WHEN $12 THEN model END AS model,
           CASE WHEN $13 THEN provider END AS provider, CASE WHEN $14 THEN tool END AS tool, CASE WHEN $15 THEN user_id END AS user_id, sum(records)::bigint AS records, sum(tokens_used)::text AS tokens_used,
           sum(prompt_tokens)::text AS prompt_tokens, sum(completion_tokens)::text AS completion_tokens,
           sum(credits_charged)::text AS credits_charged, sum(credits_deducted)::text AS credits_deducted,
           sum(cost_usd)::text AS cost_usd
    FROM parts GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(records) <> 0 OR sum(tokens_used) <> 0 OR sum(prompt_tokens) <> 0 OR sum(completion_tokens) <> 0
        OR sum(credits_charged) <> 0 OR sum(credits_deducted) <> 0 OR sum(cost_usd) <> 0 LIMIT $16) AS cell ON true
