-- The plain table knows no corrections: a corrected record goes together with its correction, which leaves every sum as it
-- was. Months that were dropped stay dropped.
ALTER SEQUENCE usage.record_ids OWNED BY NONE;
ALTER TABLE usage.records RENAME TO records_partitioned;
ALTER TABLE usage.records_partitioned RENAME CONSTRAINT records_pkey TO records_partitioned_pkey;

CREATE TABLE usage.records (
    id bigint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    session_id text,
    trace_id text,
    endpoint text,
    event_type text NOT NULL,
    model_name text,
    provider text,
    tool_name text,
    operation_name text,
    tokens_used bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    credits_charged bigint NOT NULL,
    cost_usd bigint NOT NULL,
    calculation_method text NOT NULL,
    billing_metadata jsonb,
    request_data jsonb,
    response_data jsonb,
    size_bytes integer NOT NULL GENERATED ALWAYS AS (
        coalesce(octet_length(session_id), 0) + coalesce(octet_length(trace_id), 0) + coalesce(octet_length(endpoint), 0)
        + octet_length(event_type) + coalesce(octet_length(model_name), 0) + coalesce(octet_length(provider), 0)
        + coalesce(octet_length(tool_name), 0) + coalesce(octet_length(operation_name), 0)
        + octet_length(calculation_method) + coalesce(octet_length(billing_metadata::text), 0)
        + coalesce(octet_length(request_data::text), 0) + coalesce(octet_length(response_data::text), 0)
    ) STORED,
    PRIMARY KEY (user_id, occurred_at, id),
    CONSTRAINT records_counts CHECK (tokens_used >= 0 AND prompt_tokens >= 0 AND completion_tokens >= 0),
    CONSTRAINT records_amounts CHECK (credits_charged >= 0 AND cost_usd >= 0),
    CONSTRAINT records_dimensions CHECK (model_name <> '' AND provider <> '' AND tool_name <> '')
);

INSERT INTO usage.records
      (id, user_id, occurred_at, recorded_at, session_id, trace_id, endpoint, event_type, model_name, provider, tool_name,
       operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd, calculation_method,
       billing_metadata, request_data, response_data)
SELECT id, user_id, occurred_at, recorded_at, session_id, trace_id, endpoint, event_type, model_name, provider, tool_name,
       operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd, calculation_method,
       billing_metadata, request_data, response_data
FROM usage.records_partitioned AS kept
WHERE sign = 1 AND NOT EXISTS (
    SELECT FROM usage.records_partitioned AS taken
    WHERE taken.user_id = kept.user_id AND taken.occurred_at = kept.occurred_at AND taken.correction_of = kept.id);
DROP TABLE usage.records_partitioned;
DROP TABLE usage.retention;
ALTER SEQUENCE usage.record_ids OWNED BY usage.records.id;

COMMENT ON TABLE usage.records IS 'Usage events, immutable; the primary key also serves the newest page of one user';
COMMENT ON COLUMN usage.records.id IS 'From usage.record_ids: unique over all users, in order within one batch, not in order of commit';
COMMENT ON COLUMN usage.records.occurred_at IS 'The one time axis of lists and statistics; created_at on the wire';
COMMENT ON COLUMN usage.records.recorded_at IS 'When the service stored it';
COMMENT ON COLUMN usage.records.credits_charged IS 'Micro-credits as stated or rated; the record alone moves no credit';
COMMENT ON COLUMN usage.records.cost_usd IS 'Nano-dollars the provider takes';
COMMENT ON COLUMN usage.records.calculation_method IS 'How credits_charged came about; unrated means that the price is unknown, not that the event is free';
COMMENT ON COLUMN usage.records.billing_metadata IS 'JSON object of the caller; NULL stands for {}';
COMMENT ON COLUMN usage.records.request_data IS 'JSON object of the caller; NULL stands for {}';
COMMENT ON COLUMN usage.records.response_data IS 'JSON object of the caller; NULL stands for {}';
COMMENT ON COLUMN usage.records.size_bytes IS 'Bytes of the texts and of the text of the JSON; a page of a list ends before it holds too many';
COMMENT ON CONSTRAINT records_dimensions ON usage.records IS 'An absent dimension is NULL and never an empty text, so that groups are the same in every statistic';
