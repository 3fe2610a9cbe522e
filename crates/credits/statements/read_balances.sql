SELECT user_id, posted, held, lifetime_granted, next_due_at, greatest(as_of, coalesce($2, clock_timestamp())) AS now
FROM credits.accounts WHERE user_id = ANY($1)
