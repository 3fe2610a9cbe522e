SELECT measured.found, measured.id, measured.message_id, measured.session_id, measured.user_id,
      measured.seq, measured.message_type, measured.role, measured.content, measured.tool_call_id,
      measured.message_metadata, measured.tokens_used, measured.cost_usd,
      measured.is_summary_candidate, measured.importance_score, measured.status, measured.created_at,
      measured.updated_at, measured.tool_calls
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT * FROM sessions.messages
        WHERE user_id = $1 AND session_id = $2 AND seq > $3 AND CASE WHEN $4::text IS NULL THEN true ELSE role = $4 END
        ORDER BY seq LIMIT $5 OFFSET $6
    ) AS page
    WINDOW walk AS (ORDER BY seq ROWS UNBOUNDED PRECEDING)
) AS measured
WHERE nth = 1 OR (nth <= $7 AND bytes <= $8) ORDER BY seq
