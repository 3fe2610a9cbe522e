WITH entries AS (
    INSERT INTO credits.entries (user_id, seq, transaction_id, type, amount, balance_before, balance_after, held_after, hold_id,
      usage_record_id, reference_id, refunds_seq, grant_id, metered, description, metadata, actor,
      created_at, booked_at)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
      $8::bigint[], $9::uuid[], $10::bigint[], $11::text[], $12::bigint[], $13::bigint[],
      $14::boolean[], $15::text[], $16::jsonb[], $17::text[], $18::timestamptz[], $19::timestamptz[])
    RETURNING user_id, seq, id, metadata::text AS metadata
), accounts AS (
    UPDATE credits.accounts AS old SET posted = new.posted, held = new.held, lifetime_granted = new.lifetime_granted,
      entry_seq = new.entry_seq, grant_seq = new.grant_seq, next_due_at = new.next_due_at,
      as_of = new.as_of, head_grant_id = new.head_grant_id, head_remaining = new.head_remaining
    FROM unnest($20::text[], $21::bigint[], $22::bigint[], $23::bigint[], $24::bigint[], $25::bigint[],
      $26::timestamptz[], $27::timestamptz[], $28::bigint[], $29::bigint[]) AS new (user_id, posted, held, lifetime_granted, entry_seq, grant_seq, next_due_at, as_of, head_grant_id,
      head_remaining)
    WHERE old.user_id = new.user_id RETURNING 1
)
SELECT c.lines, c.grants, c.accounts, e.user_id, e.seq, e.id, e.metadata
FROM (
    SELECT 0::bigint AS lines, 0::bigint AS grants, (SELECT count(*) FROM accounts) AS accounts
) AS c LEFT JOIN entries AS e ON true
