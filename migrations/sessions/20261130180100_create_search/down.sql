DROP TABLE sessions.search_postings;
DROP TABLE sessions.search_segments;
