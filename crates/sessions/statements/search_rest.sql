SELECT count(*) AS messages, coalesce(sum(size_bytes), 0)::bigint AS bytes
FROM (
    SELECT size_bytes FROM sessions.messages
    WHERE user_id = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4
) AS rest
