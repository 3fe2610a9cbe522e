INSERT INTO credits.grants (user_id, id, kind, paid, priority, amount, stored_remaining, held, effective_at, expires_at,
      booked_seq, reference_id, created_at, transaction_id, description, metadata)
    SELECT unnest($1::text[]) AS user_id, unnest($2::bigint[]) AS id, unnest($3::text[]) AS kind,
      unnest($4::boolean[]) AS paid, unnest($5::smallint[]) AS priority,
      unnest($6::bigint[]) AS amount, unnest($7::bigint[]) AS stored_remaining,
      unnest($8::bigint[]) AS held, unnest($9::timestamptz[]) AS effective_at,
      unnest($10::timestamptz[]) AS expires_at, unnest($11::bigint[]) AS booked_seq,
      unnest($12::text[]) AS reference_id, unnest($13::timestamptz[]) AS created_at,
      unnest($14::uuid[]) AS transaction_id, unnest($15::text[]) AS description,
      unnest($16::jsonb[]) AS metadata RETURNING user_id, id, metadata::text AS metadata
