-- Rewrites the table.
ALTER TABLE usage.records DROP COLUMN size_bytes;
ALTER TABLE usage.records ADD COLUMN size_bytes integer NOT NULL GENERATED ALWAYS AS (
    coalesce(octet_length(session_id), 0) + coalesce(octet_length(trace_id), 0) + coalesce(octet_length(endpoint), 0)
    + octet_length(event_type) + coalesce(octet_length(model_name), 0) + coalesce(octet_length(provider), 0)
    + coalesce(octet_length(tool_name), 0) + coalesce(octet_length(operation_name), 0)
    + octet_length(calculation_method) + coalesce(octet_length(event_id), 0)
    + coalesce(octet_length(quantities::text), 0) + coalesce(octet_length(billing_metadata::text), 0)
    + coalesce(octet_length(request_data::text), 0) + coalesce(octet_length(response_data::text), 0)
) STORED;
COMMENT ON COLUMN usage.records.size_bytes IS 'Bytes of the texts and of the text of the JSON; a page of a list ends before it holds too many';
