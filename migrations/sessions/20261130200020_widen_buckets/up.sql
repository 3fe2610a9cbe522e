-- A bucket of a larger segment stays on its page: a search reads one page for each, and no more.
ALTER TABLE sessions.search_postings
    DROP CONSTRAINT search_postings_bucket_check,
    ADD CONSTRAINT search_postings_bucket_check CHECK (bucket BETWEEN 0 AND 2047) NOT VALID,
    ALTER COLUMN postings SET STORAGE EXTERNAL,
    SET (toast_tuple_target = 8160);

COMMENT ON TABLE sessions.search_postings IS 'The messages of a segment by the hashes of up to four characters in a row, and of short words with their neighbours';
COMMENT ON COLUMN sessions.search_postings.bucket IS 'The first eleven bits of the hashes';
COMMENT ON COLUMN sessions.search_postings.postings IS 'For each hash, ascending: the rest of it as a difference, the length of the list with its number of low bits, and the numbers of the messages as differences in bits';
