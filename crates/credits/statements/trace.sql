SELECT w.user_id AS trace_user_id, w.transaction_id AS trace_transaction_id,
      l.balance_after AS trace_posted, l.held_after AS trace_held, e.id, e.transaction_id, e.user_id, e.seq, e.type AS kind, e.amount, e.balance_before,
      e.balance_after, e.usage_record_id, e.reference_id, e.hold_id, e.description, e.metadata,
      e.actor, e.created_at, h.id AS hold_row_id, h.requested AS hold_row_requested, h.amount AS hold_row_amount,
      h.state AS hold_row_status, h.captured AS hold_row_captured, h.released AS hold_row_released,
      h.uncollected AS hold_row_uncollected, h.entry_seq AS hold_row_entry_seq,
      h.expires_at AS hold_row_expires_at, h.created_at AS hold_row_created_at,
      h.resolved_at AS hold_row_resolved_at,
      coalesce(h.made_by, (SELECT CASE maker.actor WHEN 'user' THEN 'user' ELSE 'service' END
           FROM credits.entries maker WHERE maker.user_id = h.user_id AND maker.seq = h.entry_seq), 'service') AS hold_row_made_by,
      h.description AS hold_row_description, h.metadata AS hold_row_metadata, g.user_id AS grant_user_id, g.id AS grant_id, g.kind AS grant_kind, g.paid AS grant_paid,
      g.priority AS grant_priority, g.amount AS grant_amount, g.remaining AS grant_remaining,
      g.held AS grant_held, g.effective_at AS grant_effective_at, g.expires_at AS grant_expires_at,
      g.booked_seq AS grant_booked_seq, g.reference_id AS grant_reference_id,
      g.created_at AS grant_created_at, g.transaction_id AS grant_transaction_id,
      g.description AS grant_description, g.metadata AS grant_metadata
FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS w (user_id, transaction_id, place)
LEFT JOIN LATERAL (
    SELECT min(t.seq) AS first, max(t.seq) AS last FROM (
    SELECT p.* FROM credits.entries p
    WHERE p.user_id = w.user_id AND p.seq BETWEEN w.place AND w.place + 1 AND p.transaction_id = w.transaction_id
      AND NOT (p.actor = 'system' OR get_byte(uuid_send(p.transaction_id), 6) >> 4 <> 8)
    UNION ALL
    SELECT u.* FROM credits.entries u
    WHERE u.user_id = w.user_id AND u.transaction_id = w.transaction_id
      AND (u.actor = 'system' OR get_byte(uuid_send(u.transaction_id), 6) >> 4 <> 8)) AS t
) AS span ON true
LEFT JOIN credits.entries e ON e.user_id = w.user_id AND e.seq = span.first
LEFT JOIN credits.entries l ON l.user_id = w.user_id AND l.seq = span.last
LEFT JOIN credits.holds h ON h.user_id = w.user_id AND h.id = e.hold_id
LEFT JOIN LATERAL (
    SELECT m.* FROM credits.current_grants m
    WHERE m.user_id = w.user_id AND m.transaction_id = w.transaction_id AND m.kind <> 'refund' LIMIT 1
) AS g ON true
