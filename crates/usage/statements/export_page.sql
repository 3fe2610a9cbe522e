SELECT wanted AND fits AS wanted, record.id, record.user_id, record.occurred_at, record.recorded_by, record.correction_of,
      record.event_id, record.session_id, record.trace_id, record.endpoint, record.event_type,
      record.model_name, record.provider, record.tool_name, record.operation_name, record.tokens_used,
      record.prompt_tokens, record.completion_tokens, record.credits_charged, record.cost_usd,
      record.calculation_method, record.credits_uncollected, record.price_id, record.quantities,
      record.billing_metadata, record.request_data, record.response_data, record.charge_transaction,
      record.charge_seq
FROM (
    SELECT walked.*, wanted AND (nth = 1 OR (nth <= $16 AND bytes <= $17)) AS fits
    FROM (
        SELECT page.*, row_number() OVER walk AS seen, count(*) FILTER (WHERE wanted) OVER walk AS nth,
               sum(size_bytes) FILTER (WHERE wanted) OVER walk AS bytes
        FROM (
            SELECT *, CASE WHEN occurred_at >= $5 AND occurred_at < $6 AND ($9::text IS NULL OR event_type = $9)
                            AND ($10::text IS NULL OR model_name = $10) AND ($11::text IS NULL OR provider = $11)
                            AND ($12::text IS NULL OR tool_name = $12) AND ($13::text IS NULL OR session_id = $13)
                            AND ($14::text IS NULL OR recorded_by = $14)
                           THEN true ELSE false END AS wanted
            FROM usage.records
            WHERE (user_id, occurred_at, id) > ($1, $2, $3) AND (user_id, occurred_at) < ($4, $6)
              AND occurred_at >= $7 AND occurred_at < $8
            ORDER BY user_id, occurred_at, id LIMIT $15
        ) AS page
        WINDOW walk AS (ORDER BY user_id, occurred_at, id ROWS UNBOUNDED PRECEDING)
    ) AS walked
) AS record
WHERE fits OR (seen = $15 AND nth = 0)
ORDER BY user_id, occurred_at, id LIMIT $16
