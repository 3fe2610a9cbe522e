SELECT id, CASE WHEN passes THEN content END AS content, found
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth,
        sum(CASE WHEN passes THEN size_bytes ELSE 0 END) OVER walk AS bytes
    FROM (
        SELECT id, content, size_bytes,
            ($4::uuid IS NULL OR session_id = $4) AND ($5::text IS NULL OR role = $5)
                AND created_at BETWEEN $6 AND $7 AS passes
        FROM unnest($8::bigint[]) AS wanted (wanted_id)
        CROSS JOIN LATERAL (SELECT * FROM sessions.messages WHERE user_id = $1 AND id = wanted_id LIMIT 1) AS messages ORDER BY id DESC LIMIT $2
    ) AS page
    WINDOW walk AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)
) AS measured
WHERE nth = 1 OR bytes <= $3 ORDER BY id DESC
