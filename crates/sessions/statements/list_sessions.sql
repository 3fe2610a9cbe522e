SELECT measured.found, measured.status_set_at, measured.id, measured.session_id, measured.user_id,
      measured.title, measured.conversation_data, measured.metadata, measured.status,
      measured.message_count, measured.total_tokens, measured.total_cost, measured.session_summary,
      measured.created_at, measured.updated_at, measured.last_activity, measured.expires_at
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT * FROM sessions.sessions
        WHERE user_id = $1 AND (created_at, id) < ($2, $3)
          AND CASE WHEN $4::text IS NULL THEN true ELSE $4 = CASE
                  WHEN expires_at <= $5 AND coalesce(status_set_at < expires_at, true) THEN 'expired' ELSE status END END
        ORDER BY created_at DESC, id DESC LIMIT $6 OFFSET $7
    ) AS page
    WINDOW walk AS (ORDER BY created_at DESC, id DESC ROWS UNBOUNDED PRECEDING)
) AS measured
WHERE nth = 1 OR (nth <= $8 AND bytes <= $9) ORDER BY created_at DESC, id DESC
