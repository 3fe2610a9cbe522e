ALTER TABLE sessions.search_segments
    DROP COLUMN is_full,
    ALTER COLUMN message_ids SET STORAGE EXTENDED;

COMMENT ON COLUMN sessions.search_segments.message_ids IS 'Integer ids of its messages, ascending, as differences; the place of an id is the number of the message in the postings';
