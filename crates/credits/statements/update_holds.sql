UPDATE credits.holds AS old SET state = new.state, captured = new.captured, released = new.released,
      uncollected = new.uncollected, capped = new.capped, ended_by = new.ended_by,
      resolved_at = new.resolved_at
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[],
      $8::text[], $9::timestamptz[]) AS new (user_id, id, state, captured, released, uncollected, capped, ended_by, resolved_at)
    WHERE old.user_id = new.user_id AND old.id = new.id AND old.state = 'open'
