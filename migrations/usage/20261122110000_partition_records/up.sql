-- Months are dropped as whole partitions instead of being deleted row by row. All months, those to come included, are made
-- by the service, never here: until then everything lies in the DEFAULT partition, which is correct and only not droppable.
ALTER SEQUENCE usage.record_ids OWNED BY NONE;
ALTER TABLE usage.records RENAME TO records_before;
ALTER TABLE usage.records_before RENAME CONSTRAINT records_pkey TO records_before_pkey;

CREATE TABLE usage.records (
    id bigint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    sign smallint NOT NULL DEFAULT 1 CONSTRAINT records_sign CHECK (sign IN (1, -1)),
    correction_of bigint,
    event_id text COLLATE "C",
    session_id text COLLATE "C",
    trace_id text,
    endpoint text,
    event_type text COLLATE "C" NOT NULL,
    model_name text COLLATE "C",
    provider text COLLATE "C",
    tool_name text COLLATE "C",
    operation_name text,
    tokens_used bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    credits_charged bigint NOT NULL,
    credits_uncollected bigint NOT NULL DEFAULT 0,
    cost_usd bigint NOT NULL,
    calculation_method text NOT NULL,
    quantities jsonb,
    price_id bigint,
    charge_seq bigint,
    billing_metadata jsonb,
    request_data jsonb,
    response_data jsonb,
    size_bytes integer NOT NULL GENERATED ALWAYS AS (
        coalesce(octet_length(session_id), 0) + coalesce(octet_length(trace_id), 0) + coalesce(octet_length(endpoint), 0)
        + octet_length(event_type) + coalesce(octet_length(model_name), 0) + coalesce(octet_length(provider), 0)
        + coalesce(octet_length(tool_name), 0) + coalesce(octet_length(operation_name), 0)
        + octet_length(calculation_method) + coalesce(octet_length(event_id), 0)
        + coalesce(octet_length(quantities::text), 0) + coalesce(octet_length(billing_metadata::text), 0)
        + coalesce(octet_length(request_data::text), 0) + coalesce(octet_length(response_data::text), 0)
    ) STORED,
    PRIMARY KEY (user_id, occurred_at, id),
    CONSTRAINT records_corrections CHECK ((sign = -1) = (correction_of IS NOT NULL)),
    CONSTRAINT records_counts CHECK (sign * tokens_used >= 0 AND sign * prompt_tokens >= 0 AND sign * completion_tokens >= 0),
    CONSTRAINT records_amounts CHECK (sign * credits_charged >= 0 AND sign * credits_uncollected >= 0 AND sign * cost_usd >= 0),
    CONSTRAINT records_dimensions CHECK (model_name <> '' AND provider <> '' AND tool_name <> '')
) PARTITION BY RANGE (occurred_at);
CREATE TABLE usage.records_default PARTITION OF usage.records DEFAULT;

-- One record by its id, and all records of a quarter of an hour: both follow the order of insertion, so a small summary of
-- block ranges finds them. The ranges know several intervals each, so that a late event does not widen them.
CREATE INDEX records_id ON usage.records USING brin (id) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX records_time ON usage.records USING brin (occurred_at timestamptz_minmax_multi_ops)
    WITH (pages_per_range = 32, autosummarize = on);

INSERT INTO usage.records
      (id, user_id, occurred_at, recorded_at, session_id, trace_id, endpoint, event_type, model_name, provider, tool_name,
       operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd, calculation_method,
       billing_metadata, request_data, response_data)
SELECT id, user_id, occurred_at, recorded_at, session_id, trace_id, endpoint, event_type, model_name, provider, tool_name,
       operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd, calculation_method,
       billing_metadata, request_data, response_data
FROM usage.records_before;
DROP TABLE usage.records_before;
ALTER SEQUENCE usage.record_ids OWNED BY usage.records.id;

-- What was dropped is known in the snapshot of every read: it tells where only roll-ups are left.
CREATE TABLE usage.retention (
    one boolean PRIMARY KEY DEFAULT true CONSTRAINT retention_one_row CHECK (one),
    dropped_before timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO usage.retention DEFAULT VALUES;

COMMENT ON TABLE usage.records IS 'Usage events, immutable, partitioned by month (UTC); the primary key also serves the newest page of one user';
COMMENT ON COLUMN usage.records.id IS 'From usage.record_ids: unique over all users, in order within one batch, not in order of commit';
COMMENT ON COLUMN usage.records.occurred_at IS 'The one time axis of lists and statistics; created_at on the wire';
COMMENT ON COLUMN usage.records.recorded_at IS 'When the service stored it';
COMMENT ON COLUMN usage.records.sign IS '-1 in a correction, which has the figures of the record it takes back, negated; counts are sum(sign)';
COMMENT ON COLUMN usage.records.correction_of IS 'The record that a correction takes back; both occurred at the same instant';
COMMENT ON COLUMN usage.records.event_id IS 'The caller''s identity of the event; see usage.dedupe';
COMMENT ON COLUMN usage.records.credits_charged IS 'Micro-credits as stated or rated; the record alone moves no credit';
COMMENT ON COLUMN usage.records.credits_uncollected IS 'Micro-credits that were due and not there';
COMMENT ON COLUMN usage.records.cost_usd IS 'Nano-dollars the provider takes';
COMMENT ON COLUMN usage.records.calculation_method IS 'How credits_charged came about; unrated means that the price is unknown, not that the event is free';
COMMENT ON COLUMN usage.records.quantities IS 'Rated units by token class';
COMMENT ON COLUMN usage.records.price_id IS 'The version of the price that rated it';
COMMENT ON COLUMN usage.records.charge_seq IS 'seq of the ledger entry that charged it';
COMMENT ON COLUMN usage.records.billing_metadata IS 'JSON object of the caller; NULL stands for {}';
COMMENT ON COLUMN usage.records.request_data IS 'JSON object of the caller; NULL stands for {}';
COMMENT ON COLUMN usage.records.response_data IS 'JSON object of the caller; NULL stands for {}';
COMMENT ON COLUMN usage.records.size_bytes IS 'Bytes of the texts and of the text of the JSON; a page of a list ends before it holds too many';
COMMENT ON CONSTRAINT records_dimensions ON usage.records IS 'An absent dimension is NULL and never an empty text, so that groups are the same in every statistic';
COMMENT ON TABLE usage.records_default IS 'Records of months that have no partition yet; what lies here is moved when its month is made';
COMMENT ON TABLE usage.retention IS 'One row: which records are gone';
COMMENT ON COLUMN usage.retention.dropped_before IS 'Months that end here or earlier were dropped; their roll-ups live on';
