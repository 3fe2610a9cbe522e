INSERT INTO credits.holds (user_id, id, requested, amount, state, captured, released, uncollected, capped, made_by,
      ended_by, entry_seq, description, metadata, expires_at, created_at, resolved_at)
    SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[],
      $8::bigint[], $9::boolean[], $10::text[], $11::text[], $12::bigint[], $13::text[], $14::jsonb[],
      $15::timestamptz[], $16::timestamptz[], $17::timestamptz[]) RETURNING user_id, id, metadata::text AS metadata
