WITH wanted AS MATERIALIZED (
    SELECT a.user_id, a.low_balance_at, a.posted, a.held, a.lifetime_granted, a.entry_seq, a.grant_seq,
      a.next_due_at, a.as_of, a.head_grant_id, a.head_remaining, greatest(a.as_of, (SELECT coalesce($2, clock_timestamp()))) AS now,
           coalesce((SELECT e.created_at FROM credits.entries e WHERE e.user_id = a.user_id AND e.seq = a.entry_seq),
                    a.created_at) AS updated_at
    FROM credits.accounts a WHERE a.user_id = ANY($1)
)
SELECT a.*, g.user_id AS grant_user_id, g.id AS grant_id, g.kind AS grant_kind, g.paid AS grant_paid,
      g.priority AS grant_priority, g.amount AS grant_amount, g.remaining AS grant_remaining,
      g.held AS grant_held, g.effective_at AS grant_effective_at, g.expires_at AS grant_expires_at,
      g.booked_seq AS grant_booked_seq, g.reference_id AS grant_reference_id,
      g.created_at AS grant_created_at, NULL AS hold_row_user_id, NULL AS hold_row_id, NULL AS hold_row_requested,
      NULL AS hold_row_amount, NULL AS hold_row_status, NULL AS hold_row_captured,
      NULL AS hold_row_released, NULL AS hold_row_uncollected, NULL AS hold_row_entry_seq,
      NULL AS hold_row_expires_at, NULL AS hold_row_created_at, NULL AS hold_row_resolved_at,
      NULL AS hold_row_made_by, NULL AS hold_row_description, NULL AS hold_row_metadata, NULL AS line_grant_id, NULL AS line_amount
FROM wanted a LEFT JOIN credits.current_grants g ON g.user_id = a.user_id AND g.live
UNION ALL
SELECT a.*, NULL AS grant_user_id, NULL AS grant_id, NULL AS grant_kind, NULL AS grant_paid,
      NULL AS grant_priority, NULL AS grant_amount, NULL AS grant_remaining, NULL AS grant_held,
      NULL AS grant_effective_at, NULL AS grant_expires_at, NULL AS grant_booked_seq,
      NULL AS grant_reference_id, NULL AS grant_created_at, h.user_id AS hold_row_user_id, h.id AS hold_row_id, h.requested AS hold_row_requested,
      h.amount AS hold_row_amount, h.state AS hold_row_status, h.captured AS hold_row_captured,
      h.released AS hold_row_released, h.uncollected AS hold_row_uncollected,
      h.entry_seq AS hold_row_entry_seq, h.expires_at AS hold_row_expires_at,
      h.created_at AS hold_row_created_at, h.resolved_at AS hold_row_resolved_at,
      coalesce(h.made_by, (SELECT CASE maker.actor WHEN 'user' THEN 'user' ELSE 'service' END
           FROM credits.entries maker WHERE maker.user_id = h.user_id AND maker.seq = h.entry_seq), 'service') AS hold_row_made_by,
      NULL::text AS hold_row_description, NULL::jsonb AS hold_row_metadata, l.grant_id, l.held_delta
FROM wanted a JOIN credits.holds h ON h.user_id = a.user_id AND h.state = 'open'
JOIN credits.entry_grants l ON l.user_id = h.user_id AND l.seq = h.entry_seq
ORDER BY user_id
