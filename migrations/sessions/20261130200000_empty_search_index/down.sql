-- Segments of the newer form are made again in the older one.
DELETE FROM sessions.search_segments;
