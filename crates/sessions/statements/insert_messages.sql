INSERT INTO sessions.messages (user_id, session_id, seq, message_id, message_type, role, content, tool_calls, tool_call_id,
      message_metadata, tokens_used, cost_usd, is_summary_candidate, importance_score, status,
      created_at, updated_at)
    SELECT user_id, session_id, seq, message_id, message_type, role, content, tool_calls, tool_call_id,
      message_metadata, tokens_used, cost_usd, is_summary_candidate, importance_score, status,
      created_at, updated_at
    FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[],
      $8::jsonb[], $9::text[], $10::jsonb[], $11::bigint[], $12::bigint[], $13::boolean[],
      $14::double precision[], $15::text[], $16::timestamptz[], $17::timestamptz[]) WITH ORDINALITY AS new (user_id, session_id, seq, message_id, message_type, role, content, tool_calls, tool_call_id,
      message_metadata, tokens_used, cost_usd, is_summary_candidate, importance_score, status,
      created_at, updated_at, place) ORDER BY place RETURNING messages.id, messages.message_id, messages.session_id, messages.user_id, messages.seq,
      messages.message_type, messages.role, messages.content, messages.tool_call_id,
      messages.message_metadata, messages.tokens_used, messages.cost_usd,
      messages.is_summary_candidate, messages.importance_score, messages.status, messages.created_at,
      messages.updated_at, messages.tool_calls
