SELECT found.after_id, found.message_ids
FROM unnest($2::bigint[]) AS segment (wanted_segment)
CROSS JOIN LATERAL (
    SELECT * FROM sessions.search_segments WHERE user_id = $1 AND after_id = wanted_segment LIMIT 1
) AS found
