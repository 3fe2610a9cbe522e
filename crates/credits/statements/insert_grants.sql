INSERT INTO credits.grants (user_id, id, kind, paid, priority, amount, stored_remaining, held, effective_at, expires_at,
      booked_seq, reference_id, created_at, transaction_id, description, metadata)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::boolean[], $5::smallint[], $6::bigint[], $7::bigint[],
      $8::bigint[], $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::text[],
      $13::timestamptz[], $14::uuid[], $15::text[], $16::jsonb[]) RETURNING user_id, id, metadata::text AS metadata
