CREATE SCHEMA usage;
COMMENT ON SCHEMA usage IS 'What users did: one record per metered event';

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
    PRIMARY KEY (user_id, occurred_at, id),
    CONSTRAINT records_counts CHECK (tokens_used >= 0 AND prompt_tokens >= 0 AND completion_tokens >= 0),
    CONSTRAINT records_amounts CHECK (credits_charged >= 0 AND cost_usd >= 0),
    CONSTRAINT records_dimensions CHECK (model_name <> '' AND provider <> '' AND tool_name <> '')
);

CREATE SEQUENCE usage.record_ids AS bigint OWNED BY usage.records.id;

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
COMMENT ON CONSTRAINT records_dimensions ON usage.records IS 'An absent dimension is NULL and never an empty text, so that groups are the same in every statistic';
COMMENT ON SEQUENCE usage.record_ids IS 'Ids of usage records';
