WITH instant AS MATERIALIZED (
    SELECT coalesce($1, clock_timestamp()) AS now
    FROM (SELECT webhooks.receivers_stamp() AS edition OFFSET 0) AS present WHERE present.edition = $2
), accounts AS (
    UPDATE credits.accounts AS old
    SET posted = old.posted - new.total, head_remaining = old.head_remaining - new.total,
        entry_seq = old.entry_seq + new.count, as_of = greatest(old.as_of, instant.now)
    FROM instant, (SELECT unnest($3::text[]) AS user_id, unnest($4::boolean[]) AS acts, unnest($5::bigint[]) AS total,
      unnest($6::bigint[]) AS first, unnest($7::bigint[]) AS count) AS new
    WHERE old.user_id = new.user_id AND old.head_remaining > new.total AND NOT old.budgeted
        AND (old.next_due_at > greatest(old.as_of, instant.now) OR old.next_due_at IS NULL)
        AND (NOT new.acts OR EXISTS (SELECT FROM identity.users WHERE users.user_id = old.user_id AND users.is_active AND users.role = 'user'))
    RETURNING old.user_id, old.posted, old.held, old.lifetime_granted, old.head_grant_id, old.head_remaining,
        old.next_due_at, old.entry_seq, old.as_of, new.total, new.first, new.count
), charges AS MATERIALIZED (
    SELECT valued.*, nextval('credits.entries_id_seq') AS id,
        (lpad(to_hex(seq), 12, '0') || substr(encode(uuid_send(unplaced_id), 'hex'), 13))::uuid AS transaction_id
    FROM (
        SELECT placed.*,
        ($8::bigint[])[place] AS amount,
        ($9::bigint[])[place] AS before,
        ($10::uuid[])[place] AS unplaced_id,
        ($11::bigint[])[place] AS usage_record_id,
        ($12::text[])[place] AS description,
        ($13::jsonb[])[place] AS metadata,
        ($14::text[])[place] AS actor
        FROM (
            SELECT accounts.*, generate_series(first, first + count - 1) AS place,
                generate_series(entry_seq - count + 1, entry_seq) AS seq
            FROM accounts
        ) AS placed
    ) AS valued
), entries AS (
    INSERT INTO credits.entries (id, user_id, seq, transaction_id, type, amount, balance_before, balance_after, held_after,
        usage_record_id, grant_id, metered, description, metadata, actor, created_at, booked_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, user_id, seq, transaction_id, 'consume', amount,
        posted + total - before, posted + total - before - amount, held,
        usage_record_id, head_grant_id, false, description, metadata, actor, as_of, as_of
    FROM charges
    RETURNING 1
)
SELECT place, id, transaction_id, metadata, posted, held, lifetime_granted, head_remaining, next_due_at, entry_seq, as_of,
    1 / ((SELECT count(*) FROM entries) = (SELECT count(*) FROM charges))::integer AS complete
FROM charges
