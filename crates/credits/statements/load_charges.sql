SELECT e.transaction_id AS charge_transaction_id, l.delta AS charge_delta, e.seq AS charge_seq,
      e.amount AS charge_amount, e.created_at AS charge_created_at,
      (SELECT coalesce(sum(r.amount), 0)::bigint FROM credits.entries r
           WHERE r.user_id = e.user_id AND r.refunds_seq = e.seq) AS charge_refunded,
      g.user_id AS grant_user_id, g.id AS grant_id, g.kind AS grant_kind, g.paid AS grant_paid,
      g.priority AS grant_priority, g.amount AS grant_amount, g.remaining AS grant_remaining,
      g.held AS grant_held, g.effective_at AS grant_effective_at, g.expires_at AS grant_expires_at,
      g.booked_seq AS grant_booked_seq, g.reference_id AS grant_reference_id,
      g.created_at AS grant_created_at
FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS w (user_id, transaction_id, place)
JOIN LATERAL (
    SELECT p.* FROM credits.entries p
    WHERE p.user_id = w.user_id AND p.seq BETWEEN w.place AND w.place + 1 AND p.transaction_id = w.transaction_id
      AND NOT (p.actor = 'system' OR get_byte(uuid_send(p.transaction_id), 6) >> 4 <> 8)
    UNION ALL
    SELECT u.* FROM credits.entries u
    WHERE u.user_id = w.user_id AND u.transaction_id = w.transaction_id
      AND (u.actor = 'system' OR get_byte(uuid_send(u.transaction_id), 6) >> 4 <> 8)
) AS e ON e.type IN ('consume', 'capture')
JOIN credits.entry_grants l ON l.user_id = e.user_id AND l.seq = e.seq
JOIN credits.current_grants g ON g.user_id = l.user_id AND g.id = l.grant_id
