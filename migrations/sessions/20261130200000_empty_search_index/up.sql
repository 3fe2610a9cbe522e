-- The stored form of segments changes: they are made again.
DELETE FROM sessions.search_segments;
