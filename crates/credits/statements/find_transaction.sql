SELECT e.id, e.transaction_id, e.user_id, e.seq, e.type AS kind, e.amount, e.balance_before,
      e.balance_after, e.usage_record_id, e.reference_id, e.hold_id, e.description, e.metadata,
      e.actor, e.created_at
FROM (SELECT $1::text AS user_id, $2::uuid AS transaction_id, $3::bigint AS place) AS w CROSS JOIN LATERAL (
    SELECT p.* FROM credits.entries p
    WHERE p.user_id = w.user_id AND p.seq BETWEEN w.place AND w.place + 1 AND p.transaction_id = w.transaction_id
      AND NOT (p.actor = 'system' OR get_byte(uuid_send(p.transaction_id), 6) >> 4 <> 8)
    UNION ALL
    SELECT u.* FROM credits.entries u
    WHERE u.user_id = w.user_id AND u.transaction_id = w.transaction_id
      AND (u.actor = 'system' OR get_byte(uuid_send(u.transaction_id), 6) >> 4 <> 8)
) AS e
WHERE e.type NOT IN ('hold', 'release') ORDER BY e.seq LIMIT 1
