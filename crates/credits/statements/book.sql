WITH entries AS (
    INSERT INTO credits.entries (user_id, seq, transaction_id, type, amount, balance_before, balance_after, held_after, hold_id,
      usage_record_id, reference_id, refunds_seq, grant_id, metered, description, metadata, actor,
      created_at, booked_at)
    SELECT unnest($1::text[]) AS user_id, unnest($2::bigint[]) AS seq, unnest($3::uuid[]) AS transaction_id,
      unnest($4::text[]) AS type, unnest($5::bigint[]) AS amount,
      unnest($6::bigint[]) AS balance_before, unnest($7::bigint[]) AS balance_after,
      unnest($8::bigint[]) AS held_after, unnest($9::uuid[]) AS hold_id,
      unnest($10::bigint[]) AS usage_record_id, unnest($11::text[]) AS reference_id,
      unnest($12::bigint[]) AS refunds_seq, unnest($13::bigint[]) AS grant_id,
      unnest($14::boolean[]) AS metered, unnest($15::text[]) AS description,
      unnest($16::jsonb[]) AS metadata, unnest($17::text[]) AS actor,
      unnest($18::timestamptz[]) AS created_at, unnest($19::timestamptz[]) AS booked_at
    RETURNING user_id, seq, id, metadata::text AS metadata
), accounts AS (
    UPDATE credits.accounts AS old SET posted = new.posted, held = new.held, lifetime_granted = new.lifetime_granted,
      entry_seq = new.entry_seq, grant_seq = new.grant_seq, next_due_at = new.next_due_at,
      as_of = new.as_of, head_grant_id = new.head_grant_id, head_remaining = new.head_remaining
    FROM (SELECT unnest($20::text[]) AS user_id, unnest($21::bigint[]) AS posted, unnest($22::bigint[]) AS held,
      unnest($23::bigint[]) AS lifetime_granted, unnest($24::bigint[]) AS entry_seq,
      unnest($25::bigint[]) AS grant_seq, unnest($26::timestamptz[]) AS next_due_at,
      unnest($27::timestamptz[]) AS as_of, unnest($28::bigint[]) AS head_grant_id,
      unnest($29::bigint[]) AS head_remaining) AS new
    WHERE old.user_id = new.user_id RETURNING 1
), lines AS (
    INSERT INTO credits.entry_lines (user_id, seq, grant_id, delta, held_delta)
    SELECT unnest($30::text[]) AS user_id, unnest($31::bigint[]) AS seq, unnest($32::bigint[]) AS grant_id,
      unnest($33::bigint[]) AS delta, unnest($34::bigint[]) AS held_delta RETURNING 1
), grants AS (
    UPDATE credits.grants AS old SET stored_remaining = new.stored_remaining, held = new.held, booked_seq = new.booked_seq
    FROM (SELECT unnest($35::text[]) AS user_id, unnest($36::bigint[]) AS id,
      unnest($37::bigint[]) AS stored_remaining, unnest($38::bigint[]) AS held,
      unnest($39::bigint[]) AS booked_seq) AS new
    WHERE old.user_id = new.user_id AND old.id = new.id RETURNING 1
)
SELECT c.lines, c.grants, c.accounts, e.user_id, e.seq, e.id, e.metadata
FROM (
    SELECT (SELECT count(*) FROM lines) AS lines, (SELECT count(*) FROM grants) AS grants, (SELECT count(*) FROM accounts) AS accounts
) AS c LEFT JOIN entries AS e ON true
