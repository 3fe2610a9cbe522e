-- Buckets beyond the older number go with their segments.
DELETE FROM sessions.search_segments;
ALTER TABLE sessions.search_postings
    DROP CONSTRAINT search_postings_bucket_check,
    ADD CONSTRAINT search_postings_bucket_check CHECK (bucket BETWEEN 0 AND 1023),
    ALTER COLUMN postings SET STORAGE EXTENDED,
    RESET (toast_tuple_target);

COMMENT ON TABLE sessions.search_postings IS 'The messages of a segment by the hashes of one, two and three characters in a row';
COMMENT ON COLUMN sessions.search_postings.bucket IS 'The first ten bits of the hashes';
COMMENT ON COLUMN sessions.search_postings.postings IS 'For each hash, ascending: the rest of it as a difference, the length of the list, and the numbers of the messages as differences';
