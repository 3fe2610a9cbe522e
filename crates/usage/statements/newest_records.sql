SELECT found, record.id, record.user_id, record.occurred_at, record.recorded_by, record.correction_of,
      record.event_id, record.session_id, record.trace_id, record.endpoint, record.event_type,
      record.model_name, record.provider, record.tool_name, record.operation_name, record.tokens_used,
      record.prompt_tokens, record.completion_tokens, record.credits_charged, record.cost_usd,
      record.calculation_method, record.credits_uncollected, record.price_id, record.quantities,
      record.billing_metadata, record.request_data, record.response_data, record.charge_transaction,
      record.charge_seq
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT * FROM usage.records
        WHERE user_id = $1 AND occurred_at >= coalesce($2::timestamptz, '-infinity') AND (occurred_at, id) < ($3, $4)
          AND CASE WHEN ($5::text IS NULL OR event_type = $5) AND ($6::text IS NULL OR model_name = $6)
                    AND ($7::text IS NULL OR provider = $7) AND ($8::text IS NULL OR tool_name = $8)
                    AND ($9::text IS NULL OR session_id = $9) AND ($10::text IS NULL OR recorded_by = $10)
                   THEN true ELSE false END
        ORDER BY occurred_at DESC, id DESC LIMIT $11 OFFSET $12
    ) AS page
    WINDOW walk AS (ORDER BY occurred_at DESC, id DESC ROWS UNBOUNDED PRECEDING)
) AS record
WHERE nth = 1 OR (nth <= $13 AND bytes <= $14)
ORDER BY occurred_at DESC, id DESC
