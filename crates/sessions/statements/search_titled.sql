SELECT session.title AS session_title, measured.id, measured.message_id, measured.session_id,
      measured.user_id, measured.seq, measured.message_type, measured.role, measured.content,
      measured.tool_call_id, measured.message_metadata, measured.tokens_used, measured.cost_usd,
      measured.is_summary_candidate, measured.importance_score, measured.status, measured.created_at,
      measured.updated_at, measured.tool_calls
FROM (
    SELECT page.*, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (SELECT messages.* FROM unnest($2::bigint[]) AS wanted (wanted_id)
        CROSS JOIN LATERAL (SELECT * FROM sessions.messages WHERE user_id = $1 AND id = wanted_id LIMIT 1) AS messages) AS page
    WINDOW walk AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)
) AS measured
JOIN sessions.sessions AS session ON session.user_id = $1 AND session.session_id = measured.session_id
WHERE nth = 1 OR bytes <= $3 ORDER BY measured.id DESC
