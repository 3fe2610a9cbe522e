-- Reads the table while others read and write it.
ALTER TABLE sessions.search_postings VALIDATE CONSTRAINT search_postings_bucket_check;
