ALTER TABLE sessions.search_postings
    DROP CONSTRAINT search_postings_bucket_check,
    ADD CONSTRAINT search_postings_bucket_check CHECK (bucket BETWEEN 0 AND 2047) NOT VALID;
