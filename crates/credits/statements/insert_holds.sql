INSERT INTO credits.holds (user_id, id, requested, amount, state, captured, released, uncollected, capped, made_by,
      ended_by, entry_seq, description, metadata, expires_at, created_at, resolved_at)
    SELECT unnest($1::text[]) AS user_id, unnest($2::uuid[]) AS id, unnest($3::bigint[]) AS requested,
      unnest($4::bigint[]) AS amount, unnest($5::text[]) AS state, unnest($6::bigint[]) AS captured,
      unnest($7::bigint[]) AS released, unnest($8::bigint[]) AS uncollected,
      unnest($9::boolean[]) AS capped, unnest($10::text[]) AS made_by, unnest($11::text[]) AS ended_by,
      unnest($12::bigint[]) AS entry_seq, unnest($13::text[]) AS description,
      unnest($14::jsonb[]) AS metadata, unnest($15::timestamptz[]) AS expires_at,
      unnest($16::timestamptz[]) AS created_at, unnest($17::timestamptz[]) AS resolved_at RETURNING user_id, id, metadata::text AS metadata
