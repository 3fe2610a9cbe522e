SELECT n.now, n.locked, g.user_id AS grant_user_id, g.id AS grant_id, g.kind AS grant_kind, g.paid AS grant_paid,
      g.priority AS grant_priority, g.amount AS grant_amount, g.remaining AS grant_remaining,
      g.held AS grant_held, g.effective_at AS grant_effective_at, g.expires_at AS grant_expires_at,
      g.booked_seq AS grant_booked_seq, g.reference_id AS grant_reference_id,
      g.created_at AS grant_created_at
FROM (SELECT coalesce($2, clock_timestamp()) AS now, pg_current_xact_id_if_assigned() IS NOT NULL AS locked) AS n
LEFT JOIN credits.current_grants g ON g.user_id = ANY($1) AND g.live
