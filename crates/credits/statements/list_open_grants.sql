WITH a AS MATERIALIZED (
    SELECT user_id, greatest(as_of, coalesce($2, clock_timestamp())) AS now, next_due_at
    FROM credits.accounts WHERE user_id = $1
)
SELECT g.now, g.is_due, g.found, g.user_id AS grant_user_id, g.id AS grant_id, g.kind AS grant_kind,
      g.paid AS grant_paid, g.priority AS grant_priority, g.amount AS grant_amount,
      g.remaining AS grant_remaining, g.held AS grant_held, g.effective_at AS grant_effective_at,
      g.expires_at AS grant_expires_at, g.booked_seq AS grant_booked_seq,
      g.reference_id AS grant_reference_id, g.created_at AS grant_created_at,
      g.transaction_id AS grant_transaction_id, g.description AS grant_description,
      g.metadata AS grant_metadata
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT g.*, a.now, coalesce(a.next_due_at <= a.now, false) AS is_due
        FROM a JOIN credits.current_grants g ON g.user_id = a.user_id
        WHERE g.live AND (g.expires_at IS NULL OR g.expires_at > a.now)
          AND (g.booked_seq IS NOT NULL OR g.effective_at <= a.now)
          AND ($3::smallint IS NULL OR (g.priority, coalesce(g.expires_at, 'infinity'), g.paid, g.effective_at, g.id)
                                     > ($3, coalesce($4::timestamptz, 'infinity'), $5, $6, $7))
        ORDER BY g.priority, g.expires_at NULLS LAST, g.paid, g.effective_at, g.id OFFSET $8 LIMIT $9
    ) AS page
    WINDOW walk AS (ORDER BY priority, expires_at NULLS LAST, paid, effective_at, id ROWS UNBOUNDED PRECEDING)
) AS g
WHERE g.nth = 1 OR (g.nth < $9 AND g.bytes <= $10) ORDER BY g.nth
