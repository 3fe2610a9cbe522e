UPDATE credits.holds AS old SET state = new.state, captured = new.captured, released = new.released,
      uncollected = new.uncollected, capped = new.capped, ended_by = new.ended_by,
      resolved_at = new.resolved_at
    FROM (SELECT unnest($1::text[]) AS user_id, unnest($2::uuid[]) AS id, unnest($3::text[]) AS state,
      unnest($4::bigint[]) AS captured, unnest($5::bigint[]) AS released,
      unnest($6::bigint[]) AS uncollected, unnest($7::boolean[]) AS capped,
      unnest($8::text[]) AS ended_by, unnest($9::timestamptz[]) AS resolved_at) AS new
    WHERE old.user_id = new.user_id AND old.id = new.id AND old.state = 'open'
