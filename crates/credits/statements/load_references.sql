SELECT g.user_id AS grant_user_id, g.id AS grant_id, g.kind AS grant_kind, g.paid AS grant_paid,
      g.priority AS grant_priority, g.amount AS grant_amount, g.remaining AS grant_remaining,
      g.held AS grant_held, g.effective_at AS grant_effective_at, g.expires_at AS grant_expires_at,
      g.booked_seq AS grant_booked_seq, g.reference_id AS grant_reference_id,
      g.created_at AS grant_created_at, g.transaction_id AS grant_transaction_id,
      g.description AS grant_description, g.metadata AS grant_metadata, e.id, e.transaction_id, e.user_id, e.seq, e.type AS kind, e.amount, e.balance_before,
      e.balance_after, e.usage_record_id, e.reference_id, e.hold_id, e.description, e.metadata,
      e.actor, e.created_at
FROM unnest($1::text[], $2::text[]) AS w (user_id, reference_id)
JOIN credits.current_grants g ON g.user_id = w.user_id AND g.reference_id = w.reference_id
LEFT JOIN credits.entries e ON e.user_id = g.user_id AND e.seq = g.booked_seq
