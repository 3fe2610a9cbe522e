-- What a row costs whoever reads it is counted once, when it is written: a list adds these up before it opens any value,
-- however well that was compressed. An update of the counters of a session does not count again.
ALTER TABLE sessions.sessions ADD COLUMN size_bytes integer NOT NULL GENERATED ALWAYS AS (
    coalesce(octet_length(title), 0) + octet_length(conversation_data::text) + octet_length(metadata::text)
    + octet_length(session_summary)
) STORED;
ALTER TABLE sessions.messages ADD COLUMN size_bytes integer NOT NULL GENERATED ALWAYS AS (
    octet_length(message_type) + octet_length(content) + coalesce(octet_length(tool_calls::text), 0)
    + coalesce(octet_length(tool_call_id), 0) + octet_length(message_metadata::text)
) STORED;

COMMENT ON COLUMN sessions.sessions.size_bytes IS 'Bytes of the texts and of the text of the JSON; a page of a list ends before it holds too many';
COMMENT ON COLUMN sessions.messages.size_bytes IS 'Bytes of the texts and of the text of the JSON; a page of a list ends before it holds too many';
