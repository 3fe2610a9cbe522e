SELECT e.found, e.id, e.transaction_id, e.user_id, e.seq, e.type AS kind, e.amount, e.balance_before,
      e.balance_after, e.usage_record_id, e.reference_id, e.hold_id, e.description, e.metadata,
      e.actor, e.created_at
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT * FROM credits.entries e WHERE e.user_id = $1 AND e.seq >= $2 AND e.seq < $3 AND e.type NOT IN ('hold', 'release')
        ORDER BY e.seq DESC OFFSET $4 LIMIT $5
    ) AS page
    WINDOW walk AS (ORDER BY seq DESC ROWS UNBOUNDED PRECEDING)
) AS e
WHERE e.nth = 1 OR (e.nth < $5 AND e.bytes <= $6) ORDER BY e.seq DESC
