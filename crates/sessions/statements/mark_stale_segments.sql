WITH found AS MATERIALIZED (
    SELECT DISTINCT segment.after_id
    FROM sessions.messages AS message
    CROSS JOIN LATERAL (
        SELECT after_id, last_id FROM sessions.search_segments
        WHERE user_id = $1 AND after_id < message.id ORDER BY after_id DESC LIMIT 1
    ) AS segment
    WHERE message.user_id = $1 AND message.session_id = $2 AND message.id <= segment.last_id
), locked AS MATERIALIZED (
    SELECT after_id FROM sessions.search_segments
    WHERE user_id = $1 AND after_id IN (SELECT after_id FROM found) ORDER BY after_id FOR NO KEY UPDATE
)
UPDATE sessions.search_segments SET is_stale = true
WHERE user_id = $1 AND after_id IN (SELECT after_id FROM locked)
