WITH claims AS (
    INSERT INTO usage.dedupe (user_id, event_id, payload, record_id, occurred_at, caller)
    SELECT unnest($1::text[]) AS user_id, unnest($2::text[]) AS event_id, unnest($3::bytea[]) AS payload,
      unnest($4::bigint[]) AS record_id, unnest($5::timestamptz[]) AS occurred_at,
      unnest($6::text[]) AS caller RETURNING 1
), records AS (
    INSERT INTO usage.records (recorded_at, sign, size_bytes, id, user_id, occurred_at, recorded_by, correction_of, event_id, session_id, trace_id, endpoint,
      event_type, model_name, provider, tool_name, operation_name, tokens_used, prompt_tokens,
      completion_tokens, credits_charged, cost_usd, calculation_method, credits_uncollected, price_id,
      quantities, billing_metadata, request_data, response_data, charge_transaction, charge_seq)
    SELECT $7, CASE WHEN correction_of IS NULL THEN 1 ELSE -1 END, octet_length(concat(session_id, trace_id, endpoint, event_type, model_name, provider, tool_name,
           operation_name, calculation_method, event_id, quantities, billing_metadata, request_data, response_data)), id, user_id, occurred_at, recorded_by, correction_of, event_id, session_id, trace_id, endpoint,
      event_type, model_name, provider, tool_name, operation_name, tokens_used, prompt_tokens,
      completion_tokens, credits_charged, cost_usd, calculation_method, credits_uncollected, price_id,
      quantities, billing_metadata, request_data, response_data, charge_transaction, charge_seq
    FROM (SELECT unnest($8::bigint[]) AS id, unnest($9::text[]) AS user_id,
      unnest($10::timestamptz[]) AS occurred_at, unnest($11::text[]) AS recorded_by,
      unnest($12::bigint[]) AS correction_of, unnest($13::text[]) AS event_id,
      unnest($14::text[]) AS session_id, unnest($15::text[]) AS trace_id,
      unnest($16::text[]) AS endpoint, unnest($17::text[]) AS event_type,
      unnest($18::text[]) AS model_name, unnest($19::text[]) AS provider,
      unnest($20::text[]) AS tool_name, unnest($21::text[]) AS operation_name,
      unnest($22::bigint[]) AS tokens_used, unnest($23::bigint[]) AS prompt_tokens,
      unnest($24::bigint[]) AS completion_tokens, unnest($25::bigint[]) AS credits_charged,
      unnest($26::bigint[]) AS cost_usd, unnest($27::text[]) AS calculation_method,
      unnest($28::bigint[]) AS credits_uncollected, unnest($29::bigint[]) AS price_id,
      unnest($30::jsonb[]) AS quantities, unnest($31::jsonb[]) AS billing_metadata,
      unnest($32::jsonb[]) AS request_data, unnest($33::jsonb[]) AS response_data,
      unnest($34::uuid[]) AS charge_transaction, unnest($35::bigint[]) AS charge_seq) AS new
    RETURNING 1
), sums AS (
    INSERT INTO usage.rollups_15m AS sums (user_id, bucket, event_type, model, provider, tool, part, records, tokens_used, prompt_tokens,
      completion_tokens, credits_charged, credits_deducted, cost_usd)
    SELECT unnest($36::text[]) AS user_id, unnest($37::timestamptz[]) AS bucket,
      unnest($38::text[]) AS event_type, unnest($39::text[]) AS model, unnest($40::text[]) AS provider,
      unnest($41::text[]) AS tool, unnest($42::bigint[]) AS part, unnest($43::bigint[]) AS records,
      unnest($44::bigint[]) AS tokens_used, unnest($45::bigint[]) AS prompt_tokens,
      unnest($46::bigint[]) AS completion_tokens, unnest($47::bigint[]) AS credits_charged,
      unnest($48::bigint[]) AS credits_deducted, unnest($49::bigint[]) AS cost_usd
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
    SELECT unnest($50::timestamptz[]) AS bucket, unnest($51::text[]) AS event_type,
      unnest($52::text[]) AS model, unnest($53::text[]) AS provider, unnest($54::text[]) AS tool,
      unnest($55::bigint[]) AS part, unnest($56::bigint[]) AS records,
      unnest($57::bigint[]) AS tokens_used, unnest($58::bigint[]) AS prompt_tokens,
      unnest($59::bigint[]) AS completion_tokens, unnest($60::bigint[]) AS credits_charged,
      unnest($61::bigint[]) AS credits_deducted, unnest($62::bigint[]) AS cost_usd RETURNING 1
)
SELECT (SELECT count(*) FROM claims) AS claims, (SELECT count(*) FROM records) AS records,
       (SELECT count(*) FROM sums) AS sums, (SELECT count(*) FROM deltas) AS deltas
