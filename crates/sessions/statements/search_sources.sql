SELECT measured.created_at, measured.fits, measured.id,
      CASE WHEN fits AND status NOT IN ('in_progress', 'failed') THEN content END AS content,
      measured.role, measured.session_id
FROM (
    SELECT page.*, row_number() OVER walk = 1 OR sum(octet_length(content)) OVER walk <= $5 AS fits
    FROM (
        SELECT id, content, role, session_id, status, created_at FROM sessions.messages
        WHERE user_id = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4
    ) AS page
    WINDOW walk AS (ORDER BY id ROWS UNBOUNDED PRECEDING)
) AS measured ORDER BY id
