WITH claims AS (
    INSERT INTO usage.dedupe (user_id, event_id, payload, record_id, occurred_at, caller)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::timestamptz[], $6::text[])
    ON CONFLICT (user_id, event_id) DO NOTHING RETURNING 1
), records AS (
    INSERT INTO usage.records (recorded_at, sign, id, user_id, occurred_at, recorded_by, correction_of, event_id, session_id, trace_id, endpoint,
      event_type, model_name, provider, tool_name, operation_name, tokens_used, prompt_tokens,
      completion_tokens, credits_charged, cost_usd, calculation_method, credits_uncollected, price_id,
      quantities, billing_metadata, request_data, response_data, charge_transaction, charge_seq)
    SELECT $7, CASE WHEN correction_of IS NULL THEN 1 ELSE -1 END, id, user_id, occurred_at, recorded_by, correction_of, event_id, session_id, trace_id, endpoint,
      event_type, model_name, provider, tool_name, operation_name, tokens_used, prompt_tokens,
      completion_tokens, credits_charged, cost_usd, calculation_method, credits_uncollected, price_id,
      quantities, billing_metadata, request_data, response_data, charge_transaction, charge_seq
    FROM unnest($8::bigint[], $9::text[], $10::timestamptz[], $11::text[], $12::bigint[], $13::text[],
      $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[],
      $21::text[], $22::bigint[], $23::bigint[], $24::bigint[], $25::bigint[], $26::bigint[],
      $27::text[], $28::bigint[], $29::bigint[], $30::jsonb[], $31::jsonb[], $32::jsonb[],
      $33::jsonb[], $34::uuid[], $35::bigint[]) AS new (id, user_id, occurred_at, recorded_by, correction_of, event_id, session_id, trace_id, endpoint,
      event_type, model_name, provider, tool_name, operation_name, tokens_used, prompt_tokens,
      completion_tokens, credits_charged, cost_usd, calculation_method, credits_uncollected, price_id,
      quantities, billing_metadata, request_data, response_data, charge_transaction, charge_seq)
    RETURNING 1
), sums AS (
    INSERT INTO usage.rollups_15m AS sums (user_id, bucket, event_type, model, provider, tool, part, records, tokens_used, prompt_tokens,
      completion_tokens, credits_charged, credits_deducted, cost_usd)
    SELECT * FROM unnest($36::text[], $37::timestamptz[], $38::text[], $39::text[], $40::text[], $41::text[],
      $42::bigint[], $43::bigint[], $44::bigint[], $45::bigint[], $46::bigint[], $47::bigint[],
      $48::bigint[], $49::bigint[])
    ON CONFLICT (user_id, bucket, event_type, model, provider, tool, part) DO UPDATE SET
        records = sums.records + excluded.records, tokens_used = sums.tokens_used + excluded.tokens_used,
        prompt_tokens = sums.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = sums.completion_tokens + excluded.completion_tokens,
        credits_charged = sums.credits_charged + excluded.credits_charged,
        credits_deducted = sums.credits_deducted + excluded.credits_deducted, cost_usd = sums.cost_usd + excluded.cost_usd, added_to = true
    RETURNING user_id, bucket, event_type, model, provider, tool, added_to
), came AS (
    INSERT INTO usage.presence_deltas (user_id, bucket, event_type, model, provider, tool)
    SELECT user_id, bucket, event_type, model, provider, tool FROM sums WHERE NOT added_to
), deltas AS (
    INSERT INTO usage.rollup_deltas (bucket, event_type, model, provider, tool, part, records, tokens_used, prompt_tokens,
      completion_tokens, credits_charged, credits_deducted, cost_usd)
    SELECT * FROM unnest($50::timestamptz[], $51::text[], $52::text[], $53::text[], $54::text[], $55::bigint[],
      $56::bigint[], $57::bigint[], $58::bigint[], $59::bigint[], $60::bigint[], $61::bigint[],
      $62::bigint[]) RETURNING 1
)
SELECT (SELECT count(*) FROM claims) AS claims, (SELECT count(*) FROM records) AS records,
       (SELECT count(*) FROM sums) AS sums, (SELECT count(*) FROM deltas) AS deltas
