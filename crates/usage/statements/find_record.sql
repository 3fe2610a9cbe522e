SELECT record.id, record.user_id, record.occurred_at, record.recorded_by, record.correction_of,
      record.event_id, record.session_id, record.trace_id, record.endpoint, record.event_type,
      record.model_name, record.provider, record.tool_name, record.operation_name, record.tokens_used,
      record.prompt_tokens, record.completion_tokens, record.credits_charged, record.cost_usd,
      record.calculation_method, record.credits_uncollected, record.price_id, record.quantities,
      record.billing_metadata, record.request_data, record.response_data, record.charge_transaction,
      record.charge_seq FROM usage.records AS record WHERE record.user_id = $1 AND record.id = $2
