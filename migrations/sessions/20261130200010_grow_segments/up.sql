-- The last segment of a user grows until it is full.
ALTER TABLE sessions.search_segments
    ADD COLUMN is_full boolean NOT NULL DEFAULT true,
    ALTER COLUMN message_ids SET STORAGE EXTERNAL;

COMMENT ON COLUMN sessions.search_segments.message_ids IS 'Integer ids of its messages, ascending, as differences in bits; the place of an id is the number of the message in the postings';
COMMENT ON COLUMN sessions.search_segments.is_full IS 'False if messages after its last one will be added to it; so is at most the last segment of a user';
