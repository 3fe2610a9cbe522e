WITH a AS MATERIALIZED (
    SELECT greatest(as_of, coalesce($2, clock_timestamp())) AS now FROM credits.accounts WHERE user_id = $1
)
SELECT h.found, h.id AS hold_row_id, h.requested AS hold_row_requested, h.amount AS hold_row_amount,
      CASE WHEN h.ended THEN 'expired' ELSE h.state END AS hold_row_status,
      h.captured AS hold_row_captured,
      CASE WHEN h.ended THEN h.amount ELSE h.released END AS hold_row_released,
      h.uncollected AS hold_row_uncollected, h.entry_seq AS hold_row_entry_seq,
      h.expires_at AS hold_row_expires_at, h.created_at AS hold_row_created_at,
      CASE WHEN h.ended THEN h.expires_at ELSE h.resolved_at END AS hold_row_resolved_at,
      coalesce(h.made_by, (SELECT CASE maker.actor WHEN 'user' THEN 'user' ELSE 'service' END
           FROM credits.entries maker WHERE maker.user_id = h.user_id AND maker.seq = h.entry_seq), 'service') AS hold_row_made_by,
      h.description AS hold_row_description, h.metadata AS hold_row_metadata
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT o.*, o.state = 'open' AND o.expires_at <= (SELECT now FROM a) AS ended
        FROM (
            (SELECT * FROM credits.holds WHERE user_id = $1 AND entry_seq < $3 AND state = 'expired'
             ORDER BY entry_seq DESC LIMIT $4::bigint + $5)
            UNION ALL
            (SELECT * FROM credits.holds WHERE user_id = $1 AND entry_seq < $3 AND state = 'open'
             AND expires_at <= (SELECT now FROM a))) AS o ORDER BY o.entry_seq DESC OFFSET $4 LIMIT $5
    ) AS page
    WINDOW walk AS (ORDER BY entry_seq DESC ROWS UNBOUNDED PRECEDING)
) AS h
WHERE h.nth = 1 OR (h.nth < $5 AND h.bytes <= $6) ORDER BY h.nth
